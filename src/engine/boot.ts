import type { Host } from '../base/host.ts';
import { messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Layout } from '../platform/layout.ts';
import type { Store } from '../store/store.ts';
import type { VmRow } from '../store/rows.ts';
import type { Engine } from './engine.ts';
import type { EventLog } from './events.ts';
import { depthsOf, planOrder, reverseOrder, runInOrder, type Order } from './order.ts';
import { Readiness } from './ready.ts';

export interface BootOptions<Seen> {
  readonly host: Host;
  readonly engine: Engine<Seen>;
  readonly store: Store;
  readonly events: EventLog;
  readonly layout: Layout;
  /** Starts at once: one for each core. */
  readonly parallel: number;
}

/** What became of the VMs that ran. Shape is stable. */
export interface ShutdownEnd {
  /** In the order in which they ended. */
  readonly stopped: readonly string[];
  readonly failed: readonly { readonly vm: string; readonly reason: string }[];
}

const orderOf = (rows: readonly VmRow[]): Order =>
  planOrder(rows.map(({ name, spec: { boot } }) => ({ name, priority: boot.priority, after: boot.after })));

/**
 * Its part of the time that is left, when so many turns follow one after the other, its own included: all but a reserve
 * for the later ones, and never less than an equal share.
 */
export const shareOf = (leftMs: number, turns: number): number =>
  Math.max(0, Math.floor(Math.max(leftMs / turns, leftMs - (turns - 1) * LIMITS.shutdownReserveMs)));

/** Brings a node's VMs up in their order after a boot, and down in the opposite one. */
export class Boot<Seen> {
  readonly #o: BootOptions<Seen>;
  readonly #waits = new Map<string, Readiness>();
  #closed = false;
  /** The boot is over, whether everything has started or not. */
  #isDown = false;
  #ending: Promise<ShutdownEnd> | undefined;

  constructor(options: BootOptions<Seen>) {
    this.#o = options;
  }

  /** Nothing is started or told any more; what is under way is its operation's. */
  close(): void {
    this.#closed = true;
  }

  #tell(kind: string, vm: string | undefined, data: Readonly<Record<string, unknown>>): void {
    if (!this.#closed) this.#o.events.add(kind, 'host', vm, data);
  }

  /**
   * After a boot of the host: starts every VM whose document says autostart, each when those it comes after are ready.
   * Otherwise goes on where an earlier brigd was interrupted in that. Never rejects.
   */
  async start(rebooted: boolean): Promise<void> {
    const { host, layout, store } = this.#o;
    try {
      const rows = store.listVms().filter((row) => row.spec.autostart);
      const begun = rebooted ? undefined : await host.readFile(layout.booting);
      if (rows.length === 0 || (!rebooted && begun === undefined)) return;
      const access = { mode: 0o600, uid: 0, gid: 0 };
      // A full disk costs who comes after an interruption, not the boot.
      if (rebooted) await host.writeFile(layout.booting, String(host.now()), access).catch(() => undefined);
      await this.#startAll(rows, begun === undefined ? undefined : Number(begun));
      if (!this.#closed) await host.remove(layout.booting);
    } catch (error) {
      this.#tell('boot.failed', undefined, { reason: messageOf(error) });
    }
  }

  async #startAll(rows: readonly VmRow[], resumedMs: number | undefined): Promise<void> {
    const order = orderOf(rows);
    for (const members of order.cycles) this.#tell('boot.circle', undefined, { vms: members });
    for (const { name, after } of order.missing) this.#tell('boot.ignored', name, { after });
    const { ready, failed, skipped } = await runInOrder(order.items, {
      parallel: this.#o.parallel,
      work: (name) => this.#start(name, resumedMs),
      ready: (name) => this.#ready(name),
      skipped: (name, because) => this.#tell('vm.not-started', name, { reason: `it waits for ${because}`, because }),
    });
    this.#tell('boot.done', undefined, { ready: ready.length, failed: failed.length, skipped: skipped.length });
  }

