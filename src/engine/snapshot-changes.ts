import type { DiskPort } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { escapeControls } from '../base/units.ts';
import type { Action } from '../base/step.ts';
import type { Vm } from '../platform/platform.ts';
import type { SnapshotView } from '../platform/snapshots.ts';
import { holdsOf, planApply } from '../saga/run.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { SagaRow } from '../store/rows.ts';
import type { SnapshotRow } from '../store/snapshots.ts';
import type { Cause, Changes, ChangeOptions } from './changes.ts';
import { checkQuota, checkSnapshotQuota, diskBytes } from './quota.ts';
import { nearest } from './nearest.ts';
import type { Operation } from './operation.ts';
import { stuck } from './request.ts';

export interface SnapshotChangesOptions<Seen> extends ChangeOptions<Seen> {
  readonly changes: Changes<Seen>;
  readonly config: Config;
}

/** The document of a VM that needs its image no more. */
const independent = (spec: VmSpec): VmSpec => ({
  ...spec,
  image: undefined,
  disks: spec.disks.map((disk) => {
    if ('zvol' in disk) return { ...disk, zvol: { size: disk.zvol.size } };
    return 'file' in disk ? { ...disk, file: { size: disk.file.size } } : disk;
  }),
});

/** A VM's disks before and now; each within an operation of the engine. */
export class SnapshotChanges<Seen> {
  readonly #o: SnapshotChangesOptions<Seen>;

  constructor(options: SnapshotChangesOptions<Seen>) {
    this.#o = options;
  }

  /** Errors: vm.unknown with the nearest name. */
  find(vm: string, name: string): SnapshotRow {
    const { snapshots } = this.#o.store;
    const row = snapshots.find(vm, name);
    if (row) return row;
    const names = snapshots.of(vm).map((each) => each.name);
    const near = nearest(name, names);
    throw new BrigError('vm.unknown', `find snapshot ${escapeControls(name.slice(0, 64))} of ${vm}: no such snapshot`, {
      hint: near === undefined ? `brig snapshot list ${vm}` : `did you mean ${near}?`,
    });
  }

  /** The steps of all snapshots of a VM: a destroy takes them back. */
  stepsOf(vm: Vm) {
    return this.#o.store.snapshots.of(vm.spec.name).flatMap((row) => this.#stepsOf(vm, row));
  }

