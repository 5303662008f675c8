import type { Command, FileStat, Host } from '../base/host.ts';
import { command } from '../platform/command.ts';
import type { Finding } from '../platform/platform.ts';
import type { Features } from './node.ts';
import { CONTROLLERS, type Controller, type ControllerName, type Devices } from './node.ts';
import { findController, unifiedRoot } from './programs/cgroup.ts';
import { mountOf, parseMountinfo } from './programs/mounts.ts';
import { listDevices, parseDevices, probePasswords, QEMU } from './programs/qemu.ts';
import { chmod, parseCpuList, parseMemory } from './programs/system.ts';

export type Accel = 'auto' | 'tcg' | 'kvm';

const KVM = '/dev/kvm';
const TUN = '/dev/net/tun';

/** Each program that brig starts, and the Debian package that has it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  [QEMU]: 'qemu-system-x86',
  '/usr/bin/bwrap': 'bubblewrap',
  '/usr/sbin/ip': 'iproute2',
  '/usr/bin/ps': 'procps',
  '/usr/bin/pgrep': 'procps',
  '/usr/bin/pkill': 'procps',
  '/usr/bin/nsenter': 'util-linux',
  '/usr/bin/setpriv': 'util-linux',
  '/usr/bin/prlimit': 'util-linux',
  '/usr/bin/taskset': 'util-linux',
};

const ok = (what: string, got: string): Finding => ({ level: 'ok', what, got });

/** Boots the test guest for as long as it takes to say that it is up and to power off again. Units: milliseconds. */
const PROBE_MS = 1000;

const probeGuest = (rom: string): Command =>
  command(
    QEMU,
    [
      ...[
        '-nodefaults',
        '-no-user-config',
        '-display',
        'none',
        '-machine',
        'q35,smm=off,usb=off,vmport=off',
        '-accel',
        'kvm',
        '-cpu',
        'max',
      ],
      ...['-m', '16M', '-bios', rom, '-no-reboot', '-chardev', 'stdio,id=com1,signal=off', '-serial', 'chardev:com1'],
    ],
    { stdin: 'q', timeoutMs: PROBE_MS },
  );

/** The uid of a VM is in no group of the host's, so it gets the one that may open /dev/kvm. */
const kvmGroupOf = ({ gid, mode }: FileStat): number | undefined =>
  gid !== 0 && (mode & 0o060) === 0o060 ? gid : undefined;

/** Why a guest cannot run under KVM here: on some hosts /dev/kvm is there and guests hang. */
const findKvmTrouble = async (host: Host, rom: string): Promise<string | undefined> => {
  const stat = await host.stat(KVM);
  if (stat?.kind !== 'device') return `no ${KVM}`;
  if ((stat.mode & 0o006) !== 0o006 && kvmGroupOf(stat) === undefined)
    return `${KVM} is closed to all but root (mode ${stat.mode.toString(8)})`;
  if (!(await host.stat(QEMU))) return `no ${QEMU}`;
  const { status, stdout, timedOut } = await host.run(probeGuest(rom));
  const boots = status === 0 && !timedOut && stdout.includes('GUEST UP');
  return boots ? undefined : `the test guest did not come and go within ${PROBE_MS / 1000} s under KVM`;
};

const chooseAccel = async (
  host: Host,
  wanted: Accel,
  rom: string,
): Promise<Pick<Features, 'accel' | 'kvmGroup' | 'kvmTrouble'>> => {
  if (wanted === 'tcg') return { accel: 'tcg' };
  const kvmTrouble = await findKvmTrouble(host, rom);
  if (kvmTrouble !== undefined) return { accel: wanted === 'kvm' ? 'kvm' : 'tcg', kvmTrouble };
  const stat = await host.stat(KVM);
  const kvmGroup = stat && kvmGroupOf(stat);
  return { accel: 'kvm', ...(kvmGroup === undefined ? {} : { kvmGroup }) };
};

/** What this host can do: asked, never told from a version. */
export const probeFeatures = async (host: Host, accel: Accel, rom: string): Promise<Features> => {
  const mounts = (await host.readFile('/proc/mounts')) ?? '';
  const unified = unifiedRoot(mounts);
  const handedDown = unified === undefined ? '' : ((await host.readFile(`${unified}/cgroup.subtree_control`)) ?? '');
  const controllers = await Promise.all(
    CONTROLLERS.map(async (name) => [name, await completeController(host, name, mounts, handedDown)] as const),
  );
  return {
    ...(await chooseAccel(host, accel, rom)),
    ...Object.fromEntries(controllers.filter(([, controller]) => controller)),
    locksMemory: await probeLocking(host),
    readsPasswords: Boolean(await host.stat(QEMU)) && (await host.run(probePasswords())).status === 0,
    models: (await host.stat(QEMU)) ? parseDevices((await host.run(listDevices())).stdout) : new Set(),
    cpus: parseCpuList((await host.readFile('/sys/devices/system/cpu/online')) ?? '').count,
    memoryBytes: parseMemory((await host.readFile('/proc/meminfo')) ?? '', 'MemTotal') ?? Number.MAX_SAFE_INTEGER,
  };
};

