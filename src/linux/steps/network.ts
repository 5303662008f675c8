import type { Bridge } from '../../base/placed.ts';
import type { Holds, Repair, StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import { isNicName, markOf, nicNames, spaceOf } from '../node.ts';
import type { Seen } from '../observe.ts';
import { ip, ipBatch, NO_LINK, NO_SPACE, NO_SPACE_FILE, type Link } from '../programs/ip.ts';

/**
 * Whether a link is brig's. It gets its mark right after its name and before it goes up,
 * so one of this name and kind that is down and bare is a half-made one; all others are strangers.
 */
export const ownsLink = (link: Link | undefined, mark: string, kind: string): Holds => {
  if (link?.alias === mark) return 'yes';
  return link?.kind === kind && link.alias === undefined && !link.up ? 'partly' : 'no';
};

/** Lines for ipBatch. In two: in one the kernel raises it first, and a bridge has its IPv6 address (seen: Linux 6.18). */
export const upWithoutAddress = (name: string): string[] => [
  `link set dev ${name} addrgenmode none`,
  `link set dev ${name} up`,
];

/** Links of one kind that carry the VM's mark under a name that brig did not give. */
const renamed = (vm: string, kind: string, seen: Seen): Link[] =>
  [...seen.links.values()].filter((each) => each.alias === markOf(vm) && each.kind === kind && !isNicName(each.name));

/** Older kernels rename only what is down. */
const renameBack = (name: string, to: string): string[] => [
  `link set dev ${name} down`,
  `link set dev ${name} name ${to}`,
  `link set dev ${to} up`,
];

export interface NetnsArgs {
  readonly vm: string;
}

/** The VM's network namespace: nothing but a loopback that is down. */
export const netns: StepDef<NetnsArgs, Seen> = {
  because: ({ vm }) => `QEMU of ${vm} sees no interface of the host`,
  apply: ({ vm }) => [run(ip(['netns', 'add', spaceOf(vm)]))],
  undo: ({ vm }) => [run(ip(['netns', 'delete', spaceOf(vm)]), { tolerate: [NO_SPACE_FILE] })],
  holds: ({ vm }, seen) => (seen.spaces.has(spaceOf(vm)) ? 'yes' : 'no'),
  repair: () => ({ restart: 'its network namespace has lost its name, and brig cannot enter it any more' }),
};

export interface NicArgs {
  readonly vm: string;
  readonly uid: number;
  readonly unit: number;
  /** Absent: 1500. */
  readonly mtu?: number;
}

export const mtuLines = (mtu: number | undefined, ...names: readonly string[]): string[] =>
  mtu === undefined ? [] : names.map((name) => `link set dev ${name} mtu ${mtu}`);

/**
 * A veth pair: one end stays on the host, the other is born in the VM's namespace.
 * Undo:  deleting either end removes both. Source: veth(4)
 */
export const veth: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `${vm} has a network namespace of its own, and a veth pair is its only way out`,
  apply: ({ vm, unit, mtu }) => {
    const { host, peer } = nicNames(unit);
    return [
      run(
        ipBatch([
          `link add name ${host} type veth peer name ${peer} netns ${spaceOf(vm)}`,
          `link set dev ${host} alias ${markOf(vm)}`,
          `link set dev ${host} addrgenmode none`,
          ...mtuLines(mtu, host),
        ]),
      ),
    ];
  },
  undo: ({ unit }) => [run(ip(['link', 'delete', 'dev', nicNames(unit).host]), { tolerate: [NO_LINK] })],
  holds: ({ vm, unit }, seen) => ownsLink(seen.links.get(nicNames(unit).host), markOf(vm), 'veth'),
  repair: (args, seen) => {
    const { vm, unit } = args;
    const { host, peer } = nicNames(unit);
    if (seen.links.has(host)) return { restart: `${host} has lost the mark ${markOf(vm)}` };
    const [one, ...more] = renamed(vm, 'veth', seen);
    if (one && more.length === 0) return [run(ipBatch(renameBack(one.name, host)))];
    // Deleted from the VM's end, for the host's may be in any namespace.
    const rest = seen.focus?.inside.has(peer) ? [run(ip(['link', 'delete', 'dev', peer], spaceOf(vm)))] : [];
    return [...rest, ...veth.apply(args)];
  },
};

export interface MemberArgs {
  readonly vm: string;
  readonly unit: number;
  readonly bridge: Bridge;
  /** It reaches no other isolated port. Source: bridge(8) "isolated" */
  readonly isolated: boolean;
}

