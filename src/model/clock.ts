interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * Time of the model: one timeline. Whoever waits is woken in order, one a macrotask, so that everybody else's
 * microtasks are over by then; when all wait, time jumps to the earliest wake-up.
 * With `pace` real the same order holds at the speed of the machine's own clock.
 */
export class Clock {
  readonly #real: boolean;
  #nowMs: number;
  #order = 0;
  #scheduled = false;
  /** Latest first. */
  readonly #timers: Timer[] = [];

  constructor(startMs: number, pace: 'virtual' | 'real' = 'virtual') {
    this.#real = pace === 'real';
    this.#nowMs = this.#real ? Date.now() : startMs;
  }

  now(): number {
    return this.#real ? Date.now() : this.#nowMs;
  }

  /** Calls back after `ms`; the answer cancels it. */
  after(ms: number, fire: () => void): () => void {
    const timer = { dueMs: this.now() + Math.max(0, Math.round(ms)), order: this.#order++, fire };
    this.#timers.splice(this.#place(timer), 0, timer);
    this.#schedule();
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Lets `ms` pass: everything due in between happens first. */
  advance(ms: number): Promise<void> {
    return this.sleep(ms);
  }

  #place(timer: Timer): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#timers[middle];
      if (other && other.dueMs > timer.dueMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    const next = this.#timers.at(-1);
    if (!next) return;
    this.#scheduled = true;
    const wake = (): void => this.#wake();
    if (this.#real && next.dueMs > Date.now()) setTimeout(wake, Math.min(next.dueMs - Date.now(), 50));
    else setImmediate(wake);
  }

  #wake(): void {
    this.#scheduled = false;
    const next = this.#timers.at(-1);
    if (next && (!this.#real || next.dueMs <= Date.now())) {
      this.#timers.pop();
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#schedule();
      next.fire();
    } else this.#schedule();
  }
}
