import type { Bridge, Tunnel } from '../../base/placed.ts';
import type { Effect } from '../../base/host.ts';
import type { Repair, StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import { GROUP, GUESTS, networkMark } from '../node.ts';
import { isMember } from '../lookup.ts';
import type { Seen } from '../observe.ts';
import { EXISTS, ifconfig, NO_INTERFACE, NO_MEMBER, type Interface } from '../programs/ifconfig.ts';
import { setSysctls } from '../programs/sysctl.ts';

export interface BridgeArgs {
  readonly bridge: Bridge;
  /** By which it is made; a network may give it another name. */
  readonly unit: number;
  readonly mtu?: number;
  /** Shape: `10.77.0.1/24` */
  readonly addresses?: readonly string[];
  /** It keeps VLANs apart. */
  readonly aware?: boolean;
  /** Nobody but guests is on it. */
  readonly isClosed?: boolean;
}

const madeAs = (unit: number): string => `bridge${unit}`;

const familyOf = (address: string): string => (address.includes(':') ? 'inet6' : 'inet');

const setAddress = (name: string, address: string): Effect =>
  run(ifconfig(name, familyOf(address), address, ...(address.includes(':') ? [] : ['alias'])));

/** Only by its mark: a person's interface may have the name that the network gave it. */
const ownBridge = (name: string, network: string, seen: Seen): Interface | undefined => {
  const found = seen.interfaces.get(name);
  return found?.description === networkMark(network) ? found : undefined;
};

const lacks = ({ addresses = [], aware, mtu, isClosed }: BridgeArgs, found: Interface): boolean =>
  !found.flags.includes('UP') ||
  (isClosed === true && !found.groups.includes(GUESTS)) ||
  addresses.some((address) => !found.addresses.includes(address)) ||
  (aware === true && !found.filters) ||
  (mtu !== undefined && found.mtu !== mtu && found.members.length > 0);

/** What makes a bridge that is there whole. */
const complete = ({ bridge: { name }, addresses = [], aware, mtu, isClosed }: BridgeArgs): Effect[] => [
  ...(isClosed ? [run(ifconfig(name, 'group', GUESTS))] : []),
  ...(aware ? [run(ifconfig(name, 'vlanfilter'))] : []),
  ...(mtu === undefined ? [] : [run(ifconfig(name, 'mtu', String(mtu)))]),
  ...addresses.map((address) => setAddress(name, address)),
  run(ifconfig(name, 'up')),
];

/**
 * The host's bridge of a network that brig owns: made for the first user, gone with the last. The host has an address
 * on it only where it is the network's router.
 * Source: if_bridge(4). Created by explicit unit: creating by name leaks a bridge when the name is taken (FACTS S.5).
 */
export const bridge: StepDef<BridgeArgs, Seen> = {
  because: ({ bridge: { network } }) => `network ${network} needs its bridge on the host`,
  // Two VMs may start at once on a network of no bridge yet; a stranger's was refused before.
  apply: (args) => {
    const { bridge: own, unit, addresses = [] } = args;
    const made = madeAs(unit);
    const isPlain = addresses.length === 0 && args.aware !== true && args.mtu === undefined;
    const groups = ['group', GROUP, ...(args.isClosed ? ['group', GUESTS] : [])];
    const create = ifconfig(made, 'create', 'description', networkMark(own.network), ...groups, 'up');
    return [
      run(create, { tolerate: [EXISTS] }),
      ...(own.name === made ? [] : [run(ifconfig(made, 'name', own.name))]),
      ...(isPlain ? [] : complete(args)),
    ];
  },
  undo: ({ bridge: own, unit }, seen) =>
    [...new Set([own.name, madeAs(unit)])]
      .filter((name) => name === own.name || ownBridge(name, own.network, seen))
      .map((name) => run(ifconfig(name, 'destroy'), { tolerate: [NO_INTERFACE] })),
  holds: (args, seen) => {
    const { bridge: own, unit } = args;
    const found = ownBridge(own.name, own.network, seen);
    if (found) return lacks(args, found) ? 'partly' : 'yes';
    return ownBridge(madeAs(unit), own.network, seen) ? 'partly' : 'no';
  },
  // Its members come back one by one: each VM's own step.
  repair: (args, seen): Repair => {
    const { bridge: own, unit } = args;
    if (seen.interfaces.has(own.name)) return complete(args);
    const isUnnamed = own.name !== madeAs(unit) && seen.interfaces.has(madeAs(unit));
    return isUnnamed ? [run(ifconfig(madeAs(unit), 'name', own.name)), ...complete(args)] : bridge.apply(args);
  },
  shared: ({ bridge: own }) => `bridge/${own.name}`,
};

export interface VlanArgs {
  readonly network: string;
  readonly interface: string;
  readonly parent: string;
  readonly tag: number;
}

/** A VLAN of an uplink as an interface of its own. Undo: destroyed. Source: vlan(4) */
export const vlan: StepDef<VlanArgs, Seen> = {
  because: ({ network, parent, tag }) => `network ${network} is VLAN ${tag} of ${parent}`,
  apply: ({ network, interface: name, parent, tag }) => [
    run(
      ifconfig(
        ...[name, 'create', 'vlan', String(tag), 'vlandev', parent],
        ...['description', networkMark(network), 'group', GROUP, 'up'],
      ),
      { tolerate: [EXISTS] },
    ),
  ],
  undo: ({ interface: name }) => [run(ifconfig(name, 'destroy'), { tolerate: [NO_INTERFACE] })],
  holds: ({ network, interface: name, parent, tag }, seen) => {
    const found = seen.interfaces.get(name);
    if (found?.description !== networkMark(network)) return 'no';
    return found.flags.includes('UP') && found.vlan === `${tag} ${parent}` ? 'yes' : 'partly';
  },
  repair: (args, seen) => {
    const { interface: name, parent, tag } = args;
    return seen.interfaces.has(name)
      ? [run(ifconfig(name, 'vlan', String(tag), 'vlandev', parent)), run(ifconfig(name, 'up'))]
      : vlan.apply(args);
  },
  shared: ({ interface: name }) => `link/${name}`,
};

export interface VxlanArgs {
  readonly network: string;
  readonly interface: string;
  readonly tunnel: Tunnel;
  readonly mtu: number;
}

/** As ifconfig(8) prints it: an address of IPv6 in brackets. */
const end = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

const tunnelText = ({ vni, local, port, to }: Tunnel): string =>
  `vni ${vni} local ${end(local, port)} ${'remote' in to ? `remote ${end(to.remote, port)}` : `group ${end(to.group, port)}`}`;

const tunnelWords = ({ vni, local, port, to }: Tunnel): string[] => [
  ...['vxlanid', String(vni), 'vxlanlocal', local],
  ...('remote' in to ? ['vxlanremote', to.remote] : ['vxlangroup', to.group, 'vxlandev', to.device]),
  ...['vxlanlocalport', String(port), 'vxlanremoteport', String(port)],
];

/** A network over other hosts' IP network. Undo: destroyed. Source: vxlan(4) */
export const vxlan: StepDef<VxlanArgs, Seen> = {
  because: ({ network, tunnel: { vni, local } }) => `network ${network} is VXLAN ${vni} from ${local}`,
  apply: ({ network, interface: name, tunnel, mtu }) => [
    run(ifconfig(...[name, 'create', ...tunnelWords(tunnel), 'description', networkMark(network), 'group', GROUP]), {
      tolerate: [EXISTS],
    }),
    run(ifconfig(name, 'mtu', String(mtu), 'up')),
  ],
  undo: ({ interface: name }) => [run(ifconfig(name, 'destroy'), { tolerate: [NO_INTERFACE] })],
  holds: ({ network, interface: name, tunnel, mtu }, seen) => {
    const found = seen.interfaces.get(name);
    if (found?.description !== networkMark(network)) return 'no';
    const isWhole = found.flags.includes('UP') && found.mtu === mtu && found.vxlan?.startsWith(tunnelText(tunnel));
    return isWhole ? 'yes' : 'partly';
  },
  repair: (args, seen) => {
    const { interface: name, mtu, tunnel } = args;
    const found = seen.interfaces.get(name);
    if (!found) return vxlan.apply(args);
    // A tunnel that is up takes no other ends: vxlan(4).
    const anew = found.vxlan?.startsWith(tunnelText(tunnel)) ? [] : [run(ifconfig(name, 'destroy'))];
    return anew.length > 0 ? [...anew, ...vxlan.apply(args)] : [run(ifconfig(name, 'mtu', String(mtu), 'up'))];
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
  apply: ({ bridge: own, interface: name, tagged }) => [
    run(ifconfig(own.name, 'addm', name, ...(tagged ? ['tagged', '1-4094'] : []))),
    run(ifconfig(name, 'up')),
  ],
  undo: ({ bridge: own, interface: name }) => [
    run(ifconfig(own.name, 'deletem', name), { tolerate: [NO_MEMBER, NO_INTERFACE] }),
  ],
  holds: ({ bridge: own, interface: name }, seen) => {
    if (!isMember(own.name, name, seen)) return 'no';
    return seen.interfaces.get(name)?.flags.includes('UP') ? 'yes' : 'partly';
  },
  repair: (args, seen): Repair => {
    const { bridge: own, interface: name } = args;
    if (!seen.interfaces.has(name)) return { restart: `${name} is gone` };
    return isMember(own.name, name, seen) ? [run(ifconfig(name, 'up'))] : uplink.apply(args);
  },
  shared: ({ bridge: own, interface: name }) => `member/${own.name}/${name}`,
};

/** What the host needs to forward packets of a network whose router it is. Undo: nothing, for others may need it too. */
export interface ForwardArgs {
  readonly sysctls: readonly string[];
}

export const forward: StepDef<ForwardArgs, Seen> = {
  because: ({ sysctls }) => `the host forwards packets for its guests: ${sysctls.join(', ')}`,
  apply: ({ sysctls }) => [run(setSysctls(Object.fromEntries(sysctls.map((name) => [name, '1']))))],
  undo: () => [],
  holds: ({ sysctls }, seen) => (sysctls.every((name) => seen.sysctls.get(name) === '1') ? 'yes' : 'no'),
  repair: (args) => forward.apply(args),
  shared: () => 'forward',
};
