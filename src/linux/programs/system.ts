import type { Command, Tolerance } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

export const makeFifos = (paths: readonly string[]): Command => command('/usr/bin/mkfifo', ['-m', '0600', ...paths]);

export const chown = (path: string, uid: number): Command => command('/usr/bin/chown', [`${uid}:${uid}`, path]);

export const chmod = (path: string, mode: string): Command => command('/usr/bin/chmod', [mode, path]);

export const removeDirectories = (paths: readonly string[]): Command => command('/usr/bin/rmdir', paths);
/** Text of rmdir(2). */
export const NO_DIRECTORY: Tolerance = { status: 1, stderr: 'No such file or directory' };
/** mv(1) -n of coreutils 9.2 and later, which calls a target that it leaves alone a failure: `mv: not replacing 'x'`. */
export const NOT_REPLACED: Tolerance = { status: 1, stderr: 'not replacing' };
/** A cgroup whose last process is not quite gone: passes in a moment. */
export const DIRECTORY_BUSY: Tolerance = { status: 1, stderr: 'Device or resource busy' };

/** The hardware's name, such as x86_64. Source: uname(1) */
export const readMachine = (): Command => command('/usr/bin/uname', ['-m']);
/** A file system in memory for a few sockets of this uid. */
export const mountSmall = (path: string, uid: number): Command =>
  command('/usr/bin/mount', [
    ...['-t', 'tmpfs', '-o', `size=64k,nr_inodes=64,mode=0700,uid=${uid},gid=${uid},nosuid,nodev,noexec`],
    ...['brig', path],
  ]);

export const unmount = (path: string): Command => command('/usr/bin/umount', [path]);
/** Seen: `umount: /x: not mounted.` and `umount: /x: no mount point specified.`, exit 32. */
export const NOT_MOUNTED: readonly Tolerance[] = [
  { status: 32, stderr: 'not mounted' },
  { status: 32, stderr: 'no mount point specified' },
];

/** Every library that the programs load, after a header per program. Source: ldd(1). */
export const listLibraries = (files: readonly string[]): Command => command('/usr/bin/ldd', files);

/** Parses ldd: `name => /path (0x..)` and `/path (0x..)`; headers and the vdso are passed over. */
export const parseLibraries = (text: string): string[] => {
  const found = [...text.matchAll(/(?:=> |^\s+)(\/\S+) \(0x[0-9a-f]+\)$/gm)].map((match) => match[1] ?? '');
  return [...new Set(found)].sort();
};

/** A line of /proc/meminfo. Units: bytes out. */
export const parseMemory = (meminfo: string, line: 'MemTotal' | 'MemAvailable'): number | undefined => {
  const kib = new RegExp(`^${line}: +(\\d+) kB$`, 'm').exec(meminfo)?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
};

/** How many CPUs a list such as `0-3,8` names, and the highest. Source: cpuset(7) "List format". */
export const parseCpuList = (text: string): { readonly count: number; readonly highest: number } => {
  const ranges = [...text.matchAll(/(\d+)(?:-(\d+))?/g)].map(
    (match) => [Number(match[1]), Number(match[2] ?? match[1])] as const,
  );
  return {
    count: ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0),
    highest: Math.max(-1, ...ranges.map(([, to]) => to)),
  };
};

/** A list as the kernel prints it: sorted, joined, each CPU once. */
export const renderCpuList = (text: string): string => {
  const cpus = new Set<number>();
  for (const [, from, to] of text.matchAll(/(\d+)(?:-(\d+))?/g))
    for (let cpu = Number(from); cpu <= Number(to ?? from); cpu += 1) cpus.add(cpu);
  const ranges: [number, number][] = [];
  for (const cpu of [...cpus].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.[1] === cpu - 1) last[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
};

/** Numbers, owner and mode of device nodes. Source: stat(1) of coreutils, numbers in hexadecimal */
export const statNodes = (paths: readonly string[]): Command =>
  command('/usr/bin/stat', ['--format', '%t:%T %u:%g %a %n', ...paths]);

/** Parses statNodes: path to `MAJOR:MINOR uid:gid mode`, in decimal. */
export const parseNodes = (text: string): ReadonlyMap<string, string> =>
  new Map(
    [...text.matchAll(/^([0-9a-f]+):([0-9a-f]+) (\d+:\d+ \d+) (.*)$/gm)].map(([, major, minor, rights, path]) => [
      path ?? '',
      `${parseInt(major ?? '', 16)}:${parseInt(minor ?? '', 16)} ${rights ?? ''}`,
    ]),
  );

/** uids of /etc/passwd. */
export const parsePasswd = (text: string): ReadonlyMap<number, string> =>
  new Map(
    text.split('\n').flatMap((line) => {
      const [name, , uid] = line.split(':');
      return name && uid ? [[Number(uid), name] as const] : [];
    }),
  );

/** Files of the kernel's that say whether the host forwards, IPv4 and IPv6. */
export const FORWARDING = ['/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding'] as const;