  async #start(name: string, resumedMs: number | undefined): Promise<void> {
    const { engine } = this.#o;
    try {
      if (this.#closed || this.#isDown) throw new Error('the node shuts down');
      // Whatever somebody else has begun decides how it goes on.
      await engine.operations.find(name)?.done;
      const row = engine.row(name);
      if (resumedMs !== undefined && this.#hasEnded(row, resumedMs)) throw new Error('it ended in the meantime');
      const wait = await this.#readiness(row);
      const { changed } = await engine.start(name, { cause: 'host' });
      this.#waits.set(name, changed ? wait : wait.fromTheBeginning());
    } catch (error) {
      this.#tell('vm.not-started', name, { reason: messageOf(error).slice(0, LIMITS.quotedBytes) });
      throw error;
    }
  }

  /** It ran since the boot began, and somebody or itself has stopped it. */
  #hasEnded(row: VmRow, sinceMs: number): boolean {
    if (row.intent === 'running') return false;
    const events = this.#o.events.last(LIMITS.bootEvents, row.name);
    return events.some(({ kind, atMs }) => kind === 'vm.running' && atMs >= sinceMs);
  }

  #readiness({ name, spec: { boot } }: VmRow): Promise<Readiness> {
    const { host, store, layout } = this.#o;
    const isUp = (): boolean => !this.#closed && store.findVm(name)?.intent === 'running';
    return Readiness.before({ host, boot, consoleLog: layout.vm(name).consoleLog, isUp });
  }

  async #ready(name: string): Promise<void> {
    const reason = await this.#waits.get(name)?.wait().catch(messageOf);
    this.#waits.delete(name);
    if (reason === undefined) return;
    this.#tell('vm.not-ready', name, { reason });
    throw new Error(reason);
  }

  /**
   * Stops every VM that runs, whoever waits for another before it, within `forMs` as gracefully as that allows; what is
   * still there then is killed. One shutdown at a time: who asks again gets the same. Never rejects.
   */
  shutdown(forMs: number): Promise<ShutdownEnd> {
    this.#isDown = true;
    this.#ending ??= this.#shutdown(forMs).finally(() => (this.#ending = undefined));
    return this.#ending;
  }

  async #shutdown(forMs: number): Promise<ShutdownEnd> {
    const { host, events } = this.#o;
    const deadline = host.now() + forMs;
    const stopped = new Set<string>();
    const failed = new Map<string, string>();
    events.add('shutdown.started', 'operator', undefined, { graceMs: forMs });
    for (let round = 0; round < LIMITS.shutdownRounds; round++) {
      const rows = (await this.#running()).filter((row) => !failed.has(row.name));
      if (rows.length === 0) break;
      await this.#stopAll(rows, deadline, stopped, failed);
    }
    events.add('shutdown.done', 'operator', undefined, { stopped: stopped.size, failed: failed.size });
    return { stopped: [...stopped], failed: [...failed].map(([vm, reason]) => ({ vm, reason })) };
  }

  /** What is to run, what does, and what is on its way there or back. */
  async #running(): Promise<VmRow[]> {
    const { engine, store } = this.#o;
    // A host that does not answer is no reason to leave them running.
    const seen = await engine.observe().catch(() => undefined);
    const isUp = (row: VmRow): boolean => {
      const verb = engine.operations.find(row.name)?.verb;
      if (row.intent === 'running' || verb === 'start' || verb === 'restart' || verb === 'stop') return true;
      const phase = seen === undefined ? 'absent' : engine.live(engine.vm(row.name), seen).phase;
      return phase === 'running' || phase === 'booting';
    };
    return store.listVms().filter(isUp);
  }

  async #stopAll(
    rows: readonly VmRow[],
    deadline: number,
    stopped: Set<string>,
    failed: Map<string, string>,
  ): Promise<void> {
    const items = reverseOrder(orderOf(rows).items);
    const depths = depthsOf(items);
    const parallel = this.#o.parallel * LIMITS.waitsPerCore;
    let waiting = rows.length;
    await runInOrder(items, {
      parallel,
      work: async (name) => {
        const turns = Math.max(depths.get(name) ?? 1, Math.ceil(waiting-- / parallel));
        try {
          await this.#stop(name, deadline, turns);
          stopped.add(name);
        } catch (error) {
          // Those it depends on go down all the same.
          failed.set(name, messageOf(error));
        }
      },
    });
  }

  async #stop(name: string, deadline: number, turns: number): Promise<void> {
    const { engine, host, store } = this.#o;
    const leftMs = (): number => shareOf(deadline - host.now(), turns);
    const other = engine.operations.find(name);
    if (other?.verb === 'start' || other?.verb === 'restart') other.abort.abort();
    if (other) await Promise.race([other.done, host.sleep(Math.max(leftMs(), LIMITS.stopStageMs))]);
    // Who is still at it had his time.
    const isLate = other !== undefined && engine.operations.find(name) === other;
    if (store.findVm(name)) await engine.stop(name, { cause: 'operator', graceMs: isLate ? 0 : leftMs() });
  }
}
