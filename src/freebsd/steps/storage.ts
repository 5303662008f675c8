import { DATA_GONE, type StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import {
  cloneVolume,
  createFilesystem,
  createVolume,
  DATASET_BUSY,
  destroyDataset,
  growVolume,
  reserveVolume,
  listClones,
  NO_CLONE,
  NO_DATASET,
  NO_HOLD,
  NO_SNAPSHOT,
  promote,
  release,
  rollback,
  snapshotVolumes,
} from '../programs/zfs.ts';
import { LIMITS } from '../../base/limits.ts';

export interface DatasetArgs {
  readonly vm: string;
  readonly dataset: string;
}

/** What is there but carries another owner is a stranger's: it does not hold, and making it fails on the name. */
const holds = (args: DatasetArgs, seen: Seen): 'yes' | 'no' =>
  seen.datasets.get(args.dataset)?.vm === args.vm ? 'yes' : 'no';

/** Parent of a VM's volumes, marked with its owner. */
export const dataset: StepDef<DatasetArgs, Seen> = {
  keeps: true,
  because: ({ vm }) => `the volumes of ${vm} live under one dataset of their own`,
  apply: ({ vm, dataset: name }) => [run(createFilesystem(name, vm))],
  undo: ({ dataset: name }) => [run(destroyDataset(name), { tolerate: [NO_DATASET] })],
  holds,
  repair: () => DATA_GONE,
};

export interface VolumeArgs extends DatasetArgs {
  readonly bytes: number;
  /** Snapshot to clone. */
  readonly from?: string;
  /** All its space from the beginning. */
  readonly reserve?: true;
}

/** A disk as a ZFS volume: new, or a clone in constant time. */
export const volume: StepDef<VolumeArgs, Seen> = {
  keeps: true,
  because: ({ vm, from }) =>
    from === undefined ? `${vm} has a volume as disk` : `${vm} has a clone of ${from} as disk`,
  apply: ({ vm, dataset: name, bytes, from, reserve }) =>
    from === undefined
      ? [run(createVolume(name, bytes, vm, reserve))]
      : [
          run(cloneVolume(from, name, vm)),
          run(growVolume(name, bytes)),
          ...(reserve ? [run(reserveVolume(name))] : []),
        ],
  undo: ({ dataset: name }) => [
    run(destroyDataset(name), { tolerate: [NO_DATASET], retry: { on: DATASET_BUSY, forMs: LIMITS.busyTimeoutMs } }),
  ],
  holds,
  repair: () => DATA_GONE,
};

export interface SnapshotArgs {
  readonly vm: string;
  readonly snapshot: string;
  /** `DATASET@NAME` of each volume, in the order of the disks. */
  readonly names: readonly string[];
}

/** All volumes of a VM at the same moment. */
export const volumeSnapshot: StepDef<SnapshotArgs, Seen> = {
  keeps: true,
  ofSnapshot: true,
  because: ({ vm, snapshot }) => `snapshot ${snapshot} of ${vm} has all its volumes at one moment`,
  apply: ({ vm, names }) => [run(snapshotVolumes(names, vm))],
  undo: ({ names }) =>
    names.map((name) =>
      run(destroyDataset(name), {
        tolerate: [NO_DATASET, NO_SNAPSHOT],
        retry: { on: DATASET_BUSY, forMs: LIMITS.busyTimeoutMs },
      }),
    ),
  holds: ({ names }, seen) => {
    const there = names.filter((name) => seen.focus?.snapshots?.has(name)).length;
    return there === 0 ? 'no' : there === names.length ? 'yes' : 'partly';
  },
  repair: () => DATA_GONE,
};

/** Back to a snapshot; done twice it is the same. There is nothing to undo: it only goes forward. */
export const volumeRollback: StepDef<SnapshotArgs, Seen> = {
  keeps: true,
  because: ({ vm, snapshot }) => `the volumes of ${vm} become those of snapshot ${snapshot}`,
  apply: ({ names }) => names.map((name) => run(rollback(name))),
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};

/** A larger volume; done twice it is the same. */
export const volumeGrow: StepDef<VolumeArgs, Seen> = {
  keeps: true,
  because: ({ vm, dataset: name }) => `volume ${name} of ${vm} becomes larger`,
  apply: ({ dataset: name, bytes }) => [run(growVolume(name, bytes))],
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};

export interface PromoteArgs {
  readonly vm: string;
  readonly dataset: string;
  /** The snapshot of an image that it is the only clone of. */
  readonly from: string;
}

/** A volume without its image: what they shared is the volume's, and the image's volume is gone; done twice it is the same. */
export const volumePromote: StepDef<PromoteArgs, Seen> = {
  keeps: true,
  because: ({ vm, from }) => `${vm} takes over what it shares with ${from}`,
  apply: ({ dataset: name, from }) => {
    const [image = '', snapshot = ''] = from.split('@');
    const own = `${name}@${snapshot}`;
    return [
      run(listClones(from), { expect: `${name}\n`, tolerate: [NO_DATASET] }),
      run(promote(name), { tolerate: [NO_CLONE] }),
      run(destroyDataset(image), { tolerate: [NO_DATASET] }),
      run(release(own), { tolerate: [NO_HOLD, NO_DATASET] }),
      run(destroyDataset(own), { tolerate: [NO_SNAPSHOT, NO_DATASET] }),
    ];
  },
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};
