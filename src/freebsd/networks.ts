import type { NetworkPlacement, NicPlacement } from '../base/placed.ts';
import type { Step } from '../base/step.ts';
import { checkNetworkOn, type HostInterface, type HostWords } from '../platform/network-checks.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { jailOf, networkMark } from './node.ts';
import type { Seen } from './observe.ts';
import { step } from './catalogue.ts';
import { FORWARDING } from './programs/sysctl.ts';
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

/** All that a network is made of on the host, in order; several VMs share it. */
export const networkSteps = (network: NetworkPlacement): Step[] => {
  if (network.trunk) return networkSteps(network.trunk.network);
  const { bridge, unit, mtu, addresses, aware, name } = network;
  if (!bridge) return forwardSteps(network);
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
    }),
    ...network.uplinks.map((each) =>
      step('uplink.add', { bridge, interface: each.interface, ...(aware ? { tagged: true } : {}) }),
    ),
    ...forwardSteps(network),
  ];
};

const linkStep = (vm: string, { network, link }: NicPlacement, at: string): Step[] =>
  link ? [step('link.address', { vm, network: network.name, interface: at, ...link })] : [];

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
  const member = bridge && { vm: name, unit, bridge, private: true, ...(trunk ? { tag: trunk.tag } : {}) };
  if (mode === 'direct')
    return [step('tap.create', own), ...(member ? [step('tap.add', member)] : []), ...linkStep(name, nic, tapOf(unit))];
  return [
    step('epair.create', own),
    ...(member ? [step('epair.add', member)] : []),
    ...linkStep(name, nic, hostEnd(unit)),
    step('tap.create', own),
  ];
};

export const nicSteps = (vm: Vm): Step[] =>
  vm.place.nics.flatMap((nic, i) => [
    ...networkSteps(nic.network),
    ...nicStep(vm, nic, vm.spec.nics[i]?.mode ?? 'vnet'),
  ]);

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

/** Why a network cannot be made, before anything is touched. */
export const checkNetwork = (seen: Seen, network: NetworkPlacement): Finding[] =>
  checkNetworkOn(network, interfacesOf(seen), WORDS);
