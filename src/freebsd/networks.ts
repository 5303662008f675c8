import type { NetworkPlacement, NicPlacement } from '../base/placed.ts';
import type { Step } from '../base/step.ts';
import { isApart } from '../platform/networks.ts';
import { checkNetworkOn, type HostInterface, type HostWords } from '../platform/network-checks.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { networkAnchor, vmAnchor, type PfHost, type PfNic } from '../net/pf.ts';
import { GROUP, GUESTS, jailOf, networkAnchorName, networkMark, vmAnchorName, type Node } from './node.ts';
import type { Seen } from './observe.ts';
import { step } from './catalogue.ts';
import { FORWARDING } from './programs/sysctl.ts';
import { pfTrouble } from './steps/firewall.ts';
import { hostEnd, tapOf } from './steps/network.ts';

const hasFamily = ({ addresses }: NetworkPlacement, family: 4 | 6): boolean =>
  addresses.some((address) => address.includes(':') === (family === 6));

/** A routed network's addresses are on its links. */
const forwardSteps = (network: NetworkPlacement): Step[] => {
  if (!network.routes) return [];
  const both = network.addresses.length === 0;
  const sysctls = FORWARDING.filter((_, i) => both || hasFamily(network, i === 0 ? 4 : 6));
  return [step('forward.enable', { sysctls })];
};

export const pfHost = ({ features, pf }: Node): PfHost => ({
  group: GROUP,
  guests: GUESTS,
  hears: pf.receivedOn ?? false,
  out: features.egress ?? '',
});

const routerSteps = (node: Node, { name, router }: NetworkPlacement): Step[] => {
  const text = router ? networkAnchor(router, pfHost(node)) : '';
  if (text === '') return [];
  const because = router?.translates
    ? `what leaves network ${name} has an address of the host`
    : `no guest of another network comes in to ${name}`;
  return [step('firewall.create', {}), step('firewall.load', { anchor: networkAnchorName(name), text, because })];
};

const moveSteps = ({ bridge, uplinks, moved }: NetworkPlacement): Step[] => {
  const [uplink] = uplinks;
  return bridge && uplink && moved ? [step('uplink.move', { bridge, interface: uplink.interface, ...moved })] : [];
};

/** All that a network is made of on the host, in order; several VMs share it. */
export const networkSteps = (node: Node, network: NetworkPlacement): Step[] => {
  if (network.trunk) return networkSteps(node, network.trunk.network);
  const { bridge, unit, mtu, addresses, aware, name } = network;
  if (!bridge) return [...forwardSteps(network), ...routerSteps(node, network)];
  if (!bridge.own) return [];
  return [
    ...network.uplinks.flatMap((each): Step[] => {
      if (each.kind === 'vlan') {
        const { interface: at, parent, tag } = each;
        return [step('vlan.create', { network: name, interface: at, parent, tag })];
      }
      if (each.kind === 'vxlan')
        return [
          step('vxlan.create', { network: name, interface: each.interface, tunnel: each.tunnel, mtu: mtu ?? 1450 }),
        ];
      return [];
    }),
    step('bridge.create', {
      bridge,
      unit,
      ...(mtu === undefined ? {} : { mtu }),
      ...(addresses.length === 0 ? {} : { addresses }),
      ...(aware ? { aware } : {}),
      ...(network.uplinks.length === 0 ? { isClosed: true } : {}),
    }),
    ...network.uplinks.map((each) =>
      step('uplink.add', { bridge, interface: each.interface, ...(aware ? { tagged: true } : {}) }),
    ),
    ...moveSteps(network),
    ...forwardSteps(network),
    ...routerSteps(node, network),
  ];
};

export const linkStep = (vm: string, { network, link }: NicPlacement, at: string): Step[] =>
  link ? [step('link.address', { vm, network: network.name, interface: at, ...link })] : [];

const modeOf = ({ spec }: Vm, index: number): 'vnet' | 'direct' => spec.nics[index]?.mode ?? 'vnet';

