import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/** What one principal has under way, and may still begin. */
interface Share {
  /** Requests that it may begin at once; below 0: so many of its requests wait. */
  tokens: number;
  atMs: number;
  /** What its requests that are under way cost. */
  open: number;
}

/**
 * Requests of each principal, at a bounded rate and so many at once. Who comes faster waits, and so sends no more:
 * one's flood is one's own delay, and costs the others the same however many requests are in it.
 */
export class Throttle {
  readonly #shares = new Map<string, Share>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  #share(id: string): Share {
    const nowMs = this.#now();
    const share = this.#shares.get(id) ?? { tokens: LIMITS.requestBurst, atMs: nowMs, open: 0 };
    const come = ((nowMs - share.atMs) / 1000) * LIMITS.requestsPerSecond;
    share.tokens = Math.min(LIMITS.requestBurst, share.tokens + come);
    share.atMs = nowMs;
    this.#shares.set(id, share);
    return share;
  }

  /** Resolves when the request has its turn, with how to end it. `cost`: in requests. Errors: api.busy. */
  async enter(id: string, cost = 1): Promise<() => void> {
    if (this.#shares.size > LIMITS.principalsKnown) this.#forget();
    const share = this.#share(id);
    if (share.open + cost > LIMITS.requestsAtOnce)
      throw await late(id, `at most ${LIMITS.requestsAtOnce} requests at once`, 'one more');
    share.tokens -= cost;
    const waitMs = share.tokens >= 0 ? 0 : (-share.tokens / LIMITS.requestsPerSecond) * 1000;
    if (waitMs > LIMITS.requestWaitMs) {
      share.tokens += cost;
      throw await late(id, `at most ${LIMITS.requestsPerSecond} requests a second`, 'more');
    }
    share.open += cost;
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
    return () => {
      share.open -= cost;
    };
  }

  /** Whoever has nothing under way and has not come for a while begins anew. */
  #forget(): void {
    const nowMs = this.#now();
    for (const [id, share] of this.#shares)
      if (share.open === 0 && nowMs - share.atMs > 60_000) this.#shares.delete(id);
  }
}

/** A refusal that comes at once would be the next request at once. */
const late = async (id: string, expected: string, got: string): Promise<BrigError> => {
  await new Promise((resolve) => setTimeout(resolve, LIMITS.requestRefusedMs).unref());
  return new BrigError('api.busy', `answer ${id}: expected ${expected}, got ${got}`, {
    retry: 'later',
    hint: 'come again in a second',
  });
};
