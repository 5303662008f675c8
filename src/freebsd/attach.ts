import type { Attached } from '../base/placed.ts';
import type { Step } from '../base/step.ts';
import { vmAnchor } from '../net/pf.ts';
import { isApart } from '../platform/networks.ts';
import type { Finding } from '../platform/platform.ts';
import { step } from './catalogue.ts';
import { checkFirewall, checkNetwork, linkStep, networkSteps, pfHost } from './networks.ts';
import { jailMark, type Node } from './node.ts';
import type { Seen } from './observe.ts';
import { hostEnd } from './steps/network.ts';

/** No VM's name has a dot. */
const anchorOf = (unit: number): string => `brig/jail.${unit}`;

const firewallSteps = (node: Node, { jail, nic }: Attached): Step[] => {
  const { unit, mac, network, policy } = nic;
  if (!policy) return [];
  const { bridge, routes } = network;
  const rules = { ...policy, interface: hostEnd(unit), mac, isBridged: bridge !== undefined };
  const text = vmAnchor([{ ...rules, ...(bridge && routes ? { bridge: bridge.name } : {}) }], pfHost(node));
  const because = `jail ${jail} sends from its own addresses only`;
  return [step('firewall.create', {}), step('firewall.load', { anchor: anchorOf(unit), text, because })];
};

/** What puts a jail of somebody else's on a network, in order. */
export const attachSteps = (node: Node, attached: Attached): Step[] => {
  const { jail, nic, gateway } = attached;
  const { unit, mac, network, guest } = nic;
  const { bridge, mtu, trunk } = network;
  const member = bridge && {
    ...{ vm: `jail ${jail}`, unit, bridge, private: isApart(nic) },
    ...(trunk ? { tag: trunk.tag } : {}),
    ...(nic.policy ? { mac } : {}),
  };
  return [
    ...firewallSteps(node, attached),
    ...networkSteps(node, network),
    step('jail.epair', { jail, unit, mac, ...(mtu === undefined ? {} : { mtu }) }),
    ...(member ? [step('epair.add', member)] : []),
    ...linkStep(`jail ${jail}`, nic, hostEnd(unit)),
    step('jail.join', { jail, unit, addresses: guest.addresses, gateways: gateway ? guest.gateways : [] }),
  ];
};

/** Why it cannot be put there, before anything is touched. */
export const checkAttached = (node: Node, seen: Seen, { jail, nic }: Attached): Finding[] => {
  const found = seen.interfaces.get(hostEnd(nic.unit));
  return [
    ...checkFirewall(seen, [nic]),
    ...checkNetwork(node, seen, nic.network),
    ...(found && found.description !== jailMark(jail)
      ? [
          {
            level: 'problem' as const,
            what: `interface ${hostEnd(nic.unit)} free or marked ${jailMark(jail)}`,
            got: `in use: ${found.description ?? 'no description'}`,
            mend: 'set another unitBase',
          },
        ]
      : []),
  ];
};
