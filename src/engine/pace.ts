/** A token bucket. Units: of whatever is spent, such as bytes; milliseconds. */
export class Pace {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Whether there is that much; who is refused spends nothing. */
  take(cost: number, nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  #fill(nowMs: number): void {
    // A clock that was set back gives nothing, and takes nothing.
    const came = (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1000;
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + came);
  }

  /** Answers how long to wait before more is spent; 0: not at all. Who waits comes back to a quarter of the burst. */
  spend(cost: number, nowMs: number): number {
    this.#fill(nowMs);
    this.#tokens -= cost;
    return this.#tokens >= 0 ? 0 : Math.ceil(((this.#burst / 4 - this.#tokens) * 1000) / this.#perSecond);
  }
}
