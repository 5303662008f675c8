import type { Bridge } from '../../base/placed.ts';
import type { Effect } from '../../base/host.ts';
import type { Repair, StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import { GROUP, GUESTS, markOf } from '../node.ts';
import { isMember, isPrivateMember, jailsNamed } from '../lookup.ts';
import type { Seen } from '../observe.ts';
import { ifconfig, ifconfigIn, NO_INTERFACE, NO_MEMBER, type Interface } from '../programs/ifconfig.ts';

export interface NicArgs {
  readonly vm: string;
  readonly unit: number;
  /** Absent: a link of its own, which is on none. */
  readonly bridge?: Bridge;
  /** Of both ends and of the tap; absent: 1500. */
  readonly mtu?: number;
  /** The jail whose vnet has the guest's side of it. */
  readonly away?: string;
}

export const tapOf = (unit: number): string => `tap${unit}`;
/** Members of a bridge must have one MTU, and the first one gives it to the bridge. */
export const mtuWords = (mtu: number | undefined): string[] => (mtu === undefined ? [] : ['mtu', String(mtu)]);
export const hostEnd = (unit: number): string => `epair${unit}a`;
export const jailEnd = (unit: number): string => `epair${unit}b`;

/** An interface by name that carries the VM's mark, on the host or in the VM's vnet. */
const owned = (vm: string, name: string, seen: Seen): Interface | undefined => {
  const found = seen.interfaces.get(name) ?? seen.focus?.inside.get(name);
  return found?.description === markOf(vm) ? found : undefined;
};

/** What is in a vnet that nobody looked into is taken for right. */
const outOfSight = (jail: string, seen: Seen): boolean => !seen.focus && jailsNamed(jail, seen).length > 0;

/** Interfaces of one kind that carry the VM's mark under a name that brig did not give. */
const renamed = (vm: string, kind: 'tap' | 'epair', from: Iterable<Interface> = []): Interface[] =>
  [...from].filter(
    (each) =>
      each.description === markOf(vm) && each.groups.includes(kind) && !/^(tap\d+|epair\d+[ab])$/.test(each.name),
  );

/** An interface of the VM by the name that brig gave, and whatever somebody gave another: a stop leaves neither. */
const destroyAll = (vm: string, kind: 'tap' | 'epair', name: string, seen: Seen): Effect[] =>
  [name, ...everRenamed(vm, kind, seen).map((each) => each.name)].map((each) =>
    run(ifconfig(each, 'destroy'), { tolerate: [NO_INTERFACE] }),
  );

const everRenamed = (vm: string, kind: 'tap' | 'epair', seen: Seen): Interface[] => [
  ...renamed(vm, kind, seen.interfaces.values()),
  ...renamed(vm, kind, seen.focus?.inside.values()),
];

/**
 * A tap made on the host: one made inside the jail would hang the host when the jail goes (FACTS 0.10).
 * Undo:  only after bhyve is gone; destroying an open tap wedges the host.
 */
export const tap: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `${vm} has a NIC, and bhyve drives it through a tap`,
  apply: ({ vm, unit, mtu, away }) => {
    // Its packets come in at the epair's end otherwise.
    const groups = ['group', GROUP, ...(away === undefined ? ['group', GUESTS] : [])];
    return [run(ifconfig(tapOf(unit), 'create', 'description', markOf(vm), ...groups, ...mtuWords(mtu)))];
  },
  undo: ({ vm, unit }, seen) => destroyAll(vm, 'tap', tapOf(unit), seen),
  holds: ({ vm, unit, away }, seen) => {
    const isHidden = away !== undefined && outOfSight(away, seen) && !seen.interfaces.has(tapOf(unit));
    if (isHidden || owned(vm, tapOf(unit), seen)) return 'yes';
    return seen.focus && everRenamed(vm, 'tap', seen).length > 0 ? 'partly' : 'no';
  },
  repair: ({ vm, unit, away }, seen) => {
    const outside = renamed(vm, 'tap', seen.interfaces.values());
    const inVnet = renamed(vm, 'tap', seen.focus?.inside.values());
    const [one, ...more] = [...outside, ...inVnet];
    if (!one || more.length > 0) return { restart: `the tap that bhyve has open is not ${tapOf(unit)} any more` };
    const back = [one.name, 'name', tapOf(unit)] as const;
    return [run(away && outside.length === 0 ? ifconfigIn(away, ...back) : ifconfig(...back))];
  },
};

