/** Files of the base system that somebody asks for, with sizes in bytes of about the real ones. */
const KIB = 1024;

/** What bhyve and the programs around it are linked with: 20 libraries (FACTS S.1). unrecorded: which ones exactly */
export const LIBRARIES: readonly string[] = [
  '/lib/lib9p.so.1',
  '/lib/libbsdxml.so.4',
  '/lib/libc.so.7',
  '/lib/libcam.so.8',
  '/lib/libcasper.so.1',
  '/lib/libcrypto.so.35',
  '/lib/libedit.so.8',
  '/lib/libm.so.5',
  '/lib/libmd.so.7',
  '/lib/libnetgraph.so.5',
  '/lib/libnv.so.1',
  '/lib/libsbuf.so.6',
  '/lib/libsys.so.7',
  '/lib/libthr.so.3',
  '/lib/libtinfow.so.9',
  '/lib/libutil.so.10',
  '/lib/libz.so.6',
  '/usr/lib/libblocksruntime.so.0',
  '/usr/lib/libuvmem.so.1',
  '/usr/lib/libvmmapi.so.6',
];

/** Programs that ldd(1) knows, with the libraries of each. */
export const LINKED: Readonly<Record<string, readonly string[]>> = {
  '/bin/sh': ['/lib/libedit.so.8', '/lib/libtinfow.so.9', '/lib/libc.so.7', '/lib/libsys.so.7'],
  '/usr/sbin/bhyve': LIBRARIES.filter((path) => !/edit|tinfow/.test(path)),
  '/usr/sbin/iasl': ['/lib/libm.so.5', '/lib/libc.so.7', '/lib/libsys.so.7'],
  '/usr/sbin/chroot': ['/lib/libc.so.7', '/lib/libsys.so.7'],
  // unrecorded: a port, with libraries of its own
  '/usr/local/bin/swtpm': ['/lib/libcrypto.so.35', '/lib/libc.so.7', '/lib/libsys.so.7'],
};

const PROGRAMS: readonly string[] = [
  '/bin/freebsd-version',
  '/bin/kill',
  '/bin/ps',
  '/bin/sh',
  '/bin/test',
  '/sbin/devfs',
  '/sbin/ifconfig',
  '/sbin/kldload',
  '/sbin/kldstat',
  '/sbin/mount',
  '/sbin/pfctl',
  '/sbin/swapctl',
  '/sbin/sysctl',
  '/sbin/umount',
  '/sbin/zfs',
  '/sbin/zpool',
  '/usr/bin/cpuset',
  '/usr/bin/getent',
  '/usr/bin/ldd',
  '/usr/bin/env',
  '/usr/bin/mkfifo',
  '/usr/bin/procstat',
  '/usr/bin/rctl',
  '/usr/bin/uname',
  '/usr/sbin/bhyve',
  '/usr/sbin/bhyvectl',
  '/usr/sbin/chroot',
  '/usr/sbin/iasl',
  '/usr/sbin/jail',
  '/usr/sbin/jexec',
  '/usr/sbin/jls',
  '/usr/sbin/makefs',
  '/usr/sbin/service',
  '/libexec/ld-elf.so.1',
];

/** What every program begins with: an ELF file of 64 bits for amd64, of FreeBSD. Source: elf(5) */
export const ELF_HEADER: readonly number[] = [
  ...[0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0],
  ...[2, 0, 62, 0],
];

export const DIRECTORIES: readonly string[] = [
  '/dev',
  '/etc',
  '/mnt',
  '/root',
  '/tmp',
  '/var/db',
  '/var/log',
  '/var/run',
];

/** Path and size of every file of the base system. */
export const BASE_FILES: readonly (readonly [string, number])[] = [...PROGRAMS, ...LIBRARIES].map((path) => [
  path,
  path.includes('crypto') ? 4_800 * KIB : path.includes('libc.so') ? 1_900 * KIB : 160 * KIB,
]);

/** What a tarfs image that `pack` did not make shows: the root of FACTS S.1. */
export const ROOT_DIRECTORIES: readonly string[] = ['/dev', '/disk', '/fw', '/tmp', '/vm'];
export const ROOT_FILES: readonly string[] = [
  '/bin/sh',
  '/libexec/ld-elf.so.1',
  '/usr/sbin/bhyve',
  '/usr/sbin/chroot',
  '/usr/sbin/iasl',
  ...LIBRARIES,
];

/** Devices that are there after every boot: name, mode, uid, gid. Recorded where the recordings list them. */
export const DEVICES: readonly (readonly [string, number, number, number])[] = [
  ['console', 0o600, 0, 0],
  ['devctl', 0o600, 0, 0],
  ['fd/0', 0o666, 0, 0],
  ['fd/1', 0o666, 0, 0],
  ['fd/2', 0o666, 0, 0],
  ['io', 0o600, 0, 0],
  ['kmem', 0o640, 0, 2],
  ['mem', 0o640, 0, 2],
  ['null', 0o666, 0, 0],
  ['pci', 0o644, 0, 0],
  ['random', 0o644, 0, 0],
  ['tap', 0o600, 66, 68],
  ['ufs/lab', 0o640, 0, 5],
  ['urandom', 0o644, 0, 0],
  ['zero', 0o666, 0, 0],
  ['zfs', 0o666, 0, 5],
];

/** Values after a boot; `mode` r may not be set. Recorded: those of errors-and-timings and storage. */
export const SYSCTLS: readonly (readonly [string, string])[] = [
  ['hw.machine_arch', 'amd64'],
  ['kern.osrelease', '15.1-STABLE'],
  ['kern.ostype', 'FreeBSD'],
  ['kern.racct.enable', '1'],
  ['kern.securelevel', '-1'],
  ['kern.smp.threads_per_core', '1'],
  ['net.inet.ip.forwarding', '0'],
  ['net.inet6.ip6.forwarding', '0'],
  ['net.link.bridge.member_ifaddrs', '1'],
  ['net.link.bridge.pfil_bridge', '0'],
  // unrecorded; FACTS 5.3
  ['net.link.bridge.pfil_local_phys', '0'],
  ['net.link.bridge.pfil_member', '0'],
  ['net.link.bridge.pfil_onlyip', '1'],
  ['net.link.tap.devfs_cloning', '1'],
  ['net.link.tap.up_on_open', '0'],
  ['net.link.tap.user_open', '0'],
  ['security.bsd.see_other_gids', '1'],
  ['security.bsd.see_other_uids', '1'],
  ['security.bsd.unprivileged_proc_debug', '1'],
  ['security.bsd.unprivileged_read_msgbuf', '1'],
  ['vfs.devfs.rule_depth', '1'],
  ['vfs.zfs.bclone_enabled', '1'],
];

/** Users that the host knows by name. Source: the base system's master.passwd. */
export const USERS: ReadonlyMap<number, string> = new Map([
  [0, 'root'],
  [1, 'daemon'],
  [2, 'operator'],
  [65_534, 'nobody'],
]);

export const GROUPS: ReadonlyMap<number, string> = new Map([
  [0, 'wheel'],
  [4, 'tty'],
  [5, 'operator'],
  [68, 'dialer'],
]);

/** passwd(5) of a fresh host, as far as somebody asks. */
export const PASSWD = [...USERS].map(([uid, name]) => `${name}:*:${uid}:${uid}::/:/usr/sbin/nologin\n`).join('');