/** Bit of a limit that is raised above the hard one. Source: capability.h */
const CAP_SYS_RESOURCE = 24n;

/** In a container, root may be without it. */
const probeLocking = async (host: Host): Promise<boolean> => {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec((await host.readFile('/proc/self/status')) ?? '')?.[1] ?? '0';
  const limits = (await host.readFile('/proc/self/limits')) ?? '';
  return (
    ((BigInt(`0x${effective}`) >> CAP_SYS_RESOURCE) & 1n) === 1n || /^Max locked memory +\S+ +unlimited/m.test(limits)
  );
};

const completeController = async (
  host: Host,
  name: ControllerName,
  mounts: string,
  handedDown: string,
): Promise<Controller | undefined> => {
  const found = findController(name, mounts, handedDown);
  if (!found || name !== 'cpuset') return found;
  const memoryNodes = (await host.readFile(`${found.root}/cpuset.mems`))?.trim();
  return memoryNodes ? { ...found, memoryNodes } : found;
};

/** A partition's disk, which alone can be limited; a file system of major 0 has none. */
const wholeDisk = async (host: Host, device: string): Promise<string | undefined> => {
  if (device.startsWith('0:')) return undefined;
  const sys = `/sys/dev/block/${device}`;
  const parent = (await host.stat(`${sys}/partition`)) ? await host.readFile(`${sys}/../dev`) : device;
  return parent?.trim();
};

/** Which block devices the node's file systems are on. */
export const probeDevices = async (host: Host): Promise<Devices> => {
  const mounts = parseMountinfo((await host.readFile('/proc/self/mountinfo')) ?? '');
  const disks = await Promise.all(
    [...new Set(mounts.map(({ device }) => device))].map(async (each) => [each, await wholeDisk(host, each)] as const),
  );
  const byDevice = new Map(disks);
  return { find: (path) => byDevice.get(mountOf(mounts, path)?.device ?? '') };
};

/** The tun node as udev makes it: the kernel lets a uid open nothing but its own taps. Source: udev's 50-udev-default.rules. */
export const prepareTun = async (host: Host): Promise<void> => {
  const stat = await host.stat(TUN);
  if (stat?.kind === 'device' && (stat.mode & 0o666) !== 0o666) await host.run(chmod(TUN, '0666'));
};

const checkPrograms = async (host: Host): Promise<Finding> => {
  const found = await Promise.all(
    Object.entries(PROGRAMS).map(async ([path, name]) => ((await host.stat(path)) ? [] : [{ path, name }])),
  );
  const missing = found.flat();
  if (missing.length === 0) return ok('programs', 'all there');
  const packages = [...new Set(missing.map(({ name }) => name))].join(' ');
  return {
    level: 'problem',
    what: 'programs',
    got: `missing ${missing.map(({ path }) => path).join(' ')}`,
    mend: `apt-get install ${packages}`,
  };
};

const checkRoot = async (host: Host): Promise<Finding> => {
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec((await host.readFile('/proc/self/status')) ?? '')?.[1];
  return uid === '0'
    ? ok('root', 'brigd is root')
    : { level: 'problem', what: 'brigd as root', got: `uid ${uid ?? 'unknown'}`, mend: 'start brigd as root' };
};

const checkTun = async (host: Host): Promise<Finding> => {
  const stat = await host.stat(TUN);
  return stat?.kind === 'device'
    ? ok(TUN, 'there')
    : { level: 'problem', what: TUN, got: stat ? `a ${stat.kind}` : 'nothing there', mend: 'modprobe tun' };
};

const checkAccel = ({ accel, kvmTrouble }: Features): Finding => {
  if (kvmTrouble === undefined) return ok('acceleration', accel === 'kvm' ? 'kvm' : 'tcg, as configured');
  return accel === 'kvm'
    ? { level: 'problem', what: 'KVM, as configured', got: kvmTrouble, mend: 'set accel: auto in brig.yaml' }
    : {
        level: 'warning',
        what: 'acceleration',
        got: `tcg, which is slow: ${kvmTrouble}`,
        mend: `chgrp kvm ${KVM} && chmod 660 ${KVM}, where KVM works`,
      };
};

/** What is done without a controller; nothing: a document that asks for it is refused. */
const INSTEAD: Partial<Record<ControllerName, string>> = {
  pids: 'the uid is bounded by prlimit(1) instead',
  cpuset: 'taskset(1) is used instead',
};

const checkController = (name: ControllerName, { [name]: controller }: Features): Finding =>
  controller
    ? ok(`${name} limits`, `cgroup version ${controller.version} at ${controller.root}`)
    : {
        level: 'warning',
        what: `${name} limits`,
        got: `no cgroup controller ${name}: ${INSTEAD[name] ?? 'VMs that ask for it are refused'}`,
        mend: `echo +${name} > /sys/fs/cgroup/cgroup.subtree_control`,
      };

/** The host's fitness: what a start would miss, and what weakens it. */
export const checkHost = async (host: Host, features: Features): Promise<Finding[]> => [
  await checkRoot(host),
  await checkPrograms(host),
  await checkTun(host),
  checkAccel(features),
  ...CONTROLLERS.map((name) => checkController(name, features)),
];
