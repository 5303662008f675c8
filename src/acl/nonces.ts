import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

interface Seen {
  readonly createdMs: number;
  /** From then on the window alone refuses it. */
  readonly untilMs: number;
}

interface Bounds {
  readonly windowMs: number;
  readonly perKey: number;
  readonly all: number;
}

const BOUNDS: Bounds = { windowMs: LIMITS.clockSkewMs, perKey: LIMITS.noncesPerKey, all: LIMITS.nonces };

/**
 * Nonces that were used, for as long as their signature may count: at most twice the window, when a client's clock is fast.
 * What does not fit is refused; nothing is forgotten to make room.
 */
export class Nonces {
  readonly #bounds: Bounds;
  /** By key, in the order in which they came, which is that in which they end. */
  readonly #keys = new Map<string, Map<string, Seen>>();
  #count = 0;
  /** Created at or before: it may have been used, and be forgotten. Only a clock that was set back comes there. */
  #forgottenMs = 0;

  constructor(bounds: Bounds = BOUNDS) {
    this.#bounds = bounds;
  }

  /** Signatures made up to then cannot be told from used ones. Units: milliseconds since the epoch. */
  get forgottenMs(): number {
    return this.#forgottenMs;
  }

  /** False for one that was used. Errors: api.busy when there is no room. */
  use(keyId: string, nonce: string, createdMs: number, nowMs: number): boolean {
    const own = this.#keys.get(keyId) ?? new Map<string, Seen>();
    this.#sweep(own, nowMs);
    if (own.has(nonce)) return false;
    if (own.size >= this.#bounds.perKey || this.#isFull(nowMs))
      throw new BrigError('api.busy', 'check signature: more requests than this node remembers', { retry: 'later' });
    own.set(nonce, { createdMs, untilMs: nowMs + 2 * this.#bounds.windowMs });
    this.#keys.set(keyId, own);
    this.#count++;
    return true;
  }

  #isFull(nowMs: number): boolean {
    if (this.#count < this.#bounds.all) return false;
    for (const [keyId, own] of this.#keys) {
      this.#sweep(own, nowMs);
      if (own.size === 0) this.#keys.delete(keyId);
    }
    return this.#count >= this.#bounds.all;
  }

  #sweep(own: Map<string, Seen>, nowMs: number): void {
    for (const [nonce, { createdMs, untilMs }] of own) {
      if (untilMs > nowMs) return;
      own.delete(nonce);
      this.#count--;
      this.#forgottenMs = Math.max(this.#forgottenMs, createdMs);
    }
  }
}
