import type { DiskPort } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { renderBytes } from '../base/units.ts';
import type { Live, Vm } from '../platform/platform.ts';
import type { SnapshotView } from '../platform/snapshots.ts';
import { parseSnapshotRequest } from '../spec/snapshot.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { SagaRow } from '../store/rows.ts';
import type { SnapshotRow } from '../store/snapshots.ts';
import type { Operation, Verb } from './operation.ts';
import type { Outcome, Request } from './request.ts';
import { SnapshotChanges, type SnapshotChangesOptions } from './snapshot-changes.ts';

export interface SnapshotsOptions<Seen> extends SnapshotChangesOptions<Seen> {
  /** Errors: vm.unknown. */
  readonly vm: (name: string) => Vm;
  readonly live: (vm: Vm, seen: Seen) => Live;
  readonly operate: <T>(
    name: string,
    verb: Verb,
    request: Request,
    work: (operation: Operation) => Promise<T>,
  ) => Promise<T>;
}

/** `20261123-204501`, in UTC. */
export const stamp = (ms: number): string =>
  new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');

/** A disk of a VM with its size now or in the snapshot. */
export interface VmDisk {
  readonly bytes: number;
  open(): Promise<DiskPort>;
}

/** Snapshots of VMs, and what else is done to their disks; each is one operation. */
export class Snapshots<Seen> {
  readonly #o: SnapshotsOptions<Seen>;
  readonly #changes: SnapshotChanges<Seen>;

  constructor(options: SnapshotsOptions<Seen>) {
    this.#o = options;
    this.#changes = new SnapshotChanges(options);
  }

  /** The steps of all that a VM has: a destroy takes them back. */
  stepsOf(vm: Vm) {
    return this.#changes.stepsOf(vm);
  }

  /** Errors: vm.blocked. */
  refuseUnfinished(verb: string, name: string): void {
    this.#changes.refuseUnfinished(verb, name);
  }

