import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

const PROGRAM = '/usr/bin/procstat';
const about = (words: readonly string[], pids: readonly number[]): Command =>
  command(PROGRAM, [...words, ...pids.map(String)]);

/** Credentials of several processes, as JSON. Source: procstat(1) "credentials", recorded. */
export const showCredentials = (pids: readonly number[]): Command => about(['--libxo=json', 'cred'], pids);

/** Open descriptors with their Capsicum rights; as text, which is recorded. Source: procstat(1) "files", -C. */
export const showDescriptors = (pids: readonly number[]): Command => about(['fds', '-C'], pids);

/** Environment variables on one line. Source: procstat(1) "environment". */
export const showEnvironment = (pids: readonly number[]): Command => about(['environment'], pids);

/** Soft and hard limits. Source: procstat(1) "rlimit". */
export const showLimits = (pids: readonly number[]): Command => about(['rlimit'], pids);

export interface Credentials {
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: readonly number[];
  /** The process is in capability mode. */
  readonly capsicum: boolean;
}

interface CredRow {
  process_id: number;
  uid: number;
  ruid: number;
  svuid: number;
  group: number;
  rgid: number;
  svgid: number;
  cr_flags: string;
  groups: number[];
}

/** Parses `procstat --libxo=json cred`: rows by pid. */
export const parseCredentials = (text: string): ReadonlyMap<number, Credentials> => {
  const rows = (JSON.parse(text) as { procstat?: { credentials?: Record<string, CredRow> } }).procstat?.credentials;
  return new Map(
    Object.values(rows ?? {}).map((row) => [
      row.process_id,
      {
        uids: [row.uid, row.ruid, row.svuid],
        gids: [row.group, row.rgid, row.svgid],
        groups: row.groups,
        capsicum: row.cr_flags.includes('C'),
      },
    ]),
  );
};

export interface Descriptor {
  /** A number, or `text`, `cwd`, `root`, `jail`. */
  readonly fd: string;
  /** `v` vnode, `f` FIFO, `k` kqueue, `p` pipe, `s` socket. */
  readonly type: string;
  readonly rights: readonly string[];
  /** `-` where the kernel does not know. */
  readonly path: string;
}

/** Groups lines by the pid that they begin with; headers are passed over. */
const byPid = <T>(text: string, parse: (line: string) => T | undefined): ReadonlyMap<number, T[]> => {
  const found = new Map<number, T[]>();
  for (const line of text.split('\n')) {
    const pid = /^ *(\d+) /.exec(line)?.[1];
    const row = pid === undefined ? undefined : parse(line);
    if (pid === undefined || row === undefined) continue;
    const rows = found.get(Number(pid)) ?? [];
    rows.push(row);
    found.set(Number(pid), rows);
  }
  return found;
};

/** Parses `procstat fds -C`: PID COMM FD T FLAGS CAPABILITIES PRO NAME. */
export const parseDescriptors = (text: string): ReadonlyMap<number, Descriptor[]> =>
  byPid(text, (line) => {
    const match = /^ *\d+ \S+ +(\S+) (\S) \S+ +(\S+) +(\S+) +(.*?) *$/.exec(line);
    if (!match) return undefined;
    const [, fd = '', type = '', rights = '', , path = ''] = match;
    return { fd, type, rights: rights === '-' ? [] : rights.split(','), path };
  });

/** Parses `procstat environment`: words after the command; values with blanks come apart. */
export const parseEnvironment = (text: string): ReadonlyMap<number, string[]> => {
  const lines = byPid(text, (line) => /^ *\d+ \S+ +(.*?) *$/.exec(line)?.[1]);
  return new Map([...lines].map(([pid, [words = '']]) => [pid, words === '-' ? [] : words.split(' ').filter(Boolean)]));
};

/** Parses `procstat rlimit`: hard limits by name, as it prints them (`8`, `infinity`, `0 B`). */
export const parseLimits = (text: string): ReadonlyMap<number, ReadonlyMap<string, string>> => {
  const rows = byPid(text, (line) => {
    const match = /^ *\d+ \S+ +(\S+) +(\S+(?: [KMGTPE]?B)?) +(\S+(?: [KMGTPE]?B)?) *$/.exec(line);
    return match ? ([match[1] ?? '', match[3] ?? ''] as const) : undefined;
  });
  return new Map([...rows].map(([pid, pairs]) => [pid, new Map(pairs)]));
};