  #stepsOf(vm: Vm, { spec, name }: Pick<SnapshotRow, 'spec' | 'name'>) {
    return this.#o.platform.snapshotSteps({ ...vm, spec }, name);
  }

  /** As they are on the host now. */
  async list(vm: Vm): Promise<SnapshotView[]> {
    const { store, changes, platform } = this.#o;
    const rows = store.snapshots.of(vm.spec.name);
    if (rows.length === 0) return [];
    const seen = await changes.observe(vm, this.stepsOf(vm));
    return rows.map((row) => this.#view(row, (step) => holdsOf(platform.catalogue, step, seen) === 'yes', vm));
  }

  #view(row: SnapshotRow, holds: (step: Action['step']) => boolean, vm: Vm): SnapshotView {
    const { name, createdMs, kind, consistency, spec } = row;
    const isWhole = this.#stepsOf(vm, row).every(holds);
    return { vm: row.vm, name, createdMs, kind, consistency, disks: diskBytes(spec), isWhole };
  }

  /** Every look at data lists them all, whosever they are. Errors: vm.blocked. */
  #refuseCrowd(name: string, kind: SnapshotRow['kind']): void {
    const made = this.#o.store.snapshots.of(name).filter((row) => row.kind === 'manual');
    if (kind !== 'manual' || made.length < LIMITS.snapshotsEach) return;
    throw new BrigError('vm.blocked', `snapshot ${name}: blocked: it has ${made.length} already`, {
      ...{ retry: 'operator', hint: `brig snapshot rm ${name} ${made[0]?.name}` },
    });
  }

  /** All disks at once, or nothing. Errors: vm.exists; vm.blocked when a guest writes to files; the step that failed. */
  async make(
    vm: Vm,
    name: string,
    kind: SnapshotRow['kind'],
    isUp: boolean,
    operation: Operation,
    cause: Cause,
  ): Promise<SnapshotView> {
    const { platform, store, changes, events, host } = this.#o;
    const { spec } = vm;
    if (store.snapshots.find(spec.name, name))
      throw new BrigError('vm.exists', `snapshot ${spec.name}: a snapshot ${name} exists`, {
        hint: `brig snapshot list ${spec.name}`,
      });
    this.#refuseCrowd(spec.name, kind);
    this.#refuseFiles(vm, isUp);
    const consistency = isUp ? 'crash' : 'stopped';
    const row: SnapshotRow = { vm: spec.name, name, spec, kind, consistency, createdMs: host.now() };
    const steps = platform.snapshotSteps(vm, name);
    const seen = await changes.observe(vm, steps);
    const taken = steps.find((step) => holdsOf(platform.catalogue, step, seen) !== 'no');
    if (taken)
      throw new BrigError('vm.exists', `snapshot ${spec.name}: ${taken.kind} of ${name} is there, and not brig's`);
    checkSnapshotQuota(spec, store, this.#o.config);
    const saga = changes.journal(operation, vm, steps, '', { add: row });
    try {
      await changes.run(planApply(platform.catalogue, steps, seen), vm, seen, cause, {
        signal: operation.abort.signal,
      });
    } catch (error) {
      await this.unmake(vm, saga, cause);
      throw error;
    }
    store.commitSaga(saga);
    events.add('snapshot.made', cause, spec.name, { snapshot: name, kind, consistency });
    return this.#view(row, () => true, vm);
  }

  /** A file cannot be copied at one moment while somebody writes to it. */
  #refuseFiles({ spec }: Vm, isUp: boolean): void {
    const file = spec.disks.findIndex((disk) => 'file' in disk);
    if (!isUp || file < 0) return;
    throw new BrigError(
      'vm.blocked',
      `snapshot ${spec.name}: expected it stopped, for disk ${file} is a file; got running`,
      {
        retry: 'operator',
        hint: `brig stop ${spec.name}; only ZFS volumes are snapshotted while a guest runs`,
      },
    );
  }

  /** Takes back one that failed, or that was cut short. What is left stays in the journal until it is gone. */
  async unmake(vm: Vm, saga: Pick<SagaRow, 'id' | 'steps'>, cause: Cause): Promise<void> {
    const left = await this.#o.changes.takeBack(vm, saga.steps, cause);
    if (!left) this.#o.store.endSaga(saga.id, true);
  }

  /** Errors: vm.unknown; the step that failed: it is tried again when brigd starts. */
  async remove(vm: Vm, name: string, operation: Operation, cause: Cause): Promise<void> {
    const { changes } = this.#o;
    const row = this.find(vm.spec.name, name);
    // Within a rollback it is a change of its own.
    const prune = { id: operation.id, verb: 'prune' } as const;
    const saga = changes.journal(prune, vm, this.#stepsOf(vm, row), '', { remove: name });
    await this.finishRemove(vm, saga, cause);
  }

  async finishRemove(vm: Vm, saga: SagaRow, cause: Cause): Promise<void> {
    const { changes, store, events } = this.#o;
    const left = await changes.takeBack(vm, saga.steps, cause);
    if (left) {
      store.endSaga(saga.id);
      throw stuck('snapshot', vm.spec.name, left);
    }
    store.commitSaga(saga);
    events.add('snapshot.removed', cause, vm.spec.name, { snapshot: saga.pending?.remove ?? '' });
  }

  /**
   * Disks, files and document become those of the snapshot; it goes forward only: what began is finished.
   * Errors: vm.blocked before anything is touched; saga.stuck.
   */
  async rollback(vm: Vm, name: string, force: boolean, operation: Operation, cause: Cause): Promise<void> {
    const { platform, changes } = this.#o;
    const row = this.find(vm.spec.name, name);
    const between = this.#newer(vm, row, force);
    await this.#refuseBroken(vm, row, between);
    for (const newer of between) await this.remove(vm, newer.name, operation, cause);
    const steps = platform.rollbackSteps({ ...vm, spec: row.spec }, name);
    await this.finishRollback(vm, changes.journal(operation, vm, steps, name, { spec: row.spec }), cause);
  }

  /** ZFS goes back to its newest snapshot only: those in between must go first. */
  #newer(vm: Vm, row: SnapshotRow, force: boolean): SnapshotRow[] {
    const all = this.#o.store.snapshots.of(vm.spec.name);
    const newer = all.slice(all.findIndex(({ name }) => name === row.name) + 1).reverse();
    if (newer.length === 0 || force) return newer;
    const names = newer.map(({ name }) => name).join(', ');
    throw new BrigError('vm.blocked', `rollback ${vm.spec.name}: blocked: ${names} came after ${row.name}`, {
      retry: 'operator',
      hint: '--force removes them',
      details: { newer: newer.map(({ name }) => name) },
    });
  }

  async #refuseBroken(vm: Vm, row: SnapshotRow, newer: readonly SnapshotRow[]): Promise<void> {
    const { platform, changes } = this.#o;
    const steps = this.#stepsOf(vm, row);
    const seen = await changes.observe(vm, [...steps, ...platform.createSteps(vm)]);
    const gone = steps.filter((step) => holdsOf(platform.catalogue, step, seen) !== 'yes');
    const what = vm.spec.disks.length > row.spec.disks.length ? ['a disk that it does not have'] : [];
    const of = { ...vm, spec: row.spec };
    const strangers = platform.strangersAfter(
      seen,
      of,
      row.name,
      newer.map(({ name }) => name),
    );
    changes.refuse(vm, 'rollback', [
      ...strangers.map((name) => ({
        level: 'problem',
        what: `no newer snapshot of somebody else`,
        got: name,
        mend: `zfs destroy ${name}, if nobody needs it`,
      })),
      ...gone.map((step) => ({ level: 'problem', what: `snapshot ${row.name} whole`, got: `${step.kind} gone` })),
      ...what.map((got) => ({ level: 'problem', what: `the disks of snapshot ${row.name}`, got })),
    ]);
  }

  async finishRollback(vm: Vm, saga: SagaRow, cause: Cause): Promise<void> {
    const { store, changes, events, host } = this.#o;
    try {
      await this.#forward(vm, saga, cause);
    } catch (error) {
      const trouble = {
        kind: 'stuck',
        reason: `half rolled back: ${messageOf(error)}`,
        left: [],
        atMs: host.now(),
      } as const;
      changes.trouble(vm, 'rollback', trouble, cause);
      throw stuck('rollback', vm.spec.name, trouble);
    }
    store.setTrouble(vm.spec.name, undefined);
    events.add('vm.rolled-back', cause, vm.spec.name, { snapshot: saga.run });
  }

  /** Nobody starts a guest whose disks are of two moments. Errors: vm.blocked. */
  refuseUnfinished(verb: string, name: string): void {
    if (!this.#o.store.findSaga(name, 'rollback')) return;
    throw new BrigError('vm.blocked', `${verb} ${name}: blocked: a rollback has not come through`, {
      retry: 'operator',
      hint: `brig explain ${name}, then brig resolve ${name}`,
    });
  }

  async #forward(vm: Vm, saga: SagaRow, cause: Cause): Promise<void> {
    const { changes, store } = this.#o;
    const actions = saga.steps.map((step): Action => ({ op: 'apply', step }));
    await changes.run(actions, vm, await changes.observe(vm, []), cause);
    store.commitSaga(saga);
  }

  /** A disk never shrinks. Errors: vm.blocked, spec.invalid, the step that failed. */
  async resize(vm: Vm, disk: number, spec: VmSpec, operation: Operation, cause: Cause): Promise<void> {
    const { platform, changes, store, config } = this.#o;
    checkQuota('resize', spec, store.findVm(spec.name)?.addresses.length ?? 0, store, config);
    const steps = platform.growSteps({ ...vm, spec }, disk);
    await this.finishResize(vm, changes.journal(operation, vm, steps, '', { spec }), cause);
  }

  /** Disks that share nothing with an image any more, and a document that names none. Errors: vm.blocked; the step that failed. */
  async promote(vm: Vm, operation: Operation, cause: Cause): Promise<void> {
    const { platform, changes, store } = this.#o;
    const { name } = vm.spec;
    const [snapshot] = store.snapshots.of(name);
    if (snapshot)
      throw new BrigError('vm.blocked', `promote ${name}: blocked: snapshot ${snapshot.name} lies on its image, too`, {
        retry: 'operator',
        hint: `brig snapshot rm ${name} ${snapshot.name}`,
      });
    const saga = changes.journal(operation, vm, platform.promoteSteps(vm), '', { spec: independent(vm.spec) });
    await this.finishPromote(vm, saga, cause);
  }

  async finishPromote(vm: Vm, saga: SagaRow, cause: Cause): Promise<void> {
    await this.#tryForward(vm, saga, cause);
    this.#o.events.add('vm.promoted', cause, vm.spec.name, { image: vm.spec.image?.name ?? '' });
  }

  async #tryForward(vm: Vm, saga: SagaRow, cause: Cause): Promise<void> {
    try {
      await this.#forward(vm, saga, cause);
    } catch (error) {
      // What was done does no harm, and is not done again when it is asked for again.
      this.#o.store.endSaga(saga.id);
      throw error;
    }
  }

  async finishResize(vm: Vm, saga: SagaRow, cause: Cause): Promise<void> {
    await this.#tryForward(vm, saga, cause);
    this.#o.events.add('vm.resized', cause, vm.spec.name);
  }

  open(vm: Vm, disk: number, snapshot?: SnapshotRow): Promise<DiskPort> {
    const { platform, host } = this.#o;
    const of = snapshot ? { ...vm, spec: snapshot.spec } : vm;
    return platform.openVmDisk(host, of, disk, snapshot?.name);
  }
}