/**
 * A pair of interfaces: a stays on the host, b goes into the jail's vnet. Destroying either end removes both.
 * Source: epair(4)
 */
export const epair: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `${vm} has a vnet of its own, and an epair is its only way out`,
  apply: ({ vm, unit, mtu }) => [
    run(
      ifconfig(
        `epair${unit}`,
        'create',
        'description',
        markOf(vm),
        'group',
        GROUP,
        'group',
        GUESTS,
        ...mtuWords(mtu),
        'up',
      ),
    ),
  ],
  undo: ({ vm, unit }, seen) => destroyAll(vm, 'epair', hostEnd(unit), seen),
  holds: ({ vm, unit }, seen) => {
    const found = owned(vm, hostEnd(unit), seen);
    if (found) return found.flags.includes('UP') && found.groups.includes(GUESTS) ? 'yes' : 'partly';
    return seen.focus && everRenamed(vm, 'epair', seen).length > 0 ? 'partly' : 'no';
  },
  repair: (args, seen) => {
    const { vm, unit, away } = args;
    if (owned(vm, hostEnd(unit), seen)) return [run(ifconfig(hostEnd(unit), 'group', GUESTS, 'up'))];
    if (seen.interfaces.has(hostEnd(unit))) return { restart: `${hostEnd(unit)} has lost the mark ${markOf(vm)}` };
    const [one, ...more] = renamed(vm, 'epair', seen.interfaces.values());
    if (one && more.length === 0) return [run(ifconfig(one.name, 'name', hostEnd(unit)))];
    // Destroyed from the jail's end, for the host's may be anywhere.
    const rest = away && seen.focus?.inside.has(jailEnd(unit)) ? [run(ifconfigIn(away, jailEnd(unit), 'destroy'))] : [];
    return [...rest, ...epair.apply(args)];
  },
};

export interface MemberArgs {
  readonly vm: string;
  readonly unit: number;
  readonly bridge: Bridge;
  /** It reaches no other private member. */
  readonly private: boolean;
  /** Nothing that another sends from comes in. */
  readonly mac?: string;
  /** Its VLAN, on a bridge that keeps them apart. */
  readonly tag?: number;
}

const memberStep = (nameOf: (unit: number) => string, why: string): StepDef<MemberArgs, Seen> => ({
  because: ({ vm, bridge: { network }, private: isPrivate }) =>
    `${vm} is on network ${network}${why}${isPrivate ? '; private: guests on it reach the network, not each other' : ''}`,
  apply: ({ unit, bridge: { name }, private: isPrivate, tag, mac }) => {
    const port = nameOf(unit);
    const vlan = tag === undefined ? [] : ['vlan', String(tag)];
    return [
      run(
        ifconfig(
          ...[name, 'addm', port, ...(tag === undefined ? [] : ['untagged', String(tag)])],
          ...(isPrivate ? ['private', port] : []),
          ...(mac === undefined ? [] : ['ifmaxaddr', port, '1']),
        ),
      ),
      // A bridge that may learn one address, and knows it, takes frames from no other: if_bridge(4).
      ...(mac === undefined ? [] : [run(ifconfig(name, 'static', port, mac, ...vlan))]),
    ];
  },
  undo: ({ unit, bridge: { name } }) => [
    run(ifconfig(name, 'deletem', nameOf(unit)), { tolerate: [NO_MEMBER, NO_INTERFACE] }),
  ],
  holds: ({ unit, bridge: { name }, private: isPrivate }, seen) => {
    if (!isMember(name, nameOf(unit), seen)) return 'no';
    return isPrivateMember(name, nameOf(unit), seen) === isPrivate ? 'yes' : 'partly';
  },
  repair: (args, seen): Repair => {
    const { unit, bridge: own, private: isPrivate } = args;
    if (isMember(own.name, nameOf(unit), seen))
      return [run(ifconfig(own.name, isPrivate ? 'private' : '-private', nameOf(unit)))];
    const other = [...seen.interfaces.values()].find((each) => each.members.includes(nameOf(unit)));
    const leave = other ? [run(ifconfig(other.name, 'deletem', nameOf(unit)))] : [];
    return seen.interfaces.has(own.name)
      ? [...leave, ...memberStep(nameOf, why).apply(args)]
      : { restart: `bridge ${own.name} of network ${own.network} is gone: make it again, for brig does not own it` };
  },
});

