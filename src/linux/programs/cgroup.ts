import type { Controller } from '../node.ts';

interface Mounted {
  readonly type: string;
  readonly at: string;
  readonly options: readonly string[];
}

const parseMounts = (text: string): Mounted[] =>
  text.split('\n').flatMap((line) => {
    const [, at, type, options] = line.split(' ');
    return at && type?.startsWith('cgroup') && options ? [{ at, type, options: options.split(',') }] : [];
  });

/** Mount point of version 2, from /proc/mounts. */
export const unifiedRoot = (mounts: string): string | undefined =>
  parseMounts(mounts).find((each) => each.type === 'cgroup2')?.at;

/**
 * Where a controller can be used: version 2 when its root hands the controller down, else version 1.
 * `handedDown` is the text of the version 2 root's cgroup.subtree_control. Source: cgroups(7)
 */
export const findController = (name: 'memory' | 'cpu', mounts: string, handedDown: string): Controller | undefined => {
  const unified = unifiedRoot(mounts);
  if (unified !== undefined && handedDown.trim().split(/\s+/).includes(name)) return { version: 2, root: unified };
  const old = parseMounts(mounts).find((each) => each.type === 'cgroup' && each.options.includes(name));
  return old && { version: 1, root: old.at };
};

/** A file of a cgroup and what is written into it. */
export type Setting = readonly [file: string, value: string];

/** Units: bytes. */
export const memoryLimit = (bytes: number, { version }: Controller): Setting => [
  version === 2 ? 'memory.max' : 'memory.limit_in_bytes',
  String(bytes),
];

/** Units: percent of one CPU, of a period of 100 ms. */
export const cpuLimit = (percent: number, { version }: Controller): Setting =>
  version === 2 ? ['cpu.max', `${percent * 1000} 100000`] : ['cpu.cfs_quota_us', String(percent * 1000)];
