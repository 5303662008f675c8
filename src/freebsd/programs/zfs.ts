import type { Command, Tolerance } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { command } from '../../platform/command.ts';

const zfs = (...args: readonly string[]): Command => command('/sbin/zfs', args, { timeoutMs: LIMITS.zfsTimeoutMs });

/** volmode=dev: a plain device whose partition tables the host does not read. */
const volumeOptions = (vm: string): readonly string[] => ['-o', 'volmode=dev', '-o', `brig:vm=${vm}`];

/** A dataset that is never mounted: it only holds volumes. */
export const createFilesystem = (dataset: string, vm: string): Command =>
  zfs('create', '-p', '-o', 'canmount=off', '-o', `brig:vm=${vm}`, dataset);

/** A sparse volume, marked with its owner. Source: zfs-create(8). */
export const createVolume = (dataset: string, bytes: number, vm: string): Command =>
  zfs('create', '-s', '-V', String(bytes), ...volumeOptions(vm), dataset);

/** A clone takes its properties from the parent dataset, not from the origin: volmode again. Source: zfs-clone(8). */
export const cloneVolume = (snapshot: string, dataset: string, vm: string): Command =>
  zfs('clone', ...volumeOptions(vm), snapshot, dataset);

export const growVolume = (dataset: string, bytes: number): Command => zfs('set', `volsize=${bytes}`, dataset);

export const destroyDataset = (dataset: string): Command => zfs('destroy', dataset);

/** Everything below a dataset with its owner, in bytes. `-Hp` works on every release; JSON only on 15. */
export const listDatasets = (parent: string): Command =>
  zfs('list', '-Hp', '-r', '-t', 'filesystem,volume', '-o', 'name,type,origin,volsize,brig:vm', parent);

/** Seen: `cannot open 'X': dataset does not exist`, exit 1. */
export const NO_DATASET: Tolerance = { status: 1, stderr: 'dataset does not exist' };
/** Seen: `cannot destroy 'X': dataset is busy`: passes when bhyve's last descriptor is closed. */
export const DATASET_BUSY: Tolerance = { status: 1, stderr: 'dataset is busy' };

export interface Dataset {
  readonly name: string;
  readonly type: string;
  readonly origin?: string;
  readonly volumeBytes?: number;
  /** Owner from the user property `brig:vm`. */
  readonly vm?: string;
}

/** Parses `zfs list -Hp`: tab separated, `-` for none. */
export const parseDatasets = (text: string): Dataset[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [name = '', type = '', origin = '-', size = '-', vm = '-'] = line.split('\t');
      return {
        name,
        type,
        ...(origin === '-' ? {} : { origin }),
        ...(size === '-' ? {} : { volumeBytes: Number(size) }),
        ...(vm === '-' ? {} : { vm }),
      };
    });
