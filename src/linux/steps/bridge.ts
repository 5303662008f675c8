import type { Bridge, Tunnel } from '../../base/placed.ts';
import type { Repair, StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import { networkMark } from '../node.ts';
import type { Seen } from '../observe.ts';
import { ip, ipBatch, LINK_EXISTS, NO_LINK, type Link } from '../programs/ip.ts';
import { ownsLink, upWithoutAddress } from './network.ts';

export interface BridgeArgs {
  readonly bridge: Bridge;
  readonly mtu?: number;
  /** Shape: `10.77.0.1/24` */
  readonly addresses?: readonly string[];
  /** It keeps VLANs apart. */
  readonly aware?: boolean;
}

const lacks = ({ addresses = [], mtu, aware }: BridgeArgs, link: Link): boolean =>
  !link.up ||
  addresses.some((address) => !link.addresses.includes(address)) ||
  (mtu !== undefined && link.mtu !== mtu) ||
  (aware === true && !link.filters);

/** What people must be able to do twice: `replace` takes an address that is there. */
export const addAddress = (name: string, address: string): string =>
  `address replace ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`;

/** The host's bridge of a network that brig owns: made for the first user, gone with the last. */
export const bridge: StepDef<BridgeArgs, Seen> = {
  because: ({ bridge: { network } }) => `network ${network} needs its bridge on the host`,
  apply: ({ bridge: { name, network }, mtu, addresses = [], aware }) => [
    // Half-made ones of ours are made whole; precheck has refused strangers.
    run(ip(['link', 'add', 'name', name, 'type', 'bridge']), { tolerate: [LINK_EXISTS] }),
    run(
      ipBatch([
        `link set dev ${name} alias ${networkMark(network)}`,
        ...(mtu === undefined ? [] : [`link set dev ${name} mtu ${mtu}`]),
        ...(aware ? [`link set dev ${name} type bridge vlan_filtering 1`] : []),
        ...upWithoutAddress(name),
        ...addresses.map((address) => addAddress(name, address)),
      ]),
    ),
  ],
  undo: ({ bridge: { name } }) => [run(ip(['link', 'delete', 'dev', name]), { tolerate: [NO_LINK] })],
  holds: (args, seen) => {
    const { name, network } = args.bridge;
    const link = seen.links.get(name);
    const owns = ownsLink(link, networkMark(network), 'bridge');
    return owns === 'yes' && link && lacks(args, link) ? 'partly' : owns;
  },
  repair: (args) => bridge.apply(args),
  shared: ({ bridge: { name } }) => `bridge/${name}`,
};

export interface VlanArgs {
  readonly network: string;
  readonly interface: string;
  readonly parent: string;
  readonly tag: number;
}

/** A VLAN of an uplink as an interface of its own. Undo: deleted. Source: ip-link(8) */
export const vlan: StepDef<VlanArgs, Seen> = {
  because: ({ network, parent, tag }) => `network ${network} is VLAN ${tag} of ${parent}`,
  apply: ({ network, interface: name, parent, tag }) => [
    run(ip(['link', 'add', 'link', parent, 'name', name, 'type', 'vlan', 'id', String(tag)]), {
      tolerate: [LINK_EXISTS],
    }),
    run(ipBatch([`link set dev ${name} alias ${networkMark(network)}`, ...upWithoutAddress(name)])),
  ],
  undo: ({ interface: name }) => [run(ip(['link', 'delete', 'dev', name]), { tolerate: [NO_LINK] })],
  holds: ({ network, interface: name, parent, tag }, seen) => {
    const link = seen.links.get(name);
    const owns = ownsLink(link, networkMark(network), 'vlan');
    return owns === 'yes' && !(link?.up && link.parent === parent && link.id === tag) ? 'partly' : owns;
  },
  repair: (args) => vlan.apply(args),
  shared: ({ interface: name }) => `link/${name}`,
};

export interface VxlanArgs {
  readonly network: string;
  readonly interface: string;
  readonly tunnel: Tunnel;
  readonly mtu: number;
}

const tunnelWords = ({ vni, local, port, to }: Tunnel): string[] => [
  ...['id', String(vni), 'local', local],
  ...('remote' in to ? ['remote', to.remote] : ['group', to.group, 'dev', to.device]),
  ...['dstport', String(port)],
];

/** A network over other hosts' IP network. Undo: deleted. Source: ip-link(8) */
export const vxlan: StepDef<VxlanArgs, Seen> = {
  because: ({ network, tunnel: { vni, local } }) => `network ${network} is VXLAN ${vni} from ${local}`,
  apply: ({ network, interface: name, tunnel, mtu }) => [
    run(ip(['link', 'add', 'name', name, 'type', 'vxlan', ...tunnelWords(tunnel)]), { tolerate: [LINK_EXISTS] }),
    run(
      ipBatch([
        `link set dev ${name} alias ${networkMark(network)}`,
        `link set dev ${name} mtu ${mtu}`,
        ...upWithoutAddress(name),
      ]),
    ),
  ],
  undo: ({ interface: name }) => [run(ip(['link', 'delete', 'dev', name]), { tolerate: [NO_LINK] })],
  holds: ({ network, interface: name, tunnel, mtu }, seen) => {
    const link = seen.links.get(name);
    const owns = ownsLink(link, networkMark(network), 'vxlan');
    const isWhole = link?.up && link.mtu === mtu && link.id === tunnel.vni && link.local === tunnel.local;
    return owns === 'yes' && !isWhole ? 'partly' : owns;
  },
  repair: (args, seen) => {
    const link = seen.links.get(args.interface);
    const isOther = link && (link.id !== args.tunnel.vni || link.local !== args.tunnel.local);
    const anew = isOther ? [run(ip(['link', 'delete', 'dev', args.interface]))] : [];
    return [...anew, ...vxlan.apply(args)];
  },
  shared: ({ interface: name }) => `link/${name}`,
};

export interface UplinkArgs {
  readonly bridge: Bridge;
  readonly interface: string;
  /** All VLANs pass. */
  readonly tagged?: boolean;
}

/** An interface that is no VM's on the network's bridge. Undo: it leaves it, and is otherwise as it was. */
export const uplink: StepDef<UplinkArgs, Seen> = {
  because: ({ bridge: { network }, interface: name }) => `network ${network} reaches the world by ${name}`,
  apply: ({ bridge: { name }, interface: own }) => [
    run(ipBatch([`link set dev ${own} master ${name}`, `link set dev ${own} up`])),
  ],
  undo: ({ interface: own }) => [run(ip(['link', 'set', 'dev', own, 'nomaster']), { tolerate: [NO_LINK] })],
  holds: ({ bridge: { name }, interface: own }, seen) => {
    const link = seen.links.get(own);
    if (link?.master !== name) return 'no';
    return link.up ? 'yes' : 'partly';
  },
  repair: (args, seen): Repair =>
    seen.links.has(args.interface) ? uplink.apply(args) : { restart: `${args.interface} is gone` },
  shared: ({ bridge: { name }, interface: own }) => `member/${name}/${own}`,
};

/** What the host needs to forward packets of a network whose router it is. Undo: nothing, for others may need it too. */
export interface ForwardArgs {
  readonly files: readonly string[];
}

export const forward: StepDef<ForwardArgs, Seen> = {
  because: ({ files }) => `the host forwards packets for its guests: ${files.join(', ')}`,
  apply: ({ files }) => files.map((path) => ({ do: 'set', path, text: '1' })),
  undo: () => [],
  holds: ({ files }, seen) => (files.every((path) => seen.forwarding.has(path)) ? 'yes' : 'no'),
  repair: (args) => forward.apply(args),
  shared: () => 'forward',
};
