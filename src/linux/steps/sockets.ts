import { DATA_GONE, type StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { mountSmall, NOT_MOUNTED, unmount } from '../programs/system.ts';

export interface SocketsArgs {
  readonly vm: string;
  readonly path: string;
  readonly uid: number;
}

/**
 * The one place where QEMU makes files: sockets, in a file system that holds hardly more than them.
 * The run directory above it is root's, so only root of the host connects.
 * Source: tmpfs(5), unix(7)
 */
export const sockets: StepDef<SocketsArgs, Seen> = {
  because: ({ vm }) => `QEMU of ${vm} listens on sockets that only root of the host reaches`,
  apply: ({ path, uid }) => [
    { do: 'mkdir', path, access: { mode: 0o700, uid: 0, gid: 0 } },
    run(mountSmall(path, uid)),
  ],
  undo: ({ path }) => [run(unmount(path), { tolerate: NOT_MOUNTED }), { do: 'rmdir', path }],
  holds: ({ vm, path }, seen) => {
    if (!seen.focus) return seen.runDirs.has(vm) ? 'yes' : 'no';
    const { mounts, runFiles } = seen.focus;
    if (mounts.has(path)) return 'yes';
    return runFiles.has(path.slice(path.lastIndexOf('/') + 1)) ? 'partly' : 'no';
  },
  repair: () => ({ restart: 'the sockets that QEMU listens on were taken away' }),
};

export interface TpmDirArgs {
  readonly vm: string;
  readonly path: string;
  readonly uid: number;
}

/** What a TPM remembers; swtpm(8) alone sees it. */
export const tpmDir: StepDef<TpmDirArgs, Seen> = {
  keeps: true,
  because: ({ vm }) => `the TPM of ${vm} keeps its keys over runs`,
  apply: ({ path, uid }) => [{ do: 'mkdir', path, access: { mode: 0o700, uid, gid: uid } }],
  undo: ({ path }) => [{ do: 'remove', path }],
  holds: (_, seen) => (!seen.focus || seen.focus.hasTpm ? 'yes' : 'no'),
  repair: () => DATA_GONE,
};
