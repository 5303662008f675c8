import type { Step } from '../base/step.ts';
import { LIMITS } from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import { definitionOf, holdsOf, planApply, planRepair } from '../saga/run.ts';
import type { Changes, ChangeOptions, Cause } from './changes.ts';
import type { Operation, Operations } from './operation.ts';
import { stuck } from './request.ts';
import { suspects } from './suspects.ts';

export interface UpkeepOptions<Seen> extends Omit<ChangeOptions<Seen>, 'looks'> {
  readonly changes: Changes<Seen>;
  readonly operations: Operations;
  readonly newId: () => string;
  /** What becomes of what people changed by hand. */
  readonly policy: 'repair' | 'report';
}

/** What is not as it should be, and why brig leaves it so. */
export interface Fault {
  readonly step: string;
  readonly because: string;
  readonly reason: string;
  readonly sinceMs: number;
}

interface Kept {
  readonly steps: readonly Step[];
  readonly faults: Map<string, Fault>;
  readonly repairs: Map<string, number[]>;
}

/** What shall be on the host although no VM needs it: put up, looked after, taken down. Each by its holder's name. */
export class Upkeep<Seen> {
  readonly #o: UpkeepOptions<Seen>;
  readonly #kept = new Map<string, Kept>();
  #mending: Promise<void> = Promise.resolve();

  constructor(options: UpkeepOptions<Seen>) {
    this.#o = options;
  }

  has(holder: string): boolean {
    return this.#kept.has(holder);
  }

  /** Nobody looks after it any more; what is there of it stays. */
  leave(holder: string): void {
    this.#kept.delete(holder);
  }

