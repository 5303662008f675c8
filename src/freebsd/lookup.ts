import type { Seen } from './observe.ts';
import type { Jail } from './programs/jls.ts';
import type { Mount } from './programs/mount.ts';
import type { Process } from './programs/ps.ts';

/**
 * Groups a list of an observation once, whoever asks how often: with thousands of VMs each asks for its own few.
 * Shape: (keyOf) -> (items, key) -> the items with that key, in order
 */
const grouped = <T>(keyOf: (item: T) => string | undefined) => {
  const known = new WeakMap<readonly T[], Map<string | undefined, T[]>>();
  return (items: readonly T[], key: string): readonly T[] => {
    let groups = known.get(items);
    if (!groups) known.set(items, (groups = Map.groupBy(items, keyOf)));
    return groups.get(key) ?? [];
  };
};

const sets = new WeakMap<readonly string[], ReadonlySet<string>>();
/** A bridge may have thousands of members, each of which is asked about. */
const setOf = (members: readonly string[]): ReadonlySet<string> => {
  let set = sets.get(members);
  if (!set) sets.set(members, (set = new Set(members)));
  return set;
};

/** Whether a member reaches no other private one. */
export const isPrivateMember = (bridge: string, name: string, seen: Seen): boolean =>
  setOf(seen.interfaces.get(bridge)?.privates ?? []).has(name);

export const isMember = (bridge: string, name: string, seen: Seen): boolean =>
  setOf(seen.interfaces.get(bridge)?.members ?? []).has(name);

const jails = grouped<Jail>((jail) => jail.name);
const mounts = grouped<Mount>((mount) => mount.node);
const inside = grouped<Process>((process) => process.jail);
/** Shape: `/bin/sh /var/run/brig/supervise.sh bhyve NAME ...` */
const supervisors = grouped<Process>(({ jid, user, command }) =>
  jid === 0 && user === 'root' ? /^\/bin\/sh \S+\/supervise\.sh bhyve (\S+) /.exec(command)?.[1] : undefined,
);
const rules = grouped<string>((rule) => rule.split(':', 2).join(':'));

/** Jails of this name, dying ones included. */
export const jailsNamed = (name: string, seen: Seen): readonly Jail[] => jails(seen.jails, name);
/** Whether a jail of this name is there, with a network stack of its own. */
export const jailNow = (seen: Seen, name: string): 'there' | 'gone' | 'no vnet' => {
  const found = jailsNamed(name, seen).find((jail) => !jail.dying);
  return found ? (found.vnet ? 'there' : 'no vnet') : 'gone';
};
/** What is mounted at a node, the last one on top. */
export const mountsAt = (node: string, seen: Seen): readonly Mount[] => mounts(seen.mounts, node);
export const processesIn = (jail: string, seen: Seen): readonly Process[] => inside(seen.processes, jail);
/** The supervisor of a VM, among the host's processes. */
export const supervisorOf = (vm: string, seen: Seen): Process | undefined => supervisors(seen.processes, vm)[0];
/** Limits in force of a jail; none where racct is off. */
export const limitsOn = (jail: string, seen: Seen): readonly string[] => rules(seen.rctl ?? [], `jail:${jail}`);