/** The host's end on the network's bridge. */
export const vethMember: StepDef<MemberArgs, Seen> = {
  because: ({ vm, bridge: { network }, isolated }) =>
    `${vm} is on network ${network}${isolated ? '; isolated: guests on it reach the network, not each other' : ''}`,
  apply: ({ unit, bridge: { name }, isolated }) => {
    const { host } = nicNames(unit);
    return [
      run(
        ipBatch([
          `link set dev ${host} master ${name}`,
          `link set dev ${host} type bridge_slave isolated ${isolated ? 'on' : 'off'}`,
          `link set dev ${host} up`,
        ]),
      ),
    ];
  },
  undo: ({ unit }) => [run(ip(['link', 'set', 'dev', nicNames(unit).host, 'nomaster']), { tolerate: [NO_LINK] })],
  holds: ({ unit, bridge: { name }, isolated }, seen) => {
    const link = seen.links.get(nicNames(unit).host);
    if (link?.master !== name) return 'no';
    return link.isolated === isolated && link.up ? 'yes' : 'partly';
  },
  repair: (args, seen): Repair =>
    seen.links.has(args.bridge.name)
      ? vethMember.apply(args)
      : { restart: `bridge ${args.bridge.name} is gone: make it again, for brig does not own it` },
};

/** A tap in the VM's namespace that its uid may open; nobody else's process is in there. */
export const tap: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `${vm} has a NIC, and QEMU drives it through a tap`,
  apply: ({ vm, uid, unit, mtu }) => [
    run(
      ipBatch(
        [
          `tuntap add dev ${nicNames(unit).tap} mode tap user ${uid}`,
          ...mtuLines(mtu, nicNames(unit).tap),
          ...upWithoutAddress(nicNames(unit).tap),
        ],
        spaceOf(vm),
      ),
    ),
  ],
  undo: ({ vm, unit }) => [
    run(ip(['link', 'delete', 'dev', nicNames(unit).tap], spaceOf(vm)), { tolerate: [NO_LINK, NO_SPACE] }),
  ],
  holds: ({ vm, unit }, seen) => {
    if (!seen.focus) return seen.spaces.has(spaceOf(vm)) ? 'yes' : 'no';
    const link = seen.focus.inside.get(nicNames(unit).tap);
    return link ? (link.up ? 'yes' : 'partly') : 'no';
  },
  repair: ({ vm, unit }, seen): Repair => {
    const { tap: name } = nicNames(unit);
    return seen.focus?.inside.has(name)
      ? [run(ipBatch(upWithoutAddress(name), spaceOf(vm)))]
      : { restart: `the tap that QEMU has open is not ${name} of its namespace any more` };
  },
};

/** A bridge in the VM's namespace that joins tap and veth: it has no address, so the namespace itself cannot be talked to. */
export const inside: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `what ${vm} sends meets a bridge in its own namespace before it meets the host`,
  apply: ({ vm, unit, mtu }) => {
    const { peer, tap: tapName, bridge: name } = nicNames(unit);
    return [
      run(ip(['link', 'delete', 'dev', name], spaceOf(vm)), { tolerate: [NO_LINK] }),
      run(
        ipBatch(
          [
            `link add name ${name} type bridge`,
            ...mtuLines(mtu, peer, name),
            ...upWithoutAddress(name),
            `link set dev ${peer} addrgenmode none`,
            `link set dev ${peer} master ${name} up`,
            `link set dev ${tapName} master ${name}`,
          ],
          spaceOf(vm),
        ),
      ),
    ];
  },
  undo: ({ vm, unit }) => [
    run(ip(['link', 'delete', 'dev', nicNames(unit).bridge], spaceOf(vm)), { tolerate: [NO_LINK, NO_SPACE] }),
  ],
  holds: ({ vm, unit }, seen) => {
    const names = nicNames(unit);
    if (!seen.focus) return seen.spaces.has(spaceOf(vm)) ? 'yes' : 'no';
    const { inside: links } = seen.focus;
    if (!links.has(names.bridge)) return 'no';
    const isJoined = [names.peer, names.tap].every((name) => links.get(name)?.master === names.bridge);
    return isJoined && [names.peer, names.bridge].every((name) => links.get(name)?.up) ? 'yes' : 'partly';
  },
  repair: (args, seen) => {
    const names = nicNames(args.unit);
    const lost = [names.peer, names.tap].find((name) => !seen.focus?.inside.has(name));
    return lost === undefined ? inside.apply(args) : { restart: `${lost} is not in the VM's namespace any more` };
  },
};
