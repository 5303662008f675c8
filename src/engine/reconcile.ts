import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Depth, Platform, Trace } from '../platform/platform.ts';
import { renderCommand } from '../saga/perform.ts';
import type { Store } from '../store/store.ts';
import type { FindingRow, VmRow } from '../store/rows.ts';
import type { Engine } from './engine.ts';
import type { EventLog } from './events.ts';
import type { Difference } from './repair.ts';

export interface ReconcileOptions<Seen> {
  readonly host: Host;
  readonly platform: Platform<Seen>;
  readonly engine: Engine<Seen>;
  readonly store: Store;
  readonly events: EventLog;
  /** What becomes of what people changed by hand. */
  readonly policy: 'repair' | 'report';
  /** Repairs at once. */
  readonly parallel: number;
}

/** A VM that cannot be made whole is left alone until then, or until more of it breaks. */
interface Quiet {
  readonly keys: ReadonlySet<string>;
  readonly untilMs: number;
}

const STRAY = 'stray';

/**
 * Compares the whole host with what brig made, once for all VMs, and mends what differs.
 * A pass over a healthy host runs no command but those that look.
 */
export class Reconciler<Seen> {
  readonly #o: ReconcileOptions<Seen>;
  readonly #findings = new Map<string, Map<string, FindingRow>>();
  readonly #repairs = new Map<string, number[]>();
  readonly #quiet = new Map<string, Quiet>();
  /** Traces of VMs that do not run, as of the last pass: a start or stop may just be on its way. */
  #traced = new Set<string>();
  #passes = 0;
  #turns = 0;
  #mending: Promise<void> | undefined;

  constructor(options: ReconcileOptions<Seen>) {
    this.#o = options;
    for (const row of options.store.listFindings()) this.#of(row.vm).set(row.key, row);
  }