  async #isUp(vm: Vm): Promise<boolean> {
    const { platform, host, looks } = this.#o;
    const seen = await platform.look(host, await looks.fresh('run'), vm);
    return this.#o.live(vm, seen).phase !== 'absent';
  }

  /** Errors: vm.blocked. */
  async #refuseUp(vm: Vm, verb: string, why: string): Promise<void> {
    if (!(await this.#isUp(vm))) return;
    const { name } = vm.spec;
    throw new BrigError('vm.blocked', `${verb} ${name}: blocked: it is not stopped; ${why}`, {
      retry: 'operator',
      hint: `brig stop ${name}`,
    });
  }

  /** Of one VM, oldest first, as they are on the host now. */
  async list(name: string): Promise<SnapshotView[]> {
    return await this.#changes.list(this.#o.vm(name));
  }

  /** `snapshot`: absent: the time. Errors: vm.exists; vm.blocked when a guest writes to files; the step that failed. */
  async make(
    name: string,
    snapshot: string | undefined,
    request: Request,
    kind: SnapshotRow['kind'] = 'manual',
  ): Promise<SnapshotView> {
    this.#o.vm(name);
    parseSnapshotRequest({ name: snapshot });
    return await this.#o.operate(name, 'snapshot', request, async (operation) => {
      const vm = this.#o.vm(name);
      this.#changes.refuseUnfinished('snapshot', name);
      const called = snapshot ?? stamp(this.#o.host.now());
      return await this.#changes.make(vm, called, kind, await this.#isUp(vm), operation, request.cause);
    });
  }

  /** Errors: vm.unknown with the nearest name; saga.stuck with what is left. */
  async remove(name: string, snapshot: string, request: Request): Promise<Outcome> {
    this.#changes.find(this.#o.vm(name).spec.name, snapshot);
    return await this.#o.operate(name, 'prune', request, async (operation) => {
      await this.#changes.remove(this.#o.vm(name), snapshot, operation, request.cause);
      return { changed: true };
    });
  }

  /** Only of a stopped VM; `force` removes newer snapshots. Errors: vm.blocked; saga.stuck: brig resolve goes on. */
  async rollback(name: string, snapshot: string, force: boolean, request: Request): Promise<Outcome> {
    this.#changes.find(this.#o.vm(name).spec.name, snapshot);
    return await this.#o.operate(name, 'rollback', request, async (operation) => {
      const vm = this.#o.vm(name);
      this.#changes.refuseUnfinished('rollback', name);
      await this.#refuseUp(vm, 'rollback', 'a rollback would swap the disks under the guest');
      await this.#changes.rollback(vm, snapshot, force, operation, request.cause);
      return { changed: true };
    });
  }

  /** Only larger, and only of a stopped VM. Units: bytes. Errors: spec.invalid, vm.blocked, the step that failed. */
  async resize(name: string, disk: number, bytes: number, request: Request): Promise<Outcome> {
    this.#grown(this.#o.vm(name), disk, bytes);
    return await this.#o.operate(name, 'resize', request, async (operation) => {
      const vm = this.#o.vm(name);
      const spec = this.#grown(vm, disk, bytes);
      if (!spec) return { changed: false };
      this.#changes.refuseUnfinished('resize', name);
      await this.#refuseUp(vm, 'resize', 'its guest would not hear of it');
      await this.#changes.resize(vm, disk, spec, operation, request.cause);
      return { changed: true };
    });
  }

  /** A stopped VM without the image that it was made of. Errors: vm.blocked; host.mismatch when others were made of it. */
  async promote(name: string, request: Request): Promise<Outcome> {
    this.#o.vm(name);
    return await this.#o.operate(name, 'promote', request, async (operation) => {
      const vm = this.#o.vm(name);
      this.#changes.refuseUnfinished('promote', name);
      await this.#refuseUp(vm, 'promote', 'its disks are in use');
      await this.#changes.promote(vm, operation, request.cause);
      return { changed: true };
    });
  }

  /** The document with the larger disk; undefined when it is that large. Errors: spec.invalid. */
  #grown({ spec }: Vm, index: number, bytes: number): VmSpec | undefined {
    const disk = spec.disks[index];
    const refuse = (expected: string, got: string): never => {
      throw new BrigError('spec.invalid', `resize ${spec.name}: expected ${expected}, got ${got}`);
    };
    if (!disk) return refuse(`a disk from 0 to ${spec.disks.length - 1}`, String(index));
    if ('image' in disk) return refuse('a disk of its own', `disk ${index}, a read-only image`);
    const size = 'zvol' in disk ? disk.zvol.size : disk.file.size;
    if (bytes < size) return refuse(`at least ${renderBytes(size)}, for a disk never shrinks`, renderBytes(bytes));
    if (bytes === size) return undefined;
    const larger =
      'zvol' in disk
        ? { ...disk, zvol: { ...disk.zvol, size: bytes } }
        : { ...disk, file: { ...disk.file, size: bytes } };
    return { ...spec, disks: spec.disks.with(index, larger) };
  }

  /**
   * The VM's own disks to read, of a snapshot or of the VM itself: then it is stopped, and stays so meanwhile.
   * Errors: vm.unknown, vm.blocked.
   */
  async read<T>(
    name: string,
    snapshot: string | undefined,
    request: Request,
    work: (disks: readonly VmDisk[], spec: VmSpec) => Promise<T>,
  ): Promise<T> {
    if (snapshot !== undefined) return await this.#read(this.#o.vm(name), this.#changes.find(name, snapshot), work);
    this.#o.vm(name);
    return await this.#o.operate(name, 'read', request, async () => {
      const vm = this.#o.vm(name);
      this.#changes.refuseUnfinished('read', name);
      await this.#refuseUp(vm, 'read', 'its guest writes to the disks; a snapshot can be read at any time');
      return await this.#read(vm, undefined, work);
    });
  }

  #read<T>(
    vm: Vm,
    row: SnapshotRow | undefined,
    work: (disks: readonly VmDisk[], spec: VmSpec) => Promise<T>,
  ): Promise<T> {
    const spec = row?.spec ?? vm.spec;
    const disks = spec.disks.flatMap((disk, i): VmDisk[] => {
      if ('image' in disk) return [];
      const bytes = 'zvol' in disk ? disk.zvol.size : disk.file.size;
      return [{ bytes, open: () => this.#changes.open(vm, i, row) }];
    });
    return work(disks, spec);
  }

  /** Goes on with what an earlier brigd, or the host, cut short. */
  async recover(saga: SagaRow): Promise<void> {
    const { vm: name } = saga;
    const request = { cause: 'brigd' } as const;
    await this.#o.operate(name, saga.verb as Verb, request, async () => {
      const vm = this.#o.vm(name);
      if (saga.verb === 'snapshot') await this.#changes.unmake(vm, saga, 'brigd');
      else if (saga.verb === 'prune') await this.#changes.finishRemove(vm, saga, 'brigd');
      else if (saga.verb === 'rollback') await this.#changes.finishRollback(vm, saga, 'brigd');
      else if (saga.verb === 'promote') await this.#changes.finishPromote(vm, saga, 'brigd');
      else await this.#changes.finishResize(vm, saga, 'brigd');
    });
  }

  /** A rollback that has not come through, once more; undefined when there is none. */
  unfinished(name: string): SagaRow | undefined {
    return this.#o.store.findSaga(name, 'rollback');
  }
}
