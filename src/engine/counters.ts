import type { EventRow } from '../store/rows.ts';

/** Units: seconds. */
export const STEP_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/** How long a kind of step took. */
export interface Durations {
  readonly step: string;
  readonly op: string;
  /** How many took at most so long, for each of STEP_SECONDS. */
  readonly within: number[];
  sum: number;
  count: number;
  failed: number;
}

/** Kinds of steps are some eighty; a catalogue that grows beyond all measure is not counted apart. */
const MOST_KINDS = 400;
const MOST_UNDER_WAY = 20_000;

/** What is counted since brigd began, from the log of events. */
export class Counters {
  readonly #steps = new Map<string, Durations>();
  /** When the step began that a subject is at: it does one at a time. */
  readonly #begun = new Map<string, number>();
  readonly #restarts = new Map<string, number>();
  readonly #ends = new Map<string, number>();

  readonly take = ({ kind, vm, atMs, cause, data }: EventRow): void => {
    if (vm === undefined) return;
    const key = `${vm} ${String(data.op)} ${String(data.step)}`;
    if (kind === 'step.started') this.#begin(key, atMs);
    else if (kind === 'step.done' || kind === 'step.failed') this.#end(key, atMs, kind, data);
    else if (kind === 'vm.ended') this.#ended(vm, cause, data.restart === true);
    else if (kind === 'vm.destroyed') this.#restarts.delete(vm);
  };

  #begin(key: string, atMs: number): void {
    if (this.#begun.size < MOST_UNDER_WAY) this.#begun.set(key, atMs);
  }

  #end(key: string, atMs: number, kind: string, data: EventRow['data']): void {
    const beganMs = this.#begun.get(key);
    this.#begun.delete(key);
    const durations = this.#of(String(data.step), String(data.op));
    if (kind === 'step.failed') durations.failed++;
    if (beganMs === undefined || kind === 'step.failed') return;
    const seconds = Math.max(0, atMs - beganMs) / 1000;
    durations.sum += seconds;
    durations.count++;
    for (const [i, most] of STEP_SECONDS.entries())
      if (seconds <= most) durations.within[i] = (durations.within[i] ?? 0) + 1;
  }

  #of(step: string, op: string): Durations {
    const name = `${step} ${op}`;
    const isNew = !this.#steps.has(name);
    const [key, what] = isNew && this.#steps.size >= MOST_KINDS ? [`other ${op}`, 'other'] : [name, step];
    const known = this.#steps.get(key);
    if (known) return known;
    const made = { step: what, op, within: STEP_SECONDS.map(() => 0), sum: 0, count: 0, failed: 0 };
    this.#steps.set(key, made);
    return made;
  }

  #ended(vm: string, cause: string, isRestarted: boolean): void {
    this.#ends.set(cause, (this.#ends.get(cause) ?? 0) + 1);
    if (isRestarted) this.#restarts.set(vm, (this.#restarts.get(vm) ?? 0) + 1);
  }

  steps(): readonly Durations[] {
    return [...this.#steps.values()];
  }

  restarts(vm: string): number {
    return this.#restarts.get(vm) ?? 0;
  }

  /** By cause. */
  ends(): readonly (readonly [string, number])[] {
    return [...this.#ends];
  }
}
