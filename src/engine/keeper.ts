import type { Host } from '../base/host.ts';
import { messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Layout } from '../platform/layout.ts';
import { parseExitFile, renderExit, toExit, type Exit } from '../platform/exit.ts';
import type { Store } from '../store/store.ts';
import type { EventRow, SagaRow, VmRow } from '../store/rows.ts';
import { Allowed } from './allowed.ts';
import type { Boot } from './boot.ts';
import { isOfNetwork } from './networks.ts';
import type { Engine } from './engine.ts';
import { isOfData } from './operation.ts';
import type { EventLog } from './events.ts';
import type { Reconciler } from './reconcile.ts';
import type { Schedule } from './schedule.ts';
import { causeOf, decide, type Decision } from './restart.ts';

export interface KeeperOptions<Seen> {
  readonly host: Host;
  readonly engine: Engine<Seen>;
  readonly store: Store;
  readonly events: EventLog;
  readonly layout: Layout;
  readonly reconciler: Reconciler<Seen>;
  readonly boot: Boot<Seen>;
  readonly schedule: Schedule<Seen>;
  /** Whether what brigd itself needs is where it was. */
  readonly isPrepared: () => Promise<boolean>;
  /** Makes what brigd itself needs; what is there stays. */
  readonly prepare: () => Promise<void>;
}

/** A run that ended, and what follows. */
interface End {
  readonly row: VmRow;
  readonly cause: 'guest' | 'crash';
  readonly decision: Decision;
  readonly reason: string | undefined;
}

/** Nobody saw how it ended: the supervisor was killed too, or the host went down. */
const UNKNOWN: Exit = toExit(255, '');

