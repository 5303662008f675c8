import { BrigError } from '../base/errors.ts';

interface Waiting {
  readonly owner: string | undefined;
  go(): void;
}

/** So many at once, the others in the order in which they came; of one owner no more than half, so that nobody takes all. */
export class Lane {
  #free: number;
  readonly #share: number;
  /** How many of each owner are at work. */
  readonly #owners = new Map<string, number>();
  readonly #waiting = new Set<Waiting>();

  constructor(width: number) {
    this.#free = width;
    this.#share = Math.ceil(width / 2);
  }

  #may(owner: string | undefined): boolean {
    return this.#free > 0 && (owner === undefined || (this.#owners.get(owner) ?? 0) < this.#share);
  }

  /** How many wait before whoever comes now; undefined when it need not wait. */
  ahead(owner?: string): number | undefined {
    return this.#may(owner) ? undefined : this.#waiting.size;
  }

  /** Errors: those of `work`; saga.cancelled when the signal is set before its turn. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>, owner?: string): Promise<T> {
    if (this.#may(owner)) this.#count(owner, 1);
    else await this.#wait(signal, owner);
    try {
      return await work();
    } finally {
      this.#count(owner, -1);
      this.#next();
    }
  }

  #count(owner: string | undefined, by: 1 | -1): void {
    this.#free -= by;
    if (owner === undefined) return;
    const count = (this.#owners.get(owner) ?? 0) + by;
    if (count === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, count);
  }

  #wait(signal: AbortSignal, owner: string | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        this.#waiting.delete(waiting);
        reject(new BrigError('saga.cancelled', 'cancelled'));
      };
      const go = (): void => {
        signal.removeEventListener('abort', cancel);
        this.#waiting.delete(waiting);
        this.#count(owner, 1);
        resolve();
      };
      const waiting = { owner, go };
      this.#waiting.add(waiting);
      signal.addEventListener('abort', cancel, { once: true });
    });
  }

  /** The turn goes to the first that waits and may. */
  #next(): void {
    for (const waiting of this.#waiting) if (this.#may(waiting.owner)) return waiting.go();
  }
}
