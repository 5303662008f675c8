import type { Depth } from '../platform/platform.ts';

/** Looks of one depth: the last that began, the one under way, and the one that comes after it. */
interface Turn<Seen> {
  last?: { readonly at: number; tookMs: number; readonly seen: Promise<Seen> };
  over?: Promise<void>;
  next?: Promise<Seen>;
}

export interface LooksOptions<Seen> {
  observe(depth: Depth): Promise<Seen>;
  now(): number;
}

/**
 * Looks at the whole host for many who ask at once: a thousand starts must not look a thousand times at a thousand VMs.
 * One look of a depth goes on at a time; who asks meanwhile shares the next, for this one may have passed by what they
 * just changed. A slow pool does not hold up those who need not ask it.
 */
export class Looks<Seen> {
  readonly #o: LooksOptions<Seen>;
  readonly #turns: Record<Depth, Turn<Seen>> = { run: {}, all: {} };

  constructor(options: LooksOptions<Seen>) {
    this.#o = options;
  }

  /** What the host is like now: everything in it was asked after the call. */
  fresh(depth: Depth): Promise<Seen> {
    const turn = this.#turns[depth];
    if (!turn.over) return this.#begin(depth, turn);
    turn.next ??= turn.over.then(() => {
      delete turn.next;
      return this.#begin(depth, turn);
    });
    return turn.next;
  }

  /**
   * What a run is made of, as it was within that time, if somebody looked then; of thousands of VMs, for which one look
   * takes longer than that, within the time of two looks.
   */
  recent(maxAgeMs: number): Promise<Seen> {
    const { last } = this.#turns.run;
    const isRecent = last && this.#o.now() - last.at < Math.max(maxAgeMs, 2 * last.tookMs);
    return isRecent ? last.seen : this.fresh('run');
  }

  /** Something was changed: what was seen before is not recent any more. */
  forget(): void {
    delete this.#turns.run.last;
  }

  #begin(depth: Depth, turn: Turn<Seen>): Promise<Seen> {
    const at = this.#o.now();
    const seen = this.#o.observe(depth);
    const last = { at, tookMs: 0, seen };
    // Of thousands of VMs a look is large: only what a listing may ask for is kept.
    if (depth === 'run') turn.last = last;
    const end = (): void => {
      delete turn.over;
      last.tookMs = this.#o.now() - at;
    };
    turn.over = seen.then(end, () => {
      if (turn.last === last) delete turn.last;
      end();
    });
    return seen;
  }
}
