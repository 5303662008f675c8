import { command, run } from '../../platform/command.ts';
import type { Access, Effect } from '../../base/host.ts';
import type { SecretRef } from '../../base/secret.ts';
import { DATA_GONE, type StepDef } from '../../base/step.ts';
import type { Seen } from '../observe.ts';
import { renderVmArgs, type Bind } from '../programs/bwrap.ts';
import { createOverlay, flatten, growOverlay, noOverlay } from '../programs/qemu-img.ts';
import { chmod, chown, makeFifos, NOT_REPLACED } from '../programs/system.ts';

const ROOT = { uid: 0, gid: 0 };
const owner = (uid: number): Access => ({ mode: 0o600, uid, gid: uid });

/** Names in the run directory, beside those of the layout. */
export const RUN_FILES = {
  sandbox: 'sandbox.args',
  firmware: 'firmware.rom',
  monitor: 'mon.in',
  sockets: 'sock',
  beside: 'beside.sh',
} as const;

/** A file with a secret in it, for the VM's process alone. */
export interface SecretFile {
  readonly path: string;
  readonly text: string;
  readonly ref: SecretRef;
}

export interface RunDirArgs {
  readonly vm: string;
  readonly uid: number;
  readonly paths: { readonly run: string; readonly config: string; readonly conIn: string; readonly conOut: string };
  /** File on the host that becomes the boot ROM. */
  readonly rom: string;
  /** What the sandbox has besides QEMU. */
  readonly binds: readonly Bind[];
  readonly secrets: readonly SecretFile[];
  /** Script that starts what QEMU needs beside it. */
  readonly beside?: string;
}

/** All but the FIFOs: safe to make again at any time. */
const directory = ({ vm, uid, paths, rom, binds, secrets, beside }: RunDirArgs): Effect[] => {
  const write = (name: string, text: string, mode: number): Effect => ({
    do: 'write',
    path: `${paths.run}/${name}`,
    text,
    access: { mode, ...ROOT },
  });
  return [
    { do: 'mkdir', path: paths.run, access: { mode: 0o700, ...ROOT } },
    { do: 'mkdir', path: paths.config, access: { mode: 0o755, ...ROOT } },
    { do: 'copy', from: rom, to: `${paths.config}/${RUN_FILES.firmware}`, access: { mode: 0o444, ...ROOT } },
    write(RUN_FILES.sandbox, renderVmArgs(vm, binds), 0o600),
    ...secrets.map(({ path, text, ref }): Effect => ({
      ...{ do: 'write', path, text, access: owner(uid), secrets: [ref] },
    })),
    ...(beside === undefined ? [] : [write(RUN_FILES.beside, beside, 0o500)]),
  ];
};

const CONSOLE = ['con.in', 'con.out'];

/**
 * The run directory: firmware, console and monitor FIFOs, and what the sandbox shows; nobody but root enters it.
 * Undo:  removed with everything in it.
 */
export const runDir: StepDef<RunDirArgs, Seen> = {
  because: ({ vm }) => `${vm} needs a private copy of its firmware, a console and the description of its sandbox`,
  apply: (args) => {
    const { uid, paths } = args;
    const monitor = `${paths.config}/${RUN_FILES.monitor}`;
    const fifos = [paths.conIn, paths.conOut, monitor];
    return [
      ...directory(args),
      ...fifos.map((path): Effect => ({ do: 'remove', path })),
      run(makeFifos(fifos)),
      // The console's ends are opened for QEMU; the monitor it opens itself.
      run(chown(monitor, uid)),
    ];
  },
  undo: ({ paths }) => [{ do: 'remove', path: paths.run }],
  holds: ({ vm }, seen) => {
    if (!seen.runDirs.has(vm)) return 'no';
    const files = seen.focus?.runFiles;
    return !files || ['vm', ...CONSOLE, RUN_FILES.sandbox].every((name) => files.has(name)) ? 'yes' : 'partly';
  },
  // The guest's next reset reads all of it again.
  repair: (args, seen) => {
    const missing = CONSOLE.filter((name) => !seen.focus?.runFiles.has(name)).map(
      (name) => `${args.paths.run}/${name}`,
    );
    return [...directory(args), ...(missing.length === 0 ? [] : [run(makeFifos(missing))])];
  },
};

export interface DiskDirArgs {
  readonly vm: string;
  /** Console history is kept here. */
  readonly state: string;
  readonly path: string;
}

/** What outlives a run: console history, and the files that QEMU writes to. The directories are root's; the sandbox shows the files alone. */
export const diskDir: StepDef<DiskDirArgs, Seen> = {
  keeps: true,
  because: ({ vm }) => `${vm} keeps its console history and files that its QEMU writes to`,
  apply: ({ state, path }) => [
    { do: 'mkdir', path: state, access: { mode: 0o700, ...ROOT } },
    { do: 'mkdir', path, access: { mode: 0o711, ...ROOT } },
  ],
  undo: ({ state }) => [{ do: 'remove', path: state }],
  holds: (_, seen) => (!seen.focus || seen.focus.diskFiles ? 'yes' : 'no'),
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

/** Made beside and moved: a half-made overlay is never taken for a disk. */
const overlay = ({ path, bytes, uid }: FileDiskArgs, from: string): Effect[] => [
  { do: 'remove', path: `${path}.new` },
  run(createOverlay(from, `${path}.new`, bytes)),
  run(chmod(`${path}.new`, '0600')),
  run(chown(`${path}.new`, uid)),
  run(command('/usr/bin/mv', ['-n', `${path}.new`, path])),
];

/** A disk as a sparse file, or as an overlay over one. An existing file is kept: it is data. */
export const fileDisk: StepDef<FileDiskArgs, Seen> = {
  keeps: true,
  because: ({ vm, name, from }) =>
    `${name} of ${vm} is a file${from === undefined ? '' : ` that holds what differs from ${from}`}`,
  apply: (args) =>
    args.from === undefined
      ? [{ do: 'allocate', path: args.path, bytes: args.bytes, access: owner(args.uid) }]
      : overlay(args, args.from),
  undo: ({ path }) => [
    { do: 'remove', path: `${path}.new` },
    { do: 'remove', path },
  ],
  holds: ({ name }, seen) => (!seen.focus || seen.focus.diskFiles?.has(name) ? 'yes' : 'no'),
  repair: () => DATA_GONE,
};

/** A larger overlay; done twice it is the same. */
export const overlayGrow: StepDef<FileDiskArgs & { readonly from: string }, Seen> = {
  keeps: true,
  because: ({ vm, name }) => `${name} of ${vm} becomes larger`,
  apply: ({ path, from, bytes }) => [run(growOverlay({ path, base: from }, bytes))],
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};

/** A disk of its own instead of an overlay; done twice it is the same. */
export const overlayFlatten: StepDef<FileDiskArgs & { readonly from: string; readonly raw: string }, Seen> = {
  keeps: true,
  because: ({ vm, from }) => `${vm} takes over what it shares with ${from}`,
  apply: ({ path, from, raw, uid }) => [
    { do: 'remove', path: `${raw}.new` },
    { do: 'allocate', path: `${raw}.new`, bytes: 0, access: owner(uid) },
    run(flatten({ path, base: from }, `${raw}.new`), { tolerate: [noOverlay({ path })] }),
    run(command('/usr/bin/mv', ['-n', `${raw}.new`, raw]), { tolerate: [NOT_REPLACED] }),
    { do: 'remove', path: `${raw}.new` },
    { do: 'remove', path },
  ],
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};
