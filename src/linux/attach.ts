import type { Attached } from '../base/placed.ts';
import type { Step } from '../base/step.ts';
import { isApart } from '../platform/networks.ts';
import type { Finding } from '../platform/platform.ts';
import { step } from './catalogue.ts';
import { checkNetwork, networkSteps, withLinkLocal } from './networks.ts';
import { jailMark, nicNames } from './node.ts';
import type { Seen } from './observe.ts';

/** What puts a network namespace of somebody else's on a network, in order. */
export const attachSteps = (attached: Attached): Step[] => {
  const { jail, nic, gateway } = attached;
  const { unit, mac, network, guest, policy, link } = nic;
  const { bridge, mtu } = network;
  const vm = `jail ${jail}`;
  const name = nicNames(unit).host;
  const rules = policy && { rules: { interface: name, mac, ...policy }, unit, isBridged: bridge !== undefined };
  return [
    ...(rules ? [step('firewall.create', {}), step('firewall.nics', { vm, nics: [rules] })] : []),
    ...networkSteps(network),
    step('jail.join', {
      ...{ jail, unit, mac, addresses: guest.addresses, gateways: gateway ? guest.gateways : [] },
      ...(mtu === undefined ? {} : { mtu }),
    }),
    ...(bridge ? [step('veth.add', { vm, unit, bridge, isolated: isApart(nic) })] : []),
    ...(link
      ? [
          step('link.address', {
            ...{ vm, network: network.name, interface: name },
            ...{ routes: link.routes, addresses: withLinkLocal(link.addresses) },
          }),
        ]
      : []),
  ];
};

/** Why it cannot be put there, before anything is touched. */
export const checkAttached = (seen: Seen, { jail, nic }: Attached): Finding[] => {
  const { host } = nicNames(nic.unit);
  const found = seen.links.get(host);
  return [
    ...checkNetwork(seen, nic.network),
    ...(found && found.alias !== jailMark(jail)
      ? [
          {
            level: 'problem' as const,
            what: `interface ${host} free or marked ${jailMark(jail)}`,
            got: `in use: ${found.alias ?? 'no alias'}`,
            mend: 'set another unitBase',
          },
        ]
      : []),
  ];
};