  #of(vm: string): Map<string, FindingRow> {
    let found = this.#findings.get(vm);
    if (!found) this.#findings.set(vm, (found = new Map<string, FindingRow>()));
    return found;
  }

  /** What is not as it should be now, of one VM or of the node. */
  findings(vm?: string): FindingRow[] {
    if (vm !== undefined) return [...(this.#findings.get(vm)?.values() ?? [])];
    return [...this.#findings.values()].flatMap((each) => [...each.values()]);
  }

  /** One observation for all VMs; some passes ask zfs(8) too, the others look closer at one VM in turn. */
  async observe(): Promise<{ readonly seen: Seen; readonly depth: Depth }> {
    const depth = this.#passes++ % LIMITS.reconcileDeepEvery === 0 ? 'all' : 'run';
    return { seen: await this.#o.engine.observe(depth), depth };
  }

  /** Resolves when nothing is being mended. */
  async settled(): Promise<void> {
    await this.#mending;
  }

  /** `rows`: every VM of this node. Repairs go on behind it: the ends of other VMs must not wait for them. */
  async pass(rows: readonly VmRow[], seen: Seen, depth: Depth): Promise<void> {
    const { engine } = this.#o;
    const idle = rows.filter((row) => !engine.operations.find(row.name));
    const running = idle.filter(
      (row) => row.intent === 'running' && engine.live(engine.vm(row.name), seen).phase === 'running',
    );
    this.#forget(rows, running);
    const suspects = running.filter((row) => this.#isSuspect(row, engine.broken(row, seen, depth), depth));
    if (depth === 'run') suspects.push(...(await this.#lookCloser(running, seen)));
    const residue = this.#traces(rows, idle, seen);
    if (this.#mending || suspects.length + residue.length === 0) return;
    this.#mending = this.#mendAll([
      ...new Map(suspects.map((row) => [row.name, () => this.#mend(row)])).values(),
      ...residue.map((row) => () => this.#clean(row)),
    ]).finally(() => (this.#mending = undefined));
  }

  #isSuspect(row: VmRow, broken: readonly string[], depth: Depth): boolean {
    const quiet = this.#quiet.get(row.name);
    if (!quiet) return broken.length > 0 || this.#findings.has(row.name);
    const isWorse = broken.some((key) => !quiet.keys.has(key));
    return isWorse || this.#o.host.now() >= quiet.untilMs || (depth === 'all' && this.#isMended(row, broken, true));
  }

  /** Something that was found is not among what such a look finds: data, or what a run is made of. */
  #isMended(row: VmRow, broken: readonly string[], isData: boolean): boolean {
    const { catalogue } = this.#o.platform;
    const isOf = ({ step }: FindingRow): boolean => (catalogue[step]?.keeps ?? false) === isData;
    return this.findings(row.name).some((found) => isOf(found) && !broken.includes(found.key));
  }

  /** One VM a pass, so that the cost of a pass does not grow with their number; those with findings more often. */
  async #lookCloser(running: readonly VmRow[], seen: Seen): Promise<VmRow[]> {
    const { platform, engine, host } = this.#o;
    const troubled = running.filter((row) => this.#findings.has(row.name));
    const turn = this.#turns++;
    const choice = turn % 2 === 1 && troubled.length > 0 ? troubled : running;
    const row = choice[Math.floor(choice === running ? turn : turn / 2) % Math.max(choice.length, 1)];
    if (!row) return [];
    const broken = engine.broken(row, await platform.look(host, seen, engine.vm(row.name)), 'run');
    return this.#isMended(row, broken, false) || this.#isSuspect(row, broken, 'run') ? [row] : [];
  }

  /** Findings of VMs that are gone or stopped say nothing any more. */
  #forget(rows: readonly VmRow[], running: readonly VmRow[]): void {
    if (this.#findings.size === 0) return;
    const stopped = new Set(rows.filter((row) => row.intent === 'stopped').map((row) => row.name));
    const known = new Set(rows.map((row) => row.name));
    const runs = new Set(running.map((row) => row.name));
    for (const [vm, found] of this.#findings)
      for (const { key, step } of found.values()) {
        const isOver = step === STRAY ? runs.has(vm) : stopped.has(vm) || !known.has(vm);
        if (isOver) this.#drop(vm, key);
      }
  }

  async #mendAll(work: readonly (() => Promise<void>)[]): Promise<void> {
    const queue = [...work];
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) await next();
    };
    await Promise.all(Array.from({ length: Math.min(this.#o.parallel, queue.length) }, worker));
  }

  /** A running VM, now. */
  async check(name: string): Promise<void> {
    const row = this.#o.store.findVm(name);
    if (row) await this.#mend(row);
  }

  async #mend({ name }: VmRow): Promise<void> {
    const { engine, policy, events } = this.#o;
    try {
      const found =
        policy === 'repair'
          ? await engine.repair(name, (key) => this.#mayRepair(name, key))
          : await engine.examine(name);
      this.#record(name, found);
    } catch (error) {
      // Somebody began a start, a stop or a destroy; or the host does not answer, which the next pass tells.
      if (this.#o.store.findVm(name) && !engine.operations.find(name))
        events.add('finding.unchecked', 'brigd', name, { reason: messageOf(error) });
    }
  }

  /** Never fought over: a reason not to. */
  #mayRepair(vm: string, key: string): string | undefined {
    const now = this.#o.host.now();
    const id = `${vm} ${key}`;
    const recent = (this.#repairs.get(id) ?? []).filter((at) => now - at < LIMITS.repairWindowMs);
    if (recent.length >= LIMITS.repairs)
      return `repaired ${recent.length} times within ${LIMITS.repairWindowMs / 1000} s: somebody takes it away again`;
    this.#repairs.set(id, [...recent, now]);
    return undefined;
  }

  #record(vm: string, found: readonly Difference[]): void {
    const { events, host } = this.#o;
    const left = new Map<string, Difference & { state: 'open' | 'refused' }>();
    for (const each of found)
      if (each.state === 'repaired') {
        events.add('vm.repaired', 'brigd', vm, { step: each.step, because: each.because });
        this.#drop(vm, each.key, true);
      } else left.set(each.key, { ...each, state: each.state });
    for (const key of [...(this.#findings.get(vm)?.keys() ?? [])]) if (!left.has(key)) this.#drop(vm, key);
    for (const each of left.values()) this.#put(vm, each);
    if (left.size === 0) this.#quiet.delete(vm);
    else this.#quiet.set(vm, { keys: new Set(left.keys()), untilMs: host.now() + LIMITS.repairAgainMs });
  }

  #put(vm: string, found: Omit<FindingRow, 'vm' | 'sinceMs'>): void {
    const { store, events, host } = this.#o;
    const { key, step, because, state, reason, commands } = found;
    const old = this.#findings.get(vm)?.get(key);
    if (old?.state === state && old.reason === reason) return;
    const why = reason === undefined ? {} : { reason };
    const row = { vm, key, step, because, state, ...why, commands, sinceMs: old?.sinceMs ?? host.now() };
    this.#of(vm).set(key, row);
    store.putFinding(row);
    events.add('finding.found', 'host', vm, { step, because, state, ...why });
  }

  #drop(vm: string, key: string, isRepaired = false): void {
    const found = this.#findings.get(vm);
    const row = found?.get(key);
    if (!found || !row) return;
    found.delete(key);
    if (found.size === 0) {
      this.#findings.delete(vm);
      this.#quiet.delete(vm);
    }
    this.#o.store.removeFinding(vm, key);
    if (!isRepaired) this.#o.events.add('finding.gone', 'host', vm, { step: row.step, because: row.because });
  }

  /** What carries brig's mark and belongs to no run: VMs of this node to clean up; of others it only tells. */
  #traces(rows: readonly VmRow[], idle: readonly VmRow[], seen: Seen): VmRow[] {
    const owned = this.#o.platform.owned(seen);
    const known = new Set(rows.map((row) => row.name));
    const stopped = idle.filter(
      (row) => row.intent === 'stopped' && row.trouble?.kind !== 'stuck' && owned.has(row.name),
    );
    const strange = [...owned].filter(([name]) => !known.has(name));
    const before = this.#traced;
    this.#traced = new Set([...stopped.map((row) => row.name), ...strange.map(([name]) => name)]);
    for (const [name, traces] of strange) if (before.has(name)) this.#put(name, stray(traces));
    for (const [name, found] of this.#findings) if (found.has(STRAY) && !owned.has(name)) this.#drop(name, STRAY);
    return stopped.filter((row) => before.has(row.name) && !this.#findings.get(row.name)?.has(STRAY));
  }

  /** What a run of this VM left behind, or somebody made in its name. */
  async #clean(row: VmRow): Promise<void> {
    const { engine, platform, policy, events } = this.#o;
    try {
      const vm = engine.vm(row.name);
      const { phase } = engine.live(vm, await engine.observe());
      const mayClean = policy === 'repair' && (phase === 'residue' || phase === 'absent');
      if (mayClean) await engine.clean(row.name, 'brigd');
      const traces = platform.owned(await engine.observe()).get(row.name);
      if (traces) this.#put(row.name, stray(traces));
      else if (mayClean) events.add('vm.cleaned', 'brigd', row.name);
    } catch (error) {
      events.add('finding.unchecked', 'brigd', row.name, { reason: messageOf(error) });
    }
  }
}

/** Not removed: whoever made it in brig's name may need it, and another brig may run here. */
const stray = (traces: readonly Trace[]): Omit<FindingRow, 'vm' | 'sinceMs'> => ({
  key: STRAY,
  step: STRAY,
  because: `it carries brig's mark, and no VM that runs here has it: ${traces.map(({ what }) => what).join(', ')}`,
  state: 'refused',
  reason: "brig did not make it in this run, so it may be somebody's: remove it by hand",
  commands: traces.map(({ remove }) => renderCommand(remove)),
});
