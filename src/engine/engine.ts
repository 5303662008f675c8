import type { Action, Step } from '../base/step.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { layout } from '../platform/layout.ts';
import type { Depth, Live, Vm } from '../platform/platform.ts';
import { holdsOf, planApply, planUndo } from '../saga/run.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { VmRow } from '../store/rows.ts';
import { Changes, type Cause, type ChangeOptions, type PlanLine } from './changes.ts';
import { Definitions } from './definitions.ts';
import { Looks } from './looks.ts';
import { Hooks } from './hooks.ts';
import { LeaseFiles } from './lease-files.ts';
import { Networks } from './networks.ts';
import { Upkeep } from './upkeep.ts';
import { findMissing } from './missing.ts';
import { unknownVm } from './nearest.ts';
import { Operations, type Operation } from './operation.ts';
import { place, placesOf, type Places } from './place.ts';
import { Repairs, type Difference } from './repair.ts';
import { named, stuck, type Outcome, type Request } from './request.ts';
import { toTold, type VmView } from './view.ts';
import { Secrets } from './secrets.ts';
import { Snapshots } from './snapshots.ts';
import { Views, type VmState } from './views.ts';

export interface EngineOptions<Seen> extends Omit<ChangeOptions<Seen>, 'looks' | 'reveal'> {
  readonly config: Config;
  /** Ids of sagas and runs. */
  readonly newId: () => string;
  /** Of the host: how many operations go on at once. */
  readonly cores: number;
}

/** Changes VMs: one operation for each at a time, each done or undone. Knows of the host only what Platform tells. */
export class Engine<Seen> {
  readonly #o: EngineOptions<Seen>;
  readonly operations: Operations;
  readonly #changes: Changes<Seen>;
  readonly #definitions: Definitions<Seen>;
  readonly #repairs: Repairs<Seen>;
  readonly snapshots: Snapshots<Seen>;
  readonly networks: Networks<Seen>;
  readonly hooks: Hooks;
  readonly leaseFiles: LeaseFiles;
  readonly upkeep: Upkeep<Seen>;
  readonly #looks: Looks<Seen>;
  readonly #views: Views<Seen>;
  readonly places: Places;
  readonly secrets: Secrets;

