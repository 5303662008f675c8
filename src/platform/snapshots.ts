import type { Access, Effect } from '../base/host.ts';
import type { Consistency, SnapshotKind } from '../spec/snapshot.ts';
import type { Layout } from './layout.ts';
import type { Vm } from './platform.ts';
import { DATA_GONE, type StepDef } from '../base/step.ts';

/** One snapshot as `brig snapshot list` gives it. Shape is stable: keys are added, never changed. */
export interface SnapshotView {
  readonly vm: string;
  readonly name: string;
  readonly createdMs: number;
  readonly kind: SnapshotKind;
  readonly consistency: Consistency;
  /** Units: bytes, in the order of the disks it has. */
  readonly disks: readonly number[];
  /** False: somebody removed some of it. */
  readonly isWhole: boolean;
}

/** One file of a VM that a snapshot copies. */
interface KeptFile {
  readonly path: string;
  /** In the snapshot's directory. */
  readonly name: string;
  readonly uid: number;
  /** It may be absent: a TPM's state before the first start. */
  readonly isOptional: boolean;
}

export interface KeepArgs {
  readonly vm: string;
  readonly snapshot: string;
  readonly directory: string;
  readonly files: readonly KeptFile[];
}

/** swtpm(8) keeps a TPM's state in it. */
const TPM_STATE = 'tpm2-00.permall';

/** The files of a VM that a snapshot copies; none when it has none. `tpm`: directory of the TPM's state; `diskName`: of a disk that is a file. */
export const keepsOf = (
  { spec, place: { uid } }: Vm,
  { disk: dir, snapshots }: ReturnType<Layout['vm']>,
  snapshot: string,
  tpm: string,
  diskName: (index: number) => string,
): KeepArgs[] => {
  const file = (name: string): KeptFile => ({ path: `${dir}/${name}`, name, uid, isOptional: false });
  const files = [
    ...('uefi' in spec.firmware ? [file('vars.fd')] : []),
    ...(spec.devices.tpm ? [{ ...file(TPM_STATE), path: `${tpm}/${TPM_STATE}`, isOptional: true }] : []),
    ...spec.disks.flatMap((each, i) => ('file' in each ? [file(diskName(i))] : [])),
  ];
  return files.length === 0 ? [] : [{ vm: spec.name, snapshot, directory: `${snapshots}/${snapshot}`, files }];
};

/** What these ask of an observation: the snapshots of one VM that have a directory. */
export interface SeesSnapshots {
  readonly focus?: { readonly snapshotDirs?: ReadonlySet<string> | undefined } | undefined;
}

const ROOT = { uid: 0, gid: 0 };
const KEPT: Access = { mode: 0o600, ...ROOT, durable: true };

/** Files of a VM, copied beside its disks; only root reads them. */
export const keepFiles: StepDef<KeepArgs, SeesSnapshots> = {
  keeps: true,
  ofSnapshot: true,
  because: ({ vm, snapshot }) => `snapshot ${snapshot} of ${vm} has copies of its files`,
  apply: ({ directory, files }) => [
    { do: 'mkdir', path: directory, access: { mode: 0o700, ...ROOT } },
    ...files.map(({ path, name, isOptional }): Effect => ({
      do: 'copy',
      from: path,
      to: `${directory}/${name}`,
      access: KEPT,
      ...(isOptional ? { ifThere: true } : {}),
    })),
  ],
  undo: ({ directory }) => [{ do: 'remove', path: directory }],
  holds: ({ snapshot }, seen) => (seen.focus?.snapshotDirs?.has(snapshot) ? 'yes' : 'no'),
  repair: () => DATA_GONE,
};

/** Puts them back; done twice it is the same. There is nothing to undo: it only goes forward. */
export const restoreFiles: StepDef<KeepArgs, SeesSnapshots> = {
  keeps: true,
  because: ({ vm, snapshot }) => `${vm} gets its files of snapshot ${snapshot} back`,
  apply: ({ directory, files }) =>
    files.flatMap(({ path, name, uid, isOptional }): Effect[] => [
      ...(isOptional ? [{ do: 'remove', path } as const] : []),
      {
        do: 'copy',
        from: `${directory}/${name}`,
        to: path,
        access: { mode: 0o600, uid, gid: uid, durable: true },
        ...(isOptional ? { ifThere: true } : {}),
      },
    ]),
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};
