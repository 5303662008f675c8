/** A token bucket. Units: bytes, milliseconds. */
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

  /** Answers how long to wait before more is spent; 0: not at all. Who waits comes back to a quarter of the burst. */
  spend(cost: number, nowMs: number): number {
    // A clock that was set back gives nothing, and takes nothing.
    const came = (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1000;
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + came) - cost;
    return this.#tokens >= 0 ? 0 : Math.ceil(((this.#burst / 4 - this.#tokens) * 1000) / this.#perSecond);
  }
}
