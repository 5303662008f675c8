import { LIMITS } from '../../base/limits.ts';
import type { Effect } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { isSet, membersOf, type Setting } from '../programs/cgroup.ts';
import { qemuOf } from './process.ts';
import { DIRECTORY_BUSY, NO_DIRECTORY, removeDirectories } from '../programs/system.ts';

export interface CgroupArgs {
  readonly vm: string;
  readonly uid: number;
  readonly groups: readonly { readonly dir: string; readonly set: readonly Setting[] }[];
}

/**
 * The cgroups that QEMU joins before it is QEMU: one directory, or one for each controller of version 1.
 * Undo:   removed once their last process is gone; the kernel says busy for a moment.
 * Source: cgroups(7)
 */
export const cgroup: StepDef<CgroupArgs, Seen> = {
  because: ({ vm, groups }) =>
    `${vm} gets no more than ${groups.flatMap(({ set }) => set.map(([file, value]) => `${file} ${value}`)).join(', ')}`,
  apply: ({ groups }) =>
    groups.flatMap(({ dir, set }) => [
      { do: 'mkdir', path: dir, access: { mode: 0o755, uid: 0, gid: 0 } },
      ...set.map(([file, value]): Effect => ({ do: 'set', path: `${dir}/${file}`, text: `${value}\n` })),
    ]),
  undo: ({ groups }) => [
    run(removeDirectories(groups.map(({ dir }) => dir)), {
      tolerate: [NO_DIRECTORY],
      retry: { on: DIRECTORY_BUSY, forMs: LIMITS.busyTimeoutMs },
    }),
  ],
  holds: (args, seen) => {
    const { groups } = args;
    const there = groups.filter(({ dir }) => seen.cgroups.has(dir)).length;
    if (there === 0) return 'no';
    return there === groups.length && unset(args, seen).length === 0 ? 'yes' : 'partly';
  },
  repair: (args, seen) =>
    args.groups.every(({ dir }) => seen.cgroups.has(dir))
      ? unset(args, seen)
      : { restart: 'its cgroups are gone, and its processes are in others now' },
};

/** What makes good the limits that somebody changed, or QEMU's membership. */
const unset = ({ groups, uid }: CgroupArgs, seen: Seen): Effect[] => {
  const texts = seen.focus?.limits;
  if (!texts) return [];
  const pid = qemuOf(uid, seen)?.pid;
  return groups.flatMap(({ dir, set }) => {
    const changed = set.filter((setting) => !isSet(texts.get(`${dir}/${setting[0]}`), setting));
    const members = membersOf(dir);
    const isMember = pid === undefined || texts.get(members)?.split('\n').includes(String(pid));
    return [
      ...changed.map(([file, value]): Effect => ({ do: 'set', path: `${dir}/${file}`, text: `${value}\n` })),
      ...(isMember ? [] : [{ do: 'set', path: members, text: `${pid}\n` } as const]),
    ];
  });
};