  faults(holder: string): readonly Fault[] {
    return [...(this.#kept.get(holder)?.faults.values() ?? [])];
  }

  /** It is there from an earlier brigd, or will be made by the next pass. */
  async adopt(holder: string, steps: readonly Step[]): Promise<void> {
    this.#kept.set(holder, { steps, faults: new Map(), repairs: new Map() });
    await this.#o.changes.claim({ holder }, steps);
  }

  /** All of it is there, or nothing. Errors: the step that failed, after all is undone; saga.stuck. */
  async up(holder: string, steps: readonly Step[], operation: Operation, cause: Cause): Promise<void> {
    const { platform, changes, store } = this.#o;
    const of = { holder };
    const seen = await changes.look(of, steps).catch((error: unknown) => {
      changes.letGo(of);
      throw error;
    });
    const saga = changes.journal(operation, of, steps, '');
    try {
      await changes.run(planApply(platform.catalogue, steps, seen), of, seen, cause, {
        signal: operation.abort.signal,
      });
    } catch (error) {
      const left = await changes.undo(of, steps, cause);
      if (left) throw stuck('up', holder, left);
      store.endSaga(saga.id);
      throw error;
    }
    store.endSaga(saga.id);
    await this.adopt(holder, steps);
  }

  /** Nothing of it is there, but for what others use. Errors: saga.stuck: brigd goes on with it. */
  async down(holder: string, steps: readonly Step[], operation: Operation, cause: Cause): Promise<void> {
    const { changes, store } = this.#o;
    this.#kept.delete(holder);
    const saga = changes.journal(operation, { holder }, steps, '');
    const left = await changes.undo({ holder }, steps, cause);
    if (left) throw stuck('down', holder, left);
    store.endSaga(saga.id);
  }

  /** Takes back what an earlier brigd did not finish. Errors: saga.stuck */
  async takeBack(holder: string, steps: readonly Step[], saga: string): Promise<void> {
    const left = await this.#o.changes.undo({ holder }, steps, 'brigd');
    if (left) throw stuck('recover', holder, left);
    this.#o.store.endSaga(saga);
  }

  /** Compares what is kept with an observation of the whole host; what it mends goes on behind it. */
  pass(seen: Seen): void {
    const { operations } = this.#o;
    const idle = [...this.#kept].filter(([holder]) => !operations.find(holder));
    const broken = idle.filter(([, kept]) => this.#isBroken(kept, seen));
    for (const [holder, kept] of idle) if (!this.#isBroken(kept, seen)) this.#clear(holder, kept);
    if (broken.length === 0) return;
    this.#mending = this.#mending.then(async () => {
      for (const [holder, kept] of broken) await this.#mend(holder, kept);
    });
  }

  /** Resolves when nothing is being mended. */
  settled(): Promise<void> {
    return this.#mending;
  }

  #isBroken({ steps }: Kept, seen: Seen): boolean {
    return steps.some((step) => holdsOf(this.#o.platform.catalogue, step, seen) !== 'yes');
  }

  #clear(holder: string, kept: Kept): void {
    for (const { step, because } of kept.faults.values())
      this.#o.events.add('finding.gone', 'host', holder, { step, because });
    kept.faults.clear();
  }

  async #mend(holder: string, kept: Kept): Promise<void> {
    const { operations, newId, events } = this.#o;
    if (operations.find(holder) || this.#kept.get(holder) !== kept) return;
    const asked = { id: newId(), vm: holder, verb: 'repair', onBegin: () => undefined } as const;
    try {
      await operations.run(asked, () => this.#repair(holder, kept));
    } catch (error) {
      if (this.#kept.get(holder) === kept)
        events.add('finding.unchecked', 'brigd', holder, { reason: messageOf(error) });
    }
  }

  /** One part after the other, each by a look of its own: one repair changes what the next one needs. */
  async #repair(holder: string, kept: Kept): Promise<void> {
    const { platform, changes, events } = this.#o;
    const tried = new Set<string>();
    for (let round = 0; round < LIMITS.repairRounds; round++) {
      const seen = await changes.look({ holder }, kept.steps);
      const broken = kept.steps.filter((step) => holdsOf(platform.catalogue, step, seen) !== 'yes');
      const step = broken.find((each) => !tried.has(this.#keyOf(each)));
      if (!step) return;
      tried.add(this.#keyOf(step));
      const reason = this.#refusal(kept, step, seen);
      if (reason !== undefined) this.#found(holder, kept, step, reason);
      else {
        await changes.run([{ op: 'repair', step }], { holder }, seen, 'brigd');
        kept.faults.delete(this.#keyOf(step));
        events.add('network.repaired', 'brigd', holder, { step: step.kind, because: this.#becauseOf(step) });
      }
    }
  }

  #becauseOf(step: Step): string {
    return definitionOf(this.#o.platform.catalogue, step).because(step.args);
  }

  #keyOf(step: Step): string {
    return `${step.kind}: ${this.#becauseOf(step)}`;
  }

  /** Why it is left as it is. */
  #refusal({ repairs }: Kept, step: Step, seen: Seen): string | undefined {
    const { platform, policy, host } = this.#o;
    if (policy === 'report') return 'brig only tells, by the policy of this node';
    const repair = planRepair(platform.catalogue, step, seen);
    if ('restart' in repair) return repair.restart;
    const key = this.#keyOf(step);
    const now = host.now();
    const recent = (repairs.get(key) ?? []).filter((at) => now - at < LIMITS.repairWindowMs);
    if (recent.length >= LIMITS.repairs)
      return `repaired ${recent.length} times within ${LIMITS.repairWindowMs / 1000} s: somebody takes it away again; ${suspects(platform.processes(seen), step.args)}`;
    repairs.set(key, [...recent, now]);
    return undefined;
  }

  #found(holder: string, kept: Kept, step: Step, reason: string): void {
    const key = this.#keyOf(step);
    if (kept.faults.get(key)?.reason === reason) return;
    const because = this.#becauseOf(step);
    kept.faults.set(key, { step: step.kind, because, reason, sinceMs: this.#o.host.now() });
    this.#o.events.add('finding.found', 'host', holder, { step: step.kind, because, reason });
  }
}