/** The text of a VM's anchor; undefined where nobody filters. */
export const rulesOf = (node: Node, vm: Vm): { readonly anchor: string; readonly text: string } | undefined => {
  const nics = vm.place.nics.flatMap(({ unit, mac, network, policy }, i): PfNic[] => {
    const { bridge, routes } = network;
    const end = modeOf(vm, i) === 'direct' ? tapOf(unit) : hostEnd(unit);
    const own = { interface: end, mac, isBridged: bridge !== undefined };
    return policy ? [{ ...own, ...policy, ...(bridge && routes ? { bridge: bridge.name } : {}) }] : [];
  });
  return nics.length === 0 ? undefined : { anchor: vmAnchorName(vm.spec.name), text: vmAnchor(nics, pfHost(node)) };
};

/** In force before the first packet can be sent. */
const firewallSteps = (node: Node, vm: Vm): Step[] => {
  const rules = rulesOf(node, vm);
  if (!rules) return [];
  const because = `${vm.spec.name} sends from its own addresses only, and is reached by whom its document and its network say`;
  return [step('firewall.create', {}), step('firewall.load', { ...rules, because })];
};

/** A NIC and its way to its network. */
const nicStep = (vm: Vm, nic: NicPlacement, mode: 'vnet' | 'direct'): Step[] => {
  const { name } = vm.spec;
  const { unit, network } = nic;
  const { bridge, mtu, trunk } = network;
  const own = {
    ...{ vm: name, unit },
    ...(bridge ? { bridge } : {}),
    ...(mtu === undefined ? {} : { mtu }),
    ...(mode === 'vnet' ? { away: jailOf(name) } : {}),
  };
  const member = bridge && {
    ...{ vm: name, unit, bridge, private: isApart(nic) },
    ...(trunk ? { tag: trunk.tag } : {}),
    ...(nic.policy ? { mac: nic.mac } : {}),
  };
  if (mode === 'direct')
    return [step('tap.create', own), ...(member ? [step('tap.add', member)] : []), ...linkStep(name, nic, tapOf(unit))];
  return [
    step('epair.create', own),
    ...(member ? [step('epair.add', member)] : []),
    ...linkStep(name, nic, hostEnd(unit)),
    step('tap.create', own),
  ];
};

export const nicSteps = (node: Node, vm: Vm): Step[] => [
  ...firewallSteps(node, vm),
  ...vm.place.nics.flatMap((nic, i) => [...networkSteps(node, nic.network), ...nicStep(vm, nic, modeOf(vm, i))]),
];

const WORDS: HostWords = {
  markOf: networkMark,
  makeBridge: (name) => `ifconfig bridge create name ${name}`,
  leave: (bridge, name) => `ifconfig ${bridge} deletem ${name}`,
  losesAddresses: false,
};

const hosts = new WeakMap<Seen['interfaces'], ReadonlyMap<string, HostInterface>>();

const interfacesOf = ({ interfaces }: Seen): ReadonlyMap<string, HostInterface> => {
  const before = hosts.get(interfaces);
  if (before) return before;
  const all = [...interfaces.values()];
  const on = new Map(all.flatMap((each) => each.members.map((member) => [member, each.name] as const)));
  const made = new Map(
    all.map(({ name, description, mtu, addresses, groups }) => [
      name,
      { name, mark: description, mtu, addresses, isBridge: groups.includes('bridge'), on: on.get(name) },
    ]),
  );
  hosts.set(interfaces, made);
  return made;
};

/** Why nothing would filter what these need filtered. */
export const checkFirewall = (seen: Seen, nics: readonly Pick<NicPlacement, 'network' | 'policy'>[]): Finding[] => {
  const needs = nics.find(({ network, policy }) => policy ?? network.router?.translates);
  const trouble = needs && pfTrouble(seen);
  const why = needs?.policy ? `guards its guests` : `translates`;
  return needs && trouble
    ? [{ level: 'problem', what: `pf with brig's anchors, for network ${needs.network.name} ${why}`, ...trouble }]
    : [];
};

/** Why a network cannot be made, before anything is touched. */
export const checkNetwork = (node: Node, seen: Seen, network: NetworkPlacement): Finding[] => [
  ...checkNetworkOn(network, interfacesOf(seen), WORDS),
  ...checkFirewall(seen, [{ network }]),
  ...(network.router?.translates && network.router.out === undefined && node.features.egress === undefined
    ? [
        {
          level: 'problem' as const,
          what: `a way out for network ${network.name}`,
          got: 'no default route',
          mend: 'add one and restart brigd, or name the interface: out in the document',
        },
      ]
    : []),
];