/** Keeps what is asked for and what is there together: recovery, adoption, restarts after a crash. */
export class Keeper<Seen> {
  readonly #o: KeeperOptions<Seen>;
  /** When runs of a VM ended by themselves lately. */
  readonly #ends = new Map<string, readonly number[]>();
  readonly #resets = new Map<string, string>();
  /** The run of each VM whose end is dealt with; its exit file stays until the next start. */
  readonly #handled = new Map<string, string>();
  /** Ends whose clean-up did not come through. */
  readonly #unfinished = new Set<End>();
  /** Sagas of an earlier brigd that were taken up; told once. */
  readonly #recovered = new Set<string>();
  #closed = false;
  #allowed: Allowed | undefined;
  #unlisten: (() => void) | undefined;
  #said = '';
  #watch: { close(): void } | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(options: KeeperOptions<Seen>) {
    this.#o = options;
  }

  /** Finishes or takes back what was under way, adopts what runs, then watches. */
  async open(): Promise<void> {
    const { host, layout, events, store } = this.#o;
    events.add('brigd.started', 'brigd', undefined, { epoch: store.epoch });
    this.#allowed = new Allowed(store);
    this.#unlisten = events.listen((event) => this.#heed(event));
    for (const saga of store.listSagas()) await this.#guard(saga.vm, () => this.#resume(saga));
    await this.#o.engine.networks.open();
    const rebooted = (await host.stat(layout.booted)) === undefined;
    await this.#adopt(rebooted);
    await host.writeFile(layout.booted, '', { mode: 0o600, uid: 0, gid: 0 });
    this.#listen();
    void this.#loop();
    void this.#o.boot.start(rebooted);
  }

  /** Whom a person starts has a clean slate. */
  #heed(event: EventRow): void {
    const { kind, cause, vm } = event;
    if (vm === undefined) return;
    for (const name of this.#allowed?.after(event) ?? []) void this.#o.reconciler.check(name);
    if (kind === 'vm.destroyed' || (kind === 'vm.running' && cause === 'operator')) this.#ends.set(vm, []);
    if (kind !== 'vm.destroyed') return;
    for (const known of [this.#ends, this.#resets, this.#handled]) known.delete(vm);
  }

  #listen(): void {
    this.#watch?.close();
    this.#watch = this.#o.host.watch(this.#o.layout.exits, () => this.check());
  }

  close(): void {
    this.#closed = true;
    this.#unlisten?.();
    this.#o.boot.close();
    this.#watch?.close();
  }

  /** Looks for ended runs now; one look at a time. */
  check(): void {
    this.#work = this.#work
      .then(() => (this.#closed ? undefined : this.#checkExits()))
      .catch((error: unknown) => this.#tell('brigd.failed', undefined, error));
  }

  /** Resolves when the looks asked for so far are over. */
  settled(): Promise<void> {
    return this.#work;
  }

  async #loop(): Promise<void> {
    while (!this.#closed) {
      await this.#o.host.sleep(LIMITS.reconcileEveryMs);
      await this.pass();
    }
  }

  /** Compares the whole host with what is asked for, now; resolves when that is done, repairs go on behind it. */
  pass(): Promise<void> {
    return (this.#work = this.#work
      .then(() => (this.#closed ? undefined : this.#reconcile()))
      .catch((error: unknown) => this.#tell('brigd.failed', undefined, error)));
  }

  #tell(kind: string, vm: string | undefined, error: unknown): void {
    const reason = messageOf(error);
    // The loop would say the same every few seconds.
    if (this.#closed || this.#said === `${kind} ${reason}`) return;
    this.#said = `${kind} ${reason}`;
    this.#o.events.add(kind, 'brigd', vm, { reason });
  }

  async #guard(vm: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#tell('vm.recovery-failed', vm, error);
    }
  }

  #resume(saga: SagaRow): Promise<void> {
    return isOfNetwork(saga) ? this.#o.engine.networks.recover(saga) : this.#recover(saga);
  }

  /** Asks the host, never the journal, how far it came. */
  async #recover(saga: SagaRow): Promise<void> {
    const { engine, store } = this.#o;
    if (!store.findVm(saga.vm)) return store.endSaga(saga.id);
    if (!this.#recovered.has(saga.id))
      this.#o.events.add('saga.recovered', 'brigd', saga.vm, { verb: saga.verb, epoch: saga.epoch });
    this.#recovered.add(saga.id);
    // What has run has data: whatever the journal says, its disks are not taken back.
    if (saga.verb === 'create' && store.findVm(saga.vm)?.run !== '') return store.endSaga(saga.id);
    if (saga.verb === 'create') return await engine.recoverCreate(saga.vm, saga.id);
    if (saga.verb === 'start' || (saga.verb === 'restart' && saga.run === saga.id))
      return await engine.recoverStart(saga.vm, saga.id);
    if (isOfData(saga.verb)) return await engine.snapshots.recover(saga);
    try {
      if (saga.verb === 'destroy') await engine.destroy(saga.vm, { cause: 'brigd', force: true });
      else if (saga.verb === 'clean') await engine.clean(saga.vm, 'brigd');
      else await engine.stop(saga.vm, { cause: 'brigd', ...(saga.verb === 'kill' ? { graceMs: 0 } : {}) });
      if (saga.verb === 'restart') await engine.start(saga.vm, { cause: 'brigd' });
    } finally {
      store.endSaga(saga.id);
    }
  }

  async #adopt(rebooted: boolean): Promise<void> {
    const { engine, store, events } = this.#o;
    const seen = await engine.observe();
    for (const row of store.listVms().filter((each) => each.intent === 'running')) {
      const vm = engine.vm(row.name);
      const { phase } = engine.live(vm, seen);
      if (phase === 'running' || phase === 'booting') {
        await engine.adopt(vm);
        events.add('vm.adopted', 'brigd', row.name, { run: row.run });
      } else if (rebooted) await this.#guard(row.name, () => this.#lost(row));
    }
  }

  /** It ran when the host went down. */
  async #lost(row: VmRow): Promise<void> {
    const { engine, store, host, events } = this.#o;
    store.setLastEnd(row.name, { exit: 'host went down', cause: 'host', atMs: host.now(), run: row.run });
    events.add('vm.ended', 'host', row.name, { exit: 'host went down' });
    await engine.clean(row.name, 'host');
    engine.giveUp(row.name, 'host', undefined);
  }

  async #checkExits(): Promise<void> {
    const { host, layout, store } = this.#o;
    if (!(await this.#o.isPrepared())) await this.#remake();
    for (const entry of (await host.list(layout.exits)) ?? []) {
      const name = entry.replace(/\.resets$/, '');
      const row = store.findVm(name);
      if (!row || row.intent !== 'running') continue;
      if (entry === name) await this.#checkExit(row);
      else await this.#checkResets(row);
    }
  }

  /** Somebody cleaned brigd's own directory. */
  async #remake(): Promise<void> {
    await this.#o.prepare();
    this.#listen();
    this.#o.events.add('brigd.repaired', 'brigd', undefined);
  }

  async #checkExit(row: VmRow): Promise<void> {
    const record = await this.#readExit(row);
    if (record) this.#ended(row, record);
  }

  async #readExit(row: VmRow): Promise<Exit | undefined> {
    const { host, layout } = this.#o;
    const files = layout.vm(row.name);
    const text = await host.readFile(files.exit);
    if (text === undefined) return undefined;
    const record = parseExitFile(text, (await host.readFile(files.err)) ?? '');
    return record?.run === row.run ? record.exit : undefined;
  }

  async #checkResets(row: VmRow): Promise<void> {
    const text = (await this.#o.host.readFile(this.#o.layout.vm(row.name).resets)) ?? '';
    const [run, count] = text.split(' ');
    if (run !== row.run || this.#resets.get(row.name) === text) return;
    this.#resets.set(row.name, text);
    this.#o.events.add('vm.reset', 'guest', row.name, { count: Number(count) });
  }

  /** Who is gone without an exit file, and what people changed: asked of the host, once for all. */
  async #reconcile(): Promise<void> {
    const { engine, store, reconciler } = this.#o;
    await this.#retry();
    await this.#checkExits();
    const rows = store.listVms();
    const idle = rows.filter((row) => row.intent === 'running' && !engine.operations.find(row.name));
    const { seen, depth } = await reconciler.observe();
    for (const row of idle) {
      const { phase } = engine.live(engine.vm(row.name), seen);
      if (phase === 'absent' || phase === 'residue') this.#ended(row, (await this.#readExit(row)) ?? UNKNOWN);
    }
    this.#o.schedule.pass();
    engine.networks.jails.pass(seen);
    engine.upkeep.pass(seen);
    await reconciler.pass(rows, seen, depth);
  }

  /** Does what the restart policy says; nobody waits for it, for others end meanwhile. */
  #ended(row: VmRow, exit: Exit): void {
    const { engine, store, events, host } = this.#o;
    const { name } = row;
    const current = store.findVm(name);
    // Somebody stops or starts it right now, or did since.
    if (
      engine.operations.find(name) ||
      current?.intent !== 'running' ||
      current.run !== row.run ||
      this.#handled.get(name) === row.run
    )
      return;
    this.#handled.set(name, row.run);
    const cause = causeOf(exit);
    const text = renderExit(exit);
    // An earlier brigd may have told it, and ended before what follows from it.
    const isTold = current.lastEnd?.run === row.run;
    const ends = this.#endsOf(row).slice(0, isTold ? -1 : undefined);
    const decision = decide(row.spec.restart, exit, ends, host.now());
    this.#ends.set(name, [...ends.slice(-row.spec.restart.max), host.now()]);
    if (!isTold) {
      events.add('vm.ended', cause, name, { exit: text, status: exit.status, restart: decision.restart });
      store.setLastEnd(name, { exit: text, cause, atMs: host.now(), run: row.run });
    }
    const reason = decision.restart
      ? undefined
      : (decision.reason ?? (cause === 'crash' ? `crashed: ${text}` : undefined));
    void this.#follow({ row, cause, decision, reason });
  }

  /** After brigd's own restart the log remembers: a crash loop does not begin anew with it. */
  #endsOf({ name, spec }: VmRow): readonly number[] {
    const known = this.#ends.get(name);
    if (known) return known;
    const sinceMs = this.#o.host.now() - spec.restart.windowSeconds * 1000;
    const kinds = ['vm.ended', 'vm.running'];
    const logged = this.#o.store.eventsSince(sinceMs, name, kinds);
    const fresh = logged.findLastIndex(({ kind, cause }) => kind === 'vm.running' && cause === 'operator');
    return logged.slice(fresh + 1).flatMap(({ kind, atMs }) => (kind === 'vm.ended' ? [atMs] : []));
  }

  /** Cleans up, then starts it again or gives up. */
  async #follow(end: End): Promise<void> {
    const { engine, store } = this.#o;
    const { row, cause, decision, reason } = end;
    await this.#guard(row.name, async () => {
      try {
        await engine.clean(row.name, cause);
      } catch (error) {
        // What got stuck is told; a host that did not answer is asked again by the next pass.
        if (store.findVm(row.name)?.trouble?.kind !== 'stuck') this.#unfinished.add(end);
        throw error;
      }
      if (decision.restart) void this.#again(row.name, cause, decision.afterMs);
      else engine.giveUp(row.name, cause, reason);
    });
  }

  /** What the host did not let through before. */
  async #retry(): Promise<void> {
    const { engine, store } = this.#o;
    for (const saga of store.listSagas())
      if (!engine.operations.find(saga.vm) && !this.#isTold(saga)) await this.#guard(saga.vm, () => this.#resume(saga));
    for (const end of [...this.#unfinished]) {
      this.#unfinished.delete(end);
      const row = store.findVm(end.row.name);
      if (row?.run === end.row.run && row.intent === 'running' && !engine.operations.find(row.name))
        void this.#follow(end);
    }
  }

  /** A rollback that is stuck waits for a person, and keeps what is left to do. */
  #isTold({ vm, verb }: SagaRow): boolean {
    return verb === 'rollback' && this.#o.store.findVm(vm)?.trouble?.kind === 'stuck';
  }

  async #again(name: string, cause: 'guest' | 'crash', afterMs: number): Promise<void> {
    await this.#o.host.sleep(afterMs);
    const row = this.#o.store.findVm(name);
    // A person stopped it, or started it, while it waited.
    if (this.#closed || row?.intent !== 'running' || this.#o.engine.operations.find(name)) return;
    await this.#guard(name, () => this.#o.engine.start(name, { cause }));
  }
}
