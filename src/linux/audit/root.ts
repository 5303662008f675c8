import { property, type Property } from '../../platform/audit.ts';
import { mountOf, type Mount } from '../programs/mounts.ts';
import { parseUnix } from '../programs/proc.ts';
import { INSIDE } from '../programs/qemu.ts';
import { sameSet, type Expected } from './compare.ts';
import type { Entry, Facts } from './facts.ts';

const parentsOf = (path: string): string[] =>
  path
    .split('/')
    .slice(1, -1)
    .map((_, i, names) => `/${names.slice(0, i + 1).join('/')}`);

/** Directories of the host that the document shares: what is in them is not brig's to know. */
export const opaqueOf = ({ vm }: Expected): ReadonlySet<string> =>
  new Set(vm.spec.devices['virtio-9p'].map(({ name }) => INSIDE.share(name)));

const socketsOf = ({ parts }: Expected): string[] =>
  parts.flatMap(({ socket }) => (socket === undefined ? [] : [`${INSIDE.sockets}/${socket}`]));

const pathsOf = (expected: Expected): string[] => {
  const at = expected.binds.map((bind) => bind.at);
  return [...new Set([...at.flatMap(parentsOf), ...at, ...socketsOf(expected)])];
};

/** Numbers of device nodes never change. Source: Documentation/admin-guide/devices.txt of Linux, miscdevice.h, kvm.h */
const NUMBERS: Readonly<Record<string, string>> = {
  '/dev/null': '1:3',
  '/dev/zero': '1:5',
  '/dev/random': '1:8',
  '/dev/urandom': '1:9',
  '/dev/net/tun': '10:200',
  '/dev/kvm': '10:232',
};

/** Owner and mode on the host: everybody's, but for KVM's. */
const accessOf = (path: string, { node }: Expected): string => {
  const { kvmGroup } = node.features;
  return path === '/dev/kvm' && kvmGroup !== undefined ? `0:${kvmGroup} 660` : '0:0 666';
};

const nodesOf = (expected: Expected): string[] =>
  expected.binds.flatMap(({ how, from, at }) =>
    how === 'dev-bind' ? [`${at} ${NUMBERS[from] ?? 'unknown'} ${accessOf(from, expected)}`] : [],
  );

const writableOf = ({ binds }: Expected): string[] => binds.flatMap(({ how, at }) => (how === 'ro-bind' ? [] : [at]));

export const sourcesOf = ({ binds }: Expected): string[] => binds.map(({ from }) => from);

/** What a path of the host is, as a mount of it says: a file system and a path in it. */
const sourceOf = (mounts: readonly Mount[], path: string): string => {
  const mount = mountOf(mounts, path);
  if (!mount) return 'unknown';
  const below = path.slice(mount.at === '/' ? 0 : mount.at.length);
  return `${mount.device} ${`${mount.root === '/' ? '' : mount.root}${below}` || '/'}`;
};

/** A file that was moved, or replaced by an upgrade, is another than the one at its path now. */
const sources = (expected: Expected, { mounts, hostMounts, real }: Facts): Property =>
  sameSet(
    'root.sources',
    'each is the file of the host that is at its path now',
    expected.binds.map(({ from, at }) => `${at} of ${sourceOf(hostMounts ?? [], real.get(from) ?? from)}`),
    hostMounts && mounts?.filter(({ at }) => at !== '/').map(({ at, device, root }) => `${at} of ${device} ${root}`),
    '/proc/PID/mountinfo, /proc/self/mountinfo',
  );

const render = (entries: readonly Entry[] | undefined, keep: (entry: Entry) => boolean): string[] | undefined =>
  entries?.filter(keep).map(({ path }) => path);

const rootProperties = (expected: Expected, facts: Facts): Property[] => {
  const { entries, mounts } = facts;
  const top = mounts?.findLast(({ at }) => at === '/');
  return [
    sameSet(
      'root.files',
      'sees exactly the files that it was given',
      pathsOf(expected),
      render(entries, () => true),
      '/proc/PID/root',
    ),
    sameSet(
      'root.mounts',
      'each of them by a mount of its own, without setuid',
      ['/', ...expected.binds.map(({ at }) => at)],
      mounts?.map(({ at, options }) => (options.includes('nosuid') ? at : `${at} with setuid`)),
      '/proc/PID/mountinfo',
    ),
    sources(expected, facts),
    property(
      'root.read-only',
      'its root cannot be written to',
      'read-only',
      top && (top.readOnly ? 'read-only' : 'writable'),
      '/proc/PID/mountinfo',
    ),
    sameSet(
      'root.writable',
      'can write to its disks, devices and sockets alone',
      writableOf(expected),
      mounts?.filter(({ at, readOnly }) => at !== '/' && !readOnly).map(({ at }) => at),
      '/proc/PID/mountinfo',
    ),
    sameSet(
      'root.setuid',
      'sees no setuid or setgid file',
      [],
      render(entries, ({ mode, kind }) => kind === 'file' && (mode & 0o6000) !== 0),
      '/proc/PID/root',
    ),
  ];
};

/** Kinds of descriptor that lead nowhere outside of QEMU. */
const ANONYMOUS =
  /^anon_inode:(\[(eventfd|eventpoll|signalfd|timerfd|io_uring)\]|kvm-(vm|vcpu(:\d+)?|vcpu-stats:\d+|vm-stats))$/;

/** A socket is one that listens in the sandbox, one of its connections, or QEMU's way to swtpm. */
const isOwnSocket = (expected: Expected, inode: string, unix: ReadonlyMap<string, string>): boolean => {
  const path = unix.get(inode);
  return path === undefined ? false : path === '' ? expected.vm.spec.devices.tpm : socketsOf(expected).includes(path);
};

const isPlanned = (expected: Expected, target: string, unix: ReadonlyMap<string, string>): boolean => {
  const { files, binds } = expected;
  const socket = /^socket:\[(\d+)\]$/.exec(target)?.[1];
  if (socket !== undefined) return isOwnSocket(expected, socket, unix);
  const shares = [...opaqueOf(expected)];
  return (
    ANONYMOUS.test(target) ||
    [files.conIn, files.conOut, `${files.run}/err.in`].includes(target) ||
    binds.some(({ at }) => at === target) ||
    shares.some((share) => target.startsWith(`${share}/`))
  );
};

const STDIO = ['con.in', 'con.out', 'err.in'];

const descriptors = (expected: Expected, { open, proc, pid }: Facts): Property[] => {
  const unix = parseUnix(proc.get(`/proc/${pid}/net/unix`) ?? '');
  const planned = STDIO.map((name, fd) => `${fd} ${expected.files.run}/${name}`);
  return [
    sameSet(
      'files.descriptors',
      'has nothing open but its console, its files and its own sockets',
      planned,
      open?.filter((each) => planned.includes(each) || !isPlanned(expected, each.split(/ (.*)/s)[1] ?? '', unix)),
      '/proc/PID/fd, /proc/PID/net/unix',
    ),
  ];
};

/** `nodes`: of stat(1), `path MAJOR:MINOR uid:gid mode`. */
export const rootAudit = (expected: Expected, facts: Facts, nodes: readonly string[] | undefined): Property[] => [
  ...rootProperties(expected, facts),
  sameSet(
    'dev.nodes',
    'sees exactly these device nodes, with these rights',
    nodesOf(expected),
    nodes,
    'stat /proc/PID/root',
  ),
  ...descriptors(expected, facts),
];
