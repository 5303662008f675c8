import type { Command, Tolerance } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { command } from '../../platform/command.ts';

const zfs = (...args: readonly string[]): Command => command('/sbin/zfs', args, { timeoutMs: LIMITS.zfsTimeoutMs });

/** volmode=dev: a plain device whose partition tables the host does not read. */
const volumeOptions = (vm: string): readonly string[] => ['-o', 'volmode=dev', '-o', `brig:vm=${vm}`];

/** A dataset that is never mounted: it only holds volumes. */
export const createFilesystem = (dataset: string, vm: string): Command =>
  zfs('create', '-p', '-o', 'canmount=off', '-o', `brig:vm=${vm}`, dataset);

/** A volume marked with its owner: sparse, or with all its space. Source: zfs-create(8). */
export const createVolume = (dataset: string, bytes: number, vm: string, reserve = false): Command =>
  zfs('create', ...(reserve ? [] : ['-s']), '-V', String(bytes), ...volumeOptions(vm), dataset);

/** A clone is sparse; this gives it all its space. Source: zfsprops(7), refreservation. */
export const reserveVolume = (dataset: string): Command => zfs('set', 'refreservation=auto', dataset);

/** A clone takes its properties from the parent dataset, not from the origin: volmode again. Source: zfs-clone(8). */
export const cloneVolume = (snapshot: string, dataset: string, vm: string): Command =>
  zfs('clone', ...volumeOptions(vm), snapshot, dataset);

export const growVolume = (dataset: string, bytes: number): Command => zfs('set', `volsize=${bytes}`, dataset);

export const destroyDataset = (dataset: string): Command => zfs('destroy', dataset);

/** Parent of images, or of one image's volumes; its owner is in the property. */
export const createImageDataset = (dataset: string, id = 'all'): Command =>
  zfs('create', '-p', '-o', 'canmount=off', '-o', `brig:image=${id}`, dataset);

export const createImageVolume = (dataset: string, bytes: number, id: string): Command =>
  zfs('create', '-s', '-V', String(bytes), '-o', 'volmode=dev', '-o', `brig:image=${id}`, dataset);

/** Nobody writes to an image. */
export const sealVolume = (dataset: string): Command => zfs('set', 'readonly=on', dataset);
export const markImage = (dataset: string, id: string): Command => zfs('set', `brig:image=${id}`, dataset);

/** All at the same moment. Source: zfs-snapshot(8). */
export const snapshot = (names: readonly string[]): Command => zfs('snapshot', ...names);
export const renameDataset = (from: string, to: string): Command => zfs('rename', from, to);

/** Of a VM's volumes, marked with their owner. */
export const snapshotVolumes = (names: readonly string[], vm: string): Command =>
  zfs('snapshot', '-o', `brig:vm=${vm}`, ...names);

/** Only to the newest snapshot; any newer one is an error. It succeeds under a guest that runs, too (FACTS S.15). */
export const rollback = (name: string): Command => zfs('rollback', name);

/** A clone becomes the owner of what it is a clone of. Source: zfs-promote(8) */
export const promote = (dataset: string): Command => zfs('promote', dataset);
/** What was made of a snapshot, with commas between. Source: zfsprops(7) */
export const listClones = (name: string): Command => zfs('get', '-Hp', '-o', 'value', 'clones', name);

/** What is held nobody destroys by mistake. */
const TAG = 'brig';
export const hold = (snapshots: readonly string[]): Command => zfs('hold', TAG, ...snapshots);
export const release = (name: string): Command => zfs('release', TAG, name);

export const cloneForReading = (from: string, dataset: string): Command =>
  zfs('clone', '-o', 'volmode=dev', '-o', 'readonly=on', '-o', 'brig:image=reading', from, dataset);

export const destroyAll = (dataset: string): Command => zfs('destroy', '-r', dataset);

export const listImages = (parent: string): Command =>
  zfs('list', '-Hp', '-r', '-t', 'filesystem,volume', '-o', 'name', parent);

/** Snapshots with how often they are held. */
export const listSnapshots = (dataset: string): Command =>
  zfs('list', '-Hp', '-r', '-t', 'snapshot', '-o', 'name,userrefs', dataset);

/** Everything below a dataset with its owner, in bytes. `-Hp` works on every release; JSON only on 15. */
export const listDatasets = (parent: string): Command =>
  zfs('list', '-Hp', '-r', '-t', 'filesystem,volume', '-o', 'name,type,origin,volsize,brig:vm', parent);

/** Seen: `cannot open 'X': dataset does not exist`, exit 1. */
export const NO_DATASET: Tolerance = { status: 1, stderr: 'dataset does not exist' };
/** libzfs of a snapshot that is not there: `could not find any snapshots to destroy; check snapshot names.`; unrecorded */
export const NO_SNAPSHOT: Tolerance = { status: 1, stderr: 'could not find any snapshots' };
/** Seen: `cannot destroy 'X': dataset is busy`: passes when bhyve's last descriptor is closed. */
export const DATASET_BUSY: Tolerance = { status: 1, stderr: 'dataset is busy' };

/** Seen: `cannot destroy 'X': filesystem has dependent clones`. */
export const DEPENDENT_CLONES = 'dependent clones';
/** Seen: `cannot destroy snapshot X: it's being held.` */
export const HELD = "it's being held";
/** unrecorded; libzfs: `cannot promote 'X': not a cloned filesystem` */
export const NO_CLONE: Tolerance = { status: 1, stderr: 'not a cloned filesystem' };
/** unrecorded; libzfs: `no such tag on this dataset` */
export const NO_HOLD: Tolerance = { status: 1, stderr: 'no such tag' };

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
