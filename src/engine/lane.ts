import { BrigError } from '../base/errors.ts';

/** So many at once, the others in the order in which they came. */
export class Lane {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(width: number) {
    this.#free = width;
  }

  /** How many wait before whoever comes now; undefined when it need not wait. */
  get ahead(): number | undefined {
    return this.#free > 0 ? undefined : this.#waiting.size;
  }

  /** Errors: those of `work`; saga.cancelled when the signal is set before its turn. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<void> | undefined {
    if (this.#free > 0) {
      this.#free--;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        this.#waiting.delete(go);
        reject(new BrigError('saga.cancelled', 'cancelled'));
      };
      const go = (): void => {
        signal.removeEventListener('abort', cancel);
        resolve();
      };
      this.#waiting.add(go);
      signal.addEventListener('abort', cancel, { once: true });
    });
  }

  /** The turn goes to the first that waits. */
  #leave(): void {
    const [next] = this.#waiting;
    if (!next) this.#free++;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}
