import type { NetworkPlacement } from '../base/placed.ts';
import type { Step } from '../base/step.ts';
import type { NicPart } from '../net/nft.ts';
import { isApart } from '../platform/networks.ts';
import { checkNetworkOn, type HostInterface, type HostWords } from '../platform/network-checks.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { step } from './catalogue.ts';
import { networkMark, nicNames } from './node.ts';
import type { Seen } from './observe.ts';
import type { Link } from './programs/ip.ts';
import { ownsLink } from './steps/network.ts';
import { FORWARDING } from './programs/system.ts';

const hasFamily = ({ addresses }: NetworkPlacement, family: 4 | 6): boolean =>
  addresses.some((address) => address.includes(':') === (family === 6));

const routerSteps = ({ router }: NetworkPlacement): Step[] =>
  router?.translates ? [step('firewall.create', {}), step('firewall.network', { rules: router })] : [];

/** A routed network's addresses are on its links. */
const forwardSteps = (network: NetworkPlacement): Step[] => {
  if (!network.routes) return [];
  const both = network.addresses.length === 0;
  return [step('forward.enable', { files: FORWARDING.filter((_, i) => both || hasFamily(network, i === 0 ? 4 : 6)) })];
};

/** Linux asks for neighbours from a link-local address only; brig's interfaces make none by themselves. */
export const withLinkLocal = (addresses: readonly string[]): readonly string[] =>
  addresses.some((address) => address.includes(':')) ? [...addresses, 'fe80::1/64'] : addresses;

const moveSteps = ({ bridge, uplinks, moved }: NetworkPlacement): Step[] => {
  const [uplink] = uplinks;
  return bridge && uplink && moved ? [step('uplink.move', { bridge, interface: uplink.interface, ...moved })] : [];
};

/** All that a network is made of on the host, in order; several VMs share it. */
export const networkSteps = (network: NetworkPlacement): Step[] => {
  if (network.trunk) return networkSteps(network.trunk.network);
  const { bridge, mtu, addresses, aware, name } = network;
  if (!bridge) return [...forwardSteps(network), ...routerSteps(network)];
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
      ...(mtu === undefined ? {} : { mtu }),
      ...(addresses.length === 0 ? {} : { addresses: withLinkLocal(addresses) }),
      ...(aware ? { aware } : {}),
    }),
    ...network.uplinks.map((each) => step('uplink.add', { bridge, interface: each.interface })),
    ...moveSteps(network),
    ...forwardSteps(network),
    ...routerSteps(network),
  ];
};

/** NICs of a VM that are filtered. */
export const filteredOf = (vm: Vm): NicPart[] =>
  vm.place.nics.flatMap(({ unit, mac, network, policy }): NicPart[] =>
    policy
      ? [{ rules: { interface: nicNames(unit).host, mac, ...policy }, unit, isBridged: network.bridge !== undefined }]
      : [],
  );

/** In force before the first packet can be sent. */
const firewallSteps = (vm: Vm): Step[] => {
  const nics = filteredOf(vm);
  return nics.length === 0 ? [] : [step('firewall.create', {}), step('firewall.nics', { vm: vm.spec.name, nics })];
};

/** NICs and their ways to their networks. */
export const nicSteps = (vm: Vm): Step[] => [...firewallSteps(vm), ...linkSteps(vm)];

const linkSteps = (vm: Vm): Step[] =>
  vm.place.nics.flatMap((nic) => {
    const { unit, network, link } = nic;
    const { bridge, mtu } = network;
    const args = { vm: vm.spec.name, uid: vm.place.uid, unit, ...(mtu === undefined ? {} : { mtu }) };
    const at = { vm: vm.spec.name, network: network.name, interface: nicNames(unit).host };
    return [
      ...networkSteps(network),
      step('veth.create', args),
      ...(bridge ? [step('veth.add', { vm: vm.spec.name, unit, bridge, isolated: isApart(nic) })] : []),
      ...(link ? [step('link.address', { ...at, ...link, addresses: withLinkLocal(link.addresses) })] : []),
      step('tap.create', args),
      step('netns.join', args),
    ];
  });

const WORDS: HostWords = {
  markOf: networkMark,
  makeBridge: (name) => `ip link add name ${name} type bridge`,
  leave: (_, name) => `ip link set dev ${name} nomaster`,
  losesAddresses: true,
};

/** A half-made link of brig's counts as marked. */
const markOn = (link: Link, { name: network, bridge, uplinks }: NetworkPlacement): string | undefined => {
  const made = uplinks.find((each) => each.interface === link.name && each.kind !== 'there');
  const kind = link.name === bridge?.name ? 'bridge' : made?.kind;
  const mark = networkMark(network);
  return kind !== undefined && ownsLink(link, mark, kind) !== 'no' ? mark : link.alias;
};

/** Why a network cannot be made, before anything is touched. */
export const checkNetwork = (seen: Seen, network: NetworkPlacement): Finding[] => {
  const { trunk } = network;
  if (trunk) return checkNetwork(seen, trunk.network);
  const interfaces = new Map<string, HostInterface>();
  for (const [name, link] of seen.links)
    interfaces.set(name, {
      ...{ name, mark: markOn(link, network), mtu: link.mtu, addresses: link.addresses },
      ...{ isBridge: link.kind === 'bridge', on: link.master },
    });
  return checkNetworkOn(network, interfaces, WORDS);
};
