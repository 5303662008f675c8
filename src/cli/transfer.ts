import { renderBytes } from '../base/units.ts';

const EVERY_MS = 250;
const PATIENCE_MS = 1000;

/** A size for people, to a tenth. */
const round = (bytes: number): string => {
  for (const [unit, factor] of [
    ['T', 2 ** 40],
    ['G', 2 ** 30],
    ['M', 2 ** 20],
    ['K', 2 ** 10],
  ] as const)
    if (bytes >= factor) return `${(bytes / factor).toFixed(1)}${unit}`;
  return renderBytes(bytes);
};

/** `640.0M of 2.0G, 310.0M/s, 5 s left`. Units: bytes, milliseconds. */
const renderTransfer = (done: number, total: number | undefined, ms: number): string => {
  const rate = ms > 0 ? (done * 1000) / ms : 0;
  const left = total === undefined || rate === 0 ? undefined : Math.ceil((total - done) / rate);
  return [
    total === undefined ? round(done) : `${round(done)} of ${round(total)}`,
    `${round(rate)}/s`,
    ...(left === undefined ? [] : [`${left} s left`]),
  ].join(', ');
};

/** How far a transfer is, on stderr where a person looks. */
export class Transfer {
  readonly #what: string;
  readonly #startMs = performance.now();
  #shownMs = 0;

  constructor(what: string) {
    this.#what = what;
  }

  tell(done: number, total: number | undefined): void {
    const ms = performance.now() - this.#startMs;
    if (!process.stderr.isTTY || ms < PATIENCE_MS || ms - this.#shownMs < EVERY_MS) return;
    this.#shownMs = ms;
    process.stderr.write(`\r\x1b[K${this.#what}: ${renderTransfer(done, total, ms)}`);
  }

  end(): void {
    if (this.#shownMs > 0) process.stderr.write('\r\x1b[K');
  }
}
