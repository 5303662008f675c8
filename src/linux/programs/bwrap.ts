export const BWRAP = '/usr/bin/bwrap';
export const SETPRIV = '/usr/bin/setpriv';
export const NSENTER = '/usr/bin/nsenter';
export const PRLIMIT = '/usr/bin/prlimit';
export const TASKSET = '/usr/bin/taskset';

/** A file or device of the host at a path of the sandbox. */
export interface Bind {
  readonly how: 'ro-bind' | 'bind' | 'dev-bind';
  readonly from: string;
  readonly at: string;
}

export const readOnly = (from: string, at = from): Bind => ({ how: 'ro-bind', from, at });
export const writable = (from: string, at: string): Bind => ({ how: 'bind', from, at });
export const device = (from: string, at = from): Bind => ({ how: 'dev-bind', from, at });

const parentsOf = (path: string): string[] =>
  path
    .split('/')
    .slice(1, -1)
    .map((_, i, parts) => `/${parts.slice(0, i + 1).join('/')}`);

/**
 * Arguments for exactly these files. Directories are made first and by name: those that bwrap makes for a file
 * are closed to everybody but root (seen: drwx------ /usr with 0.8.0).
 */
const bindArgs = (binds: readonly Bind[]): string[] => {
  const directories = [...new Set(binds.flatMap(({ at }) => parentsOf(at)))].sort();
  return [
    ...directories.flatMap((path) => ['--dir', path]),
    ...binds.flatMap(({ how, from, at }) => [`--${how}`, from, at]),
  ];
};

/** Text of a file for `bwrap --args`. */
const renderArgs = (args: readonly string[]): string => args.map((arg) => `${arg}\0`).join('');

/** What every sandbox begins with. */
const WALLS: readonly string[] = [
  // Its own mounts, always; no user namespace: root of the host drops what it has instead.
  ...['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup'],
  // The supervisor's death kills bwrap, that kills process 1 of the sandbox, that kills all in there. Process 1 is
  // bwrap's own (no --as-pid-1): bwrap has no right to kill QEMU, which has another uid (seen: QEMU lived on).
  ...['--die-with-parent', '--new-session', '--clearenv', '--chdir', '/'],
  ...['--cap-drop', 'ALL', '--cap-add', 'CAP_SETUID', '--cap-add', 'CAP_SETGID', '--cap-add', 'CAP_SETPCAP'],
];

/** The same for every VM: namespaces, capabilities, and the files of QEMU. */
export const renderCommonArgs = (binds: readonly Bind[]): string => renderArgs([...WALLS, ...bindArgs(binds)]);

/** One VM's own: its name and files. Read after the common ones; closes the root to writing. */
export const renderVmArgs = (hostname: string, binds: readonly Bind[]): string =>
  renderArgs(['--hostname', hostname, ...bindArgs(binds), '--remount-ro', '/']);

export interface Confinement {
  readonly uid: number;
  /** Group besides uid's own: of /dev/kvm. */
  readonly group?: number;
  /** Path of the network namespace. */
  readonly netns: string;
  readonly rlimits: Rlimits;
  /** For taskset(1). */
  readonly cpuset?: string;
}

/** What the kernel keeps for each process, or for the uid. */
export interface Rlimits {
  /** Threads that the uid may have; no process of it may start another program anyway. */
  readonly tasks: number;
  readonly openFiles: number;
  /** Whether memory may be locked, all of it. */
  readonly lockedMemory?: boolean;
  /** Bytes of the largest file that may be written. */
  readonly fileBytes?: number;
}

/**
 * Bytes of a core: fewer than any has, and the one number that also stops a core which is piped to a program
 * (0 does not). Source: core(5), fs/coredump.c
 */
export const CORE_BYTES = 1;

const rlimitArgs = ({ tasks, openFiles, lockedMemory, fileBytes }: Rlimits): string[] => [
  PRLIMIT,
  ...[`--core=${CORE_BYTES}`, `--nproc=${tasks}`, `--nofile=${openFiles}`],
  `--memlock=${lockedMemory ? 'unlimited' : '0'}`,
  ...(fileBytes === undefined ? [] : [`--fsize=${fileBytes}`]),
];

/** From root to a uid without rights, in place. Source: setpriv(1) */
const become = (uid: number, group?: number): string[] => [
  ...[SETPRIV, '--reuid', String(uid), '--regid', String(uid)],
  ...(group === undefined ? ['--clear-groups'] : ['--groups', String(group)]),
  ...['--no-new-privs', '--bounding-set', '-all', '--inh-caps', '-all', '--ambient-caps', '-all', '--'],
];

/** Descriptors of the two files with arguments, opened by supervise.sh. */
const ARGS = ['--args', '8', '--args', '9'];

/**
 * The chain of programs that become QEMU, each in place of the one before; bwrap alone stays.
 * Shape:  prlimit -> taskset -> nsenter -> bwrap, in the sandbox: bwrap's init, its child setpriv -> QEMU
 */
export const confine = (how: Confinement, inner: readonly string[]): string[] => [
  ...rlimitArgs(how.rlimits),
  ...(how.cpuset === undefined ? [] : [TASKSET, '-c', how.cpuset]),
  ...[NSENTER, `--net=${how.netns}`, '--', BWRAP, ...ARGS, '--'],
  ...become(how.uid, how.group),
  ...inner,
];

/** The same for a program that serves QEMU: a sandbox of its own, without any network. */
export const confineServer = (
  uid: number,
  rlimits: Rlimits,
  binds: readonly Bind[],
  inner: readonly string[],
): string[] => [
  ...rlimitArgs(rlimits),
  ...[BWRAP, ...WALLS, '--unshare-net', ...bindArgs(binds), '--remount-ro', '/', '--'],
  ...become(uid),
  ...inner,
];
