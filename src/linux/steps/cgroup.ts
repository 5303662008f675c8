import { LIMITS } from '../../base/limits.ts';
import type { Effect } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import type { Setting } from '../programs/cgroup.ts';
import { DIRECTORY_BUSY, NO_DIRECTORY, removeDirectory } from '../programs/system.ts';

export interface CgroupArgs {
  readonly vm: string;
  readonly dir: string;
  readonly set: readonly Setting[];
}

/**
 * A cgroup that QEMU joins before it is QEMU.
 * Undo:   removed once its last process is gone; the kernel says busy for a moment.
 * Source: cgroups(7)
 */
export const cgroup: StepDef<CgroupArgs, Seen> = {
  because: ({ vm, set }) => `${vm} gets no more than ${set.map(([file, value]) => `${file} ${value}`).join(', ')}`,
  apply: ({ dir, set }) => [
    { do: 'mkdir', path: dir, access: { mode: 0o755, uid: 0, gid: 0 } },
    ...set.map(([file, value]): Effect => ({ do: 'set', path: `${dir}/${file}`, text: `${value}\n` })),
  ],
  undo: ({ dir }) => [
    run(removeDirectory(dir), { tolerate: [NO_DIRECTORY], retry: { on: DIRECTORY_BUSY, forMs: LIMITS.busyTimeoutMs } }),
  ],
  holds: ({ dir }, seen) => (seen.cgroups.has(dir) ? 'yes' : 'no'),
};
