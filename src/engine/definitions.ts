import type { Step } from '../base/step.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Vm } from '../platform/platform.ts';
import { layout } from '../platform/layout.ts';
import { planApply } from '../saga/run.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { VmRow } from '../store/rows.ts';
import { nameTaken } from '../store/store.ts';
import type { Cause, Changes, ChangeOptions } from './changes.ts';
import type { Operation } from './operation.ts';
import { checkNetworks, place, placesOf } from './place.ts';
import { takenForward } from './policy.ts';
import { checkQuota } from './quota.ts';
import { tellLeases } from './leases.ts';
import { stuck, type Request } from './request.ts';

export interface DefinitionsOptions<Seen> extends ChangeOptions<Seen> {
  readonly config: Config;
  readonly changes: Changes<Seen>;
  readonly snapshotSteps: (vm: Vm) => readonly Step[];
}

/** Makes VMs and removes them, with their disks and their leases; each within an operation of the engine. */
export class Definitions<Seen> {
  readonly #o: DefinitionsOptions<Seen>;

  constructor(options: DefinitionsOptions<Seen>) {
    this.#o = options;
  }

  /** Before it has its turn: a VM that is there is nobody's to keep busy by asking for its name. Errors: vm.exists. */
  refuseTaken(name: string): void {
    if (this.#o.store.findVm(name)) throw nameTaken(name);
  }

  /**
   * `askedMs`: what it names was looked at then, and counts only if it was there.
   * Errors: vm.exists; vm.blocked when this node lacks what the document asks for; the step that failed.
   */
  async create(spec: VmSpec, askedMs: number, operation: Operation, { cause }: Request): Promise<void> {
    const { store, platform, host, config, changes, events } = this.#o;
    const places = placesOf(config, store);
    checkNetworks(spec, places);
    this.#checkForwards(spec);
    const begin = (row: VmRow): void => {
      checkQuota('create', spec, row.addresses.length, store, config);
      const vm = place(row, places);
      changes.journal(operation, vm, platform.createSteps(vm), '');
    };
    const vm = place(store.addVm(spec, askedMs, begin), places);
    const steps = platform.createSteps(vm);
    try {
      const seen = await changes.look(vm, steps);
      changes.refuse(vm, 'create', await platform.precheck(host, seen, vm));
      await changes.run(planApply(platform.catalogue, steps, seen), vm, seen, cause, {
        signal: operation.abort.signal,
      });
    } catch (error) {
      await this.uncreate(vm, operation.id, cause);
      throw error;
    }
    store.endSaga(operation.id, true);
    changes.letGo(vm);
    events.add('vm.created', cause, spec.name);
    tellLeases(events, 'lease.acquired', cause, spec.name, store.networks.leasesOf(spec.name));
  }

  #checkForwards(spec: VmSpec): void {
    const taken = takenForward(spec, () => this.#o.store.listVms().map((row) => row.spec));
    if (!taken) return;
    throw new BrigError(
      'net.taken',
      `create vm ${spec.name}: expected forwards of free ports of the host, got ${taken.port}, which leads to ${taken.by}`,
      { retry: 'operator', hint: 'choose another port in nics[].forwards' },
    );
  }

  /** Takes back a create that failed, or that was cut short. */
  async uncreate(vm: Vm, saga: string, cause: Cause): Promise<void> {
    const { platform, changes, store } = this.#o;
    const left = await changes.undo(vm, platform.createSteps(vm), cause);
    if (left) changes.trouble(vm, 'create', left, cause);
    else await this.#forget(vm.spec.name);
    store.endSaga(saga, true);
  }

  /** Data goes last. Errors: saga.stuck with what is left. */
  async destroy(vm: Vm, run: string, operation: Operation, request: Request): Promise<void> {
    const { platform, store, events, changes } = this.#o;
    const { name } = vm.spec;
    const leases = store.networks.leasesOf(name);
    const ofRun = platform.startSteps(vm, run, request.graceMs ?? LIMITS.stopTimeoutMs);
    const steps: readonly Step[] = [...platform.createSteps(vm), ...this.#o.snapshotSteps(vm), ...ofRun];
    const seen = await changes.look(vm, steps);
    changes.journal(operation, vm, steps, run);
    store.setIntent(name, 'stopped', run);
    const left = await changes.undo(vm, steps, request.cause, seen, operation.hurry.signal);
    if (left) changes.trouble(vm, 'destroy', left, request.cause);
    else await this.#forget(name);
    store.endSaga(operation.id, true);
    if (left) throw stuck('destroy', name, left);
    events.add('vm.destroyed', request.cause, name);
    tellLeases(events, 'lease.released', request.cause, name, leases);
  }

  /** How its last run ended is of no use to the next VM of that name. */
  async #forget(name: string): Promise<void> {
    const { exit, resets } = layout(this.#o.config).vm(name);
    for (const path of [exit, resets]) await this.#o.host.remove(path);
    this.#o.store.removeVm(name);
  }
}