  constructor(options: EngineOptions<Seen>) {
    this.#o = options;
    this.places = placesOf(options.config, options.store);
    this.operations = new Operations(options.cores);
    const { host, platform, store, events, config } = options;
    this.#looks = new Looks({ observe: (depth) => platform.observe(host, depth), now: () => host.now() });
    this.#views = new Views({ ...options, operations: this.operations, looks: this.#looks, places: this.places });
    this.secrets = new Secrets({ host, store, config: config.secrets, dir: layout(config).keysDir });
    const { reveal } = this.secrets;
    this.#changes = new Changes({ ...options, looks: this.#looks, reveal });
    const live = (vm: Vm, seen: Seen): Live => this.live(vm, seen);
    const shared = { ...options, looks: this.#looks, changes: this.#changes, reveal };
    this.snapshots = new Snapshots({
      ...shared,
      live,
      vm: (name) => this.vm(name),
      operate: (...asked) => this.#operate(...asked),
    });
    this.upkeep = new Upkeep({ ...shared, operations: this.operations, policy: options.config.reconcile });
    this.networks = new Networks({
      ...shared,
      places: this.places,
      operations: this.operations,
      upkeep: this.upkeep,
      operate: (...asked) => this.#operate(...asked),
    });
    this.hooks = new Hooks({
      host,
      events,
      config: config.hooks,
      describe: (name) => {
        const row = store.findVm(name);
        return row && toTold(row, this.vm(name));
      },
    });
    this.leaseFiles = new LeaseFiles({ host, store, events, places: this.places, config: config.leases });
    this.#definitions = new Definitions({ ...shared, snapshotSteps: (vm) => this.snapshots.stepsOf(vm) });
    this.#repairs = new Repairs({ platform, changes: this.#changes, live });
  }

  /** The whole host as it is now, for all who ask at once. */
  observe(depth: Depth = 'run'): Promise<Seen> {
    return this.#looks.fresh(depth);
  }

  /** Errors: vm.unknown with the nearest name. */
  row(name: string): VmRow {
    const row = this.#o.store.findVm(name);
    if (row) return row;
    throw unknownVm(name, this.#o.store.names());
  }

  vm(name: string): Vm {
    return place(this.row(name), this.places);
  }

  live(vm: Vm, seen: Seen): Live {
    return this.#o.platform.live(seen, vm);
  }

  /** As they were a moment ago. */
  views(rows: readonly VmRow[]): Promise<VmView[]> {
    return this.#views.some(rows);
  }

  listJson(): Promise<Buffer> {
    return this.#views.listJson();
  }

  readonly states = (): Promise<readonly VmState[]> => this.#views.states();

  async show(name: string): Promise<VmView> {
    this.row(name);
    const seen = await this.observe();
    return this.#views.of(this.row(name), seen);
  }

  #operate<T>(
    name: string,
    verb: Operation['verb'],
    request: Request,
    work: (operation: Operation) => Promise<T>,
    owner = this.#o.store.findVm(name)?.spec.owner,
  ): Promise<T> {
    const onBegin = (operation: Operation, ahead: number | undefined): void => {
      request.onBegin?.(operation);
      if (ahead !== undefined) this.#o.events.add('vm.queued', request.cause, name, { verb, ahead });
    };
    return this.operations.run({ id: this.#o.newId(), vm: name, verb, owner, onBegin }, async (operation) => {
      try {
        return await work(operation);
      } catch (error) {
        throw named(verb, name, error);
      } finally {
        this.#looks.forget();
      }
    });
  }

  /** Errors: vm.exists; vm.blocked when this node lacks what the document asks for; the step that failed. */
  async create(spec: VmSpec, request: Request): Promise<VmView> {
    this.#definitions.refuseTaken(spec.name);
    const askedMs = this.#o.host.now();
    const work = async (operation: Operation): Promise<VmView> => {
      await this.#definitions.create(spec, askedMs, operation, request);
      return this.#views.of(this.row(spec.name), await this.observe());
    };
    return await this.#operate(spec.name, 'create', request, work, spec.owner);
  }

  /** Success that does nothing when it runs. Errors: vm.blocked, or the step that failed after all is undone. */
  async start(name: string, request: Request): Promise<Outcome> {
    this.row(name);
    return await this.#operate(name, 'start', request, (operation) => this.#start(name, operation, request));
  }

  async #start(name: string, operation: Operation, request: Request): Promise<Outcome> {
    const { platform, store, events } = this.#o;
    this.snapshots.refuseUnfinished('start', name);
    const vm = this.vm(name);
    const steps = platform.startSteps(vm, operation.id, 0);
    const seen = await this.#changes.look(vm, [...platform.createSteps(vm), ...steps]).catch((error: unknown) => {
      if (this.row(name).intent !== 'running') this.#changes.letGo(vm);
      throw error;
    });
    if (this.#isUp(vm, seen)) return { changed: false };
    let actions: readonly Action[];
    try {
      await this.hooks.prepare(name);
      actions = await this.#planStart(vm, steps, seen);
      this.#changes.journal(operation, vm, steps, operation.id);
    } catch (error) {
      this.#changes.letGo(vm);
      throw error;
    }
    store.setIntent(name, 'running', operation.id);
    try {
      await this.#changes.run(actions, vm, seen, request.cause, { signal: operation.abort.signal });
    } catch (error) {
      throw await this.#unstart(vm, steps, operation.id, request.cause, error);
    }
    store.setTrouble(name, undefined);
    store.endSaga(operation.id);
    events.add('vm.running', request.cause, name, { run: operation.id });
    const downgraded = platform.reduced();
    return { changed: true, ...(downgraded === undefined ? {} : { downgraded }) };
  }

  /** It runs, or its supervisor is about to run it again after the guest has reset. */
  #isUp(vm: Vm, seen: Seen): boolean {
    const { phase, supervised } = this.live(vm, seen);
    return phase === 'running' || (phase === 'booting' && supervised && this.row(vm.spec.name).intent === 'running');
  }

  async #unstart(vm: Vm, steps: readonly Step[], saga: string, cause: Cause, error: unknown): Promise<unknown> {
    const { store, host } = this.#o;
    const name = vm.spec.name;
    const left = await this.#changes.undo(vm, steps, cause);
    store.setIntent(name, 'stopped', saga);
    this.#changes.trouble(vm, 'start', left ?? { kind: 'failed', reason: messageOf(error), atMs: host.now() }, cause);
    store.endSaga(saga);
    return left ? stuck('start', name, { ...left, reason: `${messageOf(error)}; then ${left.reason}` }) : error;
  }

  /** What a start does: the residue of a run that ended badly goes first, then everything is made anew. */
  async #planStart(vm: Vm, steps: readonly Step[], seen: Seen): Promise<Action[]> {
    const { platform, host } = this.#o;
    const { name } = vm.spec;
    const { trouble } = this.row(name);
    if (trouble?.kind === 'stuck')
      throw new BrigError('vm.blocked', `start ${name}: blocked: ${trouble.reason}`, {
        retry: 'operator',
        hint: `brig explain ${name}, then brig resolve ${name}`,
      });
    await this.secrets.check('start', vm.spec);
    const missing = findMissing(platform.catalogue, platform.createSteps(vm), seen);
    this.#changes.refuse(vm, 'start', [...missing, ...(await platform.precheck(host, seen, vm))]);
    const undo = this.#planStop(steps, seen);
    if (undo.length === 0) return planApply(platform.catalogue, steps, seen);
    const made = steps.filter(
      (step) => !this.#changes.isShared(step) || holdsOf(platform.catalogue, step, seen) !== 'yes',
    );
    return [...undo, ...made.map((step): Action => ({ op: 'apply', step }))];
  }

  #planStop(steps: readonly Step[], seen: Seen): Action[] {
    return planUndo(this.#o.platform.catalogue, steps, seen).filter((action) => !this.#changes.isShared(action.step));
  }

  /** Success that does nothing when nothing is there. Errors: saga.stuck with what is left. */
  async stop(name: string, request: Request): Promise<Outcome> {
    this.row(name);
    if (request.graceMs === 0) await this.operations.hasten(name);
    return await this.#operate(name, request.graceMs === 0 ? 'kill' : 'stop', request, (operation) =>
      this.#stop(name, operation, request),
    );
  }

  async #stop(name: string, operation: Operation, request: Request): Promise<Outcome> {
    const { platform, store, events } = this.#o;
    const vm = this.vm(name);
    const row = this.row(name);
    const steps = platform.startSteps(vm, row.run, request.graceMs ?? LIMITS.stopTimeoutMs);
    const seen = await this.#changes.look(vm, steps);
    const wasThere = this.#planStop(steps, seen).length > 0;
    if (!wasThere && row.intent === 'stopped' && !row.trouble) {
      this.#changes.letGo(vm);
      return { changed: false };
    }
    this.#changes.journal(operation, vm, steps, row.run);
    // After a crash the intent stays: whoever cleans up decides what follows.
    if (operation.verb !== 'clean') store.setIntent(name, 'stopped', row.run);
    const left = await this.#changes.undo(vm, steps, request.cause, seen, operation.hurry.signal);
    if (left) this.#changes.trouble(vm, 'stop', left, request.cause);
    else store.setTrouble(name, undefined);
    store.endSaga(operation.id);
    if (left) throw stuck('stop', name, left);
    if (wasThere && operation.verb !== 'clean') events.add('vm.stopped', request.cause, name);
    return { changed: wasThere };
  }

  /** Stop, then start, as one operation. */
  async restart(name: string, request: Request): Promise<Outcome> {
    this.row(name);
    return await this.#operate(name, 'restart', request, async (operation) => {
      await this.secrets.check('restart', this.row(name).spec);
      await this.#stop(name, operation, request);
      return await this.#start(name, operation, request);
    });
  }

  /** Removes what a run that ended by itself left behind; the intent stays. */
  async clean(name: string, cause: Cause): Promise<void> {
    await this.#operate(name, 'clean', { cause }, (operation) => this.#stop(name, operation, { cause, graceMs: 0 }));
  }

  /** After an end that nobody asked for and that is not repaired. */
  giveUp(name: string, cause: Cause, reason: string | undefined): void {
    const { store, host } = this.#o;
    const row = this.row(name);
    store.setIntent(name, 'stopped', row.run);
    if (reason !== undefined)
      this.#changes.trouble(this.vm(name), 'run', { kind: 'failed', reason, atMs: host.now() }, cause);
  }

  /** A start that brigd's own end cut short: kept when it came through, undone otherwise. */
  async recoverStart(name: string, saga: string): Promise<void> {
    await this.#operate(name, 'start', { cause: 'brigd' }, async () => {
      const { platform, store, events } = this.#o;
      const vm = this.vm(name);
      const steps = platform.startSteps(vm, saga, 0);
      const seen = await this.#changes.look(vm, steps);
      if (this.live(vm, seen).phase === 'running') {
        store.setIntent(name, 'running', saga);
        store.setTrouble(name, undefined);
        store.endSaga(saga);
        events.add('vm.running', 'brigd', name, { run: saga });
      } else
        await this.#unstart(
          vm,
          steps,
          saga,
          'brigd',
          new Error('interrupted: brigd ended in the middle of the start; everything was undone'),
        );
    });
  }

  /** A create that was cut short: taken back. */
  async recoverCreate(name: string, saga: string): Promise<void> {
    const vm = this.vm(name);
    await this.#operate(name, 'create', { cause: 'brigd' }, () => this.#definitions.uncreate(vm, saga, 'brigd'));
  }

  /** Removes the VM, its disks and its leases; data goes last. Errors: vm.blocked while it runs, unless forced. */
  async destroy(name: string, request: Request & { readonly force?: boolean }): Promise<Outcome> {
    this.row(name);
    return await this.#operate(name, 'destroy', request, async (operation) => {
      const vm = this.vm(name);
      const { phase } = this.live(vm, await this.observe());
      if ((phase === 'running' || phase === 'booting') && !request.force)
        throw new BrigError('vm.blocked', `destroy ${name}: blocked: it is running`, {
          retry: 'operator',
          hint: `brig stop ${name}, or brig destroy --force ${name}`,
        });
      await this.#definitions.destroy(vm, this.row(name).run, operation, request);
      return { changed: true };
    });
  }

  /** Goes on with what got stuck, after a person mended what was in its way. Success that does nothing when nothing is. */
  async resolve(name: string, request: Request): Promise<Outcome> {
    const { trouble } = this.row(name);
    const rollback = this.snapshots.unfinished(name);
    if (rollback) {
      await this.snapshots.recover(rollback);
      return { changed: true };
    }
    if (trouble?.kind !== 'stuck') return { changed: false };
    if (trouble.verb === 'create' || trouble.verb === 'destroy')
      return await this.destroy(name, { ...request, force: true });
    await this.stop(name, request);
    return { changed: true };
  }

  /** The very actions that start, stop or destroy would run now. Errors: as theirs, before anything is touched. */
  async plan(verb: 'start' | 'stop' | 'destroy', name: string, graceMs: number): Promise<PlanLine[]> {
    const { platform } = this.#o;
    const vm = this.vm(name);
    const steps = platform.startSteps(vm, verb === 'start' ? this.#o.newId() : this.row(name).run, graceMs);
    const data = [...platform.createSteps(vm), ...(verb === 'destroy' ? this.snapshots.stepsOf(vm) : [])];
    const seen = await this.#changes.observe(vm, [...data, ...steps]);
    const actions = await this.#planFor(verb, vm, steps, seen);
    return actions.map((action) => this.#changes.line(action, seen));
  }

  async #planFor(verb: 'start' | 'stop' | 'destroy', vm: Vm, steps: readonly Step[], seen: Seen): Promise<Action[]> {
    if (verb === 'start') return this.#isUp(vm, seen) ? [] : await this.#planStart(vm, steps, seen);
    const all =
      verb === 'stop' ? steps : [...this.#o.platform.createSteps(vm), ...this.snapshots.stepsOf(vm), ...steps];
    return planUndo(this.#o.platform.catalogue, all, seen);
  }

  /** What somebody changed by hand about a running VM: exact, and nothing is touched. */
  examine(name: string): Promise<Difference[]> {
    return this.#repairs.examine(this.vm(name), this.row(name));
  }

  /** Mends it while the guest runs on; `mayRepair` may give a reason not to. Errors: vm.blocked while it is changed. */
  repair(name: string, mayRepair: (key: string) => string | undefined): Promise<Difference[]> {
    this.row(name);
    return this.#operate(name, 'repair', { cause: 'brigd' }, () =>
      this.#repairs.repair(this.vm(name), this.row(name), mayRepair),
    );
  }

  /** Keys of a running VM's parts that do not hold, as far as an observation of the whole host tells; `all`: disks too. */
  broken(row: VmRow, seen: Seen, depth: Depth): string[] {
    return this.#repairs.broken(place(row, this.places), row, seen, depth);
  }

  /** The claims of a VM that runs already, after brigd's own restart. */
  async adopt(vm: Vm): Promise<void> {
    await this.#changes.claim(vm, this.#o.platform.startSteps(vm, '', 0));
  }
}
