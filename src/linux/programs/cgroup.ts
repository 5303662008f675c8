import type { Controller, ControllerName } from '../node.ts';
import { renderCpuList } from './system.ts';

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
export const findController = (name: ControllerName, mounts: string, handedDown: string): Controller | undefined => {
  const unified = unifiedRoot(mounts);
  if (unified !== undefined && handedDown.trim().split(/\s+/).includes(name)) return { version: 2, root: unified };
  const oldName = name === 'io' ? 'blkio' : name;
  const old = parseMounts(mounts).find((each) => each.type === 'cgroup' && each.options.includes(oldName));
  return old && { version: 1, root: old.at };
};

/** The processes of a group, one a line; one that is written there joins it. */
export const membersOf = (dir: string): string => `${dir}/cgroup.procs`;

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

/** Processes and threads alike. */
export const taskLimit = (tasks: number): Setting => ['pids.max', String(tasks)];

/** `memoryNodes`: version 1 takes no process before it has been told them. Source: cpuset(7) */
export const cpusetLimit = (cpus: string, { version, memoryNodes }: Controller): Setting[] => [
  ...(version === 1 ? [['cpuset.mems', memoryNodes ?? '0'] as const] : []),
  ['cpuset.cpus', cpus],
];

export interface IoRates {
  readonly readBps?: number | undefined;
  readonly writeBps?: number | undefined;
  readonly readIops?: number | undefined;
  readonly writeIops?: number | undefined;
}

const IO_KEYS = {
  readBps: ['rbps', 'blkio.throttle.read_bps_device'],
  writeBps: ['wbps', 'blkio.throttle.write_bps_device'],
  readIops: ['riops', 'blkio.throttle.read_iops_device'],
  writeIops: ['wiops', 'blkio.throttle.write_iops_device'],
} as const;

/** `device` is MAJOR:MINOR of a whole disk: the kernel takes no partition. Source: cgroups(7) "io.max", block/blk-throttle.c */
export const ioLimit = (device: string, rates: IoRates, { version }: Controller): Setting[] => {
  const asked = Object.entries(IO_KEYS).flatMap(([key, names]) => {
    const rate = rates[key as keyof IoRates];
    return rate === undefined ? [] : [{ rate, names }];
  });
  if (version === 1) return asked.map(({ rate, names: [, file] }) => [file, `${device} ${rate}`]);
  return asked.length === 0
    ? []
    : [['io.max', [device, ...asked.map(({ rate, names: [key] }) => `${key}=${rate}`)].join(' ')]];
};

const PAGE_BYTES = 4096;

/** Whether a file's text, or its line about the same device, is what the setting made of it. */
export const isSet = (text: string | undefined, setting: Setting): boolean => {
  if (text === undefined) return false;
  const wanted = setting[0] === 'cpuset.cpus' ? renderCpuList(setting[1]) : renderSetting(setting);
  return text.split('\n').some((line) => line.trim() === wanted);
};

/** How the kernel prints a value that it was given. Seen: memory is cut to pages, unset rates are `max`. */
export const renderSetting = ([file, value]: Setting): string => {
  if (file.startsWith('memory.')) return String(Math.floor(Number(value) / PAGE_BYTES) * PAGE_BYTES);
  if (file !== 'io.max') return value;
  const [device, ...rates] = value.split(' ');
  const all = ['rbps', 'wbps', 'riops', 'wiops'].map(
    (key) => rates.find((rate) => rate.startsWith(`${key}=`)) ?? `${key}=max`,
  );
  return [device, ...all].join(' ');
};