/** The host's end of the epair on the network's bridge. */
export const epairMember = memberStep(hostEnd, '');

/** Mode direct: the tap itself on the network's bridge; the jail's vnet stays empty. */
export const tapMember = memberStep(tapOf, ' directly');

export interface InsideArgs {
  readonly vm: string;
  readonly jail: string;
  readonly unit: number;
  /** Unit of the bridge inside the vnet: the NIC's index. */
  readonly inside: number;
  readonly mtu?: number;
}

/**
 * The vnet's own network: tap and epair moved in and joined by a bridge.
 * Undo:  nothing: when the jail is gone, both are home and the bridge is destroyed (FACTS 3.3).
 */
export const inside: StepDef<InsideArgs, Seen> = {
  because: ({ vm }) => `what ${vm} sends meets a bridge in its own vnet before it meets the host`,
  apply: ({ jail, unit, inside: index, mtu }) => [
    run(ifconfig(jailEnd(unit), 'vnet', jail)),
    run(ifconfig(tapOf(unit), 'vnet', jail)),
    run(ifconfigIn(jail, `bridge${index}`, 'create')),
    ...(mtu === undefined ? [] : [jailEnd(unit), tapOf(unit)]).map((name) =>
      run(ifconfigIn(jail, name, 'mtu', String(mtu))),
    ),
    run(ifconfigIn(jail, `bridge${index}`, 'addm', jailEnd(unit), 'addm', tapOf(unit), 'up')),
    run(ifconfigIn(jail, jailEnd(unit), 'up')),
  ],
  undo: () => [],
  holds: ({ jail, unit, inside: index }, seen) => {
    if (!seen.focus) return outOfSight(jail, seen) ? 'yes' : 'no';
    const { inside: links } = seen.focus;
    const joined = links.get(`bridge${index}`);
    const isUp = [joined, links.get(jailEnd(unit))].every((each) => each?.flags.includes('UP'));
    if (isUp && [jailEnd(unit), tapOf(unit)].every((name) => joined?.members.includes(name))) return 'yes';
    return links.has(jailEnd(unit)) ? 'partly' : 'no';
  },
  repair: ({ jail, unit, inside: index }, seen) => {
    const links = seen.focus?.inside;
    const joined = `bridge${index}`;
    const ends = [jailEnd(unit), tapOf(unit)];
    const lost = ends.find((name) => !links?.has(name) && !seen.interfaces.has(name));
    if (lost !== undefined) return { restart: `${lost} is neither on the host nor in the VM's vnet` };
    const add = ends.filter((name) => !links?.get(joined)?.members.includes(name)).flatMap((name) => ['addm', name]);
    return [
      ...ends.filter((name) => !links?.has(name)).map((name) => run(ifconfig(name, 'vnet', jail))),
      ...(links?.has(joined) ? [] : [run(ifconfigIn(jail, joined, 'create'))]),
      run(ifconfigIn(jail, joined, ...add, 'up')),
      run(ifconfigIn(jail, jailEnd(unit), 'up')),
    ];
  },
};
