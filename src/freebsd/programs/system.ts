import type { Command } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { command } from '../../platform/command.ts';

/** Values of the given names; unknown ones are left out. Source: sysctl(8) "-i". */
export const readSysctls = (names: readonly string[]): Command => command('/sbin/sysctl', ['-i', ...names]);

/** Exit 0 when a name exists: a feature probe that needs no version. Source: sysctl(8) "-d". */
export const describeSysctl = (name: string): Command => command('/sbin/sysctl', ['-d', name]);

export const setSysctls = (values: Readonly<Record<string, string>>): Command =>
  command(
    '/sbin/sysctl',
    Object.entries(values).map(([name, value]) => `${name}=${value}`),
  );

/** Parses `name: value` lines. */
export const parseSysctls = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split('\n').flatMap((line) => {
      const match = /^([a-z0-9_.]+): (.*)$/i.exec(line);
      return match ? [[match[1] ?? '', match[2] ?? ''] as const] : [];
    }),
  );

/** Loads what is not there yet; success when all are. Source: kldload(8) "-n". */
export const loadModules = (names: readonly string[]): Command => command('/sbin/kldload', ['-n', ...names]);

/** Restricts a jail to CPUs. Source: cpuset(1) "-l", "-j". */
export const setCpus = (cpus: string, jail: string): Command => command('/usr/bin/cpuset', ['-l', cpus, '-j', jail]);

export const makeFifos = (paths: readonly string[]): Command => command('/usr/bin/mkfifo', ['-m', '0600', ...paths]);

export const kill = (signal: 'TERM' | 'KILL', pids: readonly number[]): Command =>
  command('/bin/kill', [`-${signal}`, ...pids.map(String)]);

/** One path per line for every library of the programs. Source: ldd(1) "-f", `%p`. */
export const listLibraries = (programs: readonly string[]): Command =>
  command('/usr/bin/ldd', ['-f', '%p\\n', ...programs], { timeoutMs: LIMITS.baseBuildTimeoutMs });
