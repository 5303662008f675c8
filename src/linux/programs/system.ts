import type { Command, Tolerance } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

export const makeFifos = (paths: readonly string[]): Command => command('/usr/bin/mkfifo', ['-m', '0600', ...paths]);

export const chown = (path: string, uid: number): Command => command('/usr/bin/chown', [`${uid}:${uid}`, path]);

export const chmod = (path: string, mode: string): Command => command('/usr/bin/chmod', [mode, path]);

export const removeDirectory = (path: string): Command => command('/usr/bin/rmdir', [path]);
/** Text of rmdir(2). */
export const NO_DIRECTORY: Tolerance = { status: 1, stderr: 'No such file or directory' };
/** A cgroup whose last process is not quite gone: passes in a moment. */
export const DIRECTORY_BUSY: Tolerance = { status: 1, stderr: 'Device or resource busy' };

/** The hardware's name, such as x86_64. Source: uname(1) */
export const readMachine = (): Command => command('/usr/bin/uname', ['-m']);

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

/** uids of /etc/passwd. */
export const parsePasswd = (text: string): ReadonlyMap<number, string> =>
  new Map(
    text.split('\n').flatMap((line) => {
      const [name, , uid] = line.split(':');
      return name && uid ? [[Number(uid), name] as const] : [];
    }),
  );
