import { run } from '../../platform/command.ts';
import type { Effect } from '../../base/host.ts';
import type { SecretRef } from '../../base/secret.ts';
import { DATA_GONE, type StepDef } from '../../base/step.ts';
import type { Seen } from '../observe.ts';
import { makeFifos } from '../programs/mkfifo.ts';

const ROOT = { uid: 0, gid: 0 };

export interface RunDirArgs {
  readonly vm: string;
  readonly uid: number;
  readonly paths: {
    readonly run: string;
    readonly root: string;
    readonly config: string;
    readonly conIn: string;
    readonly conOut: string;
    readonly exit: string;
    readonly resets: string;
  };
  readonly config: string;
  /** What has places in it. */
  readonly secrets?: readonly SecretRef[];
  /** File on the host that becomes the boot ROM. */
  readonly rom: string;
  /** Mount points for read-only images: a nullfs mount of one file needs a file to cover. */
  readonly covers: readonly string[];
  /** Mount points for shared directories. */
  readonly shares: readonly string[];
}

/** All but the console: safe to make again at any time. */
const directory = ({ uid, paths, config, secrets, rom, covers, shares }: RunDirArgs): Effect[] => [
  { do: 'mkdir', path: paths.run, access: { mode: 0o700, ...ROOT } },
  { do: 'mkdir', path: paths.root, access: { mode: 0o755, ...ROOT } },
  { do: 'mkdir', path: paths.config, access: { mode: 0o755, ...ROOT } },
  {
    do: 'write',
    path: `${paths.config}/bhyve.conf`,
    text: config,
    access: { mode: 0o600, uid, gid: uid },
    ...(secrets === undefined ? {} : { secrets }),
  },
  { do: 'copy', from: rom, to: `${paths.config}/firmware.rom`, access: { mode: 0o444, ...ROOT } },
  ...covers.map((path): Effect => ({ do: 'write', path, text: '', access: { mode: 0o444, ...ROOT } })),
  ...shares.map((path): Effect => ({ do: 'mkdir', path, access: { mode: 0o755, ...ROOT } })),
];

const CONSOLE = ['con.in', 'con.out'];
const CONFIG = ['bhyve.conf', 'firmware.rom'];

/**
 * The run directory: configuration, firmware, console FIFOs; nobody but root enters it from the host.
 * Undo:  removed with everything in it, after everything mounted below is gone.
 */
export const runDir: StepDef<RunDirArgs, Seen> = {
  because: ({ vm }) =>
    `${vm} needs its configuration, a private copy of its firmware and a console before its jail exists`,
  apply: (args) => [
    { do: 'remove', path: args.paths.exit },
    { do: 'remove', path: args.paths.resets },
    ...directory(args),
    { do: 'remove', path: args.paths.conIn },
    { do: 'remove', path: args.paths.conOut },
    run(makeFifos([args.paths.conIn, args.paths.conOut])),
  ],
  undo: ({ paths }) => [{ do: 'remove', path: paths.run }],
  holds: ({ vm }, seen) => {
    if (!seen.runDirs.has(vm)) return 'no';
    const { runFiles, configFiles } = seen.focus ?? {};
    if (!runFiles || !configFiles) return 'yes';
    const isWhole =
      ['root', 'vm', ...CONSOLE].every((name) => runFiles.has(name)) && CONFIG.every((name) => configFiles.has(name));
    return isWhole ? 'yes' : 'partly';
  },
  // The guest's next reset reads all of it again.
  repair: (args, seen) => {
    const missing = CONSOLE.filter((name) => !seen.focus?.runFiles.has(name)).map(
      (name) => `${args.paths.run}/${name}`,
    );
    return [...directory(args), ...(missing.length === 0 ? [] : [run(makeFifos(missing))])];
  },
};

export interface StateDirArgs {
  readonly vm: string;
  readonly paths: { readonly state: string; readonly disk: string };
}

/** What outlives a run: console history, and where bhyve may write its file disks. The directories are root's, so it can add nothing. */
export const stateDir: StepDef<StateDirArgs, Seen> = {
  keeps: true,
  because: ({ vm }) => `${vm} keeps its console history, file disks and UEFI variables`,
  apply: ({ paths }) => [
    { do: 'mkdir', path: paths.state, access: { mode: 0o700, ...ROOT } },
    { do: 'mkdir', path: paths.disk, access: { mode: 0o711, ...ROOT } },
  ],
  undo: ({ paths }) => [{ do: 'remove', path: paths.state }],
  holds: ({ vm }, seen) => (seen.stateDirs.has(vm) ? 'yes' : 'no'),
  repair: () => DATA_GONE,
};

export interface FileDiskArgs {
  readonly vm: string;
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
  readonly from?: string;
  readonly uid: number;
}

/** A disk as a sparse file, or as a copy of one. An existing file is kept: it is data. */
export const fileDisk: StepDef<FileDiskArgs, Seen> = {
  keeps: true,
  because: ({ vm, name }) => `${name} of ${vm} is a file`,
  apply: ({ path, bytes, from, uid }) => {
    const access = { mode: 0o600, uid, gid: uid };
    return from === undefined
      ? [{ do: 'allocate', path, bytes, access }]
      : [{ do: 'copy', from, to: path, access, keep: true, growTo: bytes }];
  },
  undo: ({ path }) => [{ do: 'remove', path }],
  holds: ({ name }, seen) => (!seen.focus || seen.focus.diskFiles.has(name) ? 'yes' : 'no'),
  repair: () => DATA_GONE,
};
