import { describe, expect, test } from 'vitest';
import { Pool, type Span } from '../../../src/net/pool.ts';
import { chance as seeded } from '../../soak/chance.ts';

/** The same by a plain set: what a pool must do, without how it does it. */
class Plain {
  readonly #free: Set<bigint>;

  constructor(spans: readonly Span[]) {
    this.#free = new Set(
      spans.flatMap(({ first, last }) => Array.from({ length: Number(last - first) + 1 }, (_, i) => first + BigInt(i))),
    );
  }

  get free(): bigint {
    return BigInt(this.#free.size);
  }

  next(): bigint | undefined {
    let least: bigint | undefined;
    for (const value of this.#free) if (least === undefined || value < least) least = value;
    return least;
  }

  take(value: bigint): boolean {
    return this.#free.delete(value);
  }

  give(value: bigint): void {
    this.#free.add(value);
  }
}

describe('a pool', () => {
  test('gives the lowest that is free, each once, as a plain set does', () => {
    for (let seed = 0; seed < 40; seed++) {
      const chance = seeded(seed);
      const start = BigInt(chance(1000)) + (seed % 2 ? 1n << 100n : 0n);
      const length = BigInt(1 + chance(2500));
      const spans = [
        { first: start, last: start + length },
        { first: start + length + 5n, last: start + length + 5n + BigInt(chance(40)) },
      ];
      const pool = new Pool(spans);
      const plain = new Plain(spans);
      const taken: bigint[] = [];
      for (let i = 0; i < 1500; i++) {
        expect(pool.next()).toBe(plain.next());
        const value = chance(3) === 0 ? start + BigInt(chance(Number(length) + 60)) : (pool.next() ?? start);
        if (chance(4) === 0 && taken.length > 0) {
          const [back = 0n] = taken.splice(chance(taken.length), 1);
          expect(pool.give(back)).toBe(true);
          plain.give(back);
        } else {
          const isTaken = plain.take(value);
          expect(pool.take(value)).toBe(isTaken);
          if (isTaken) taken.push(value);
        }
        expect(pool.free).toBe(plain.free);
      }
      for (const value of taken) expect(pool.isTaken(value)).toBe(true);
    }
  });

  test('of 2^80 numbers says what is left, and gives the last one too', () => {
    const last = (1n << 80n) - 1n;
    const pool = new Pool([{ first: 1n, last }]);
    expect(pool.free).toBe(last);
    expect(pool.take(last)).toBe(true);
    expect(pool.isTaken(last)).toBe(true);
    expect(pool.next()).toBe(1n);
  });

  test('that is empty gives nothing', () => {
    const pool = new Pool([{ first: 7n, last: 7n }]);
    expect(pool.take(7n)).toBe(true);
    expect(pool.next()).toBeUndefined();
    expect(pool.take(7n)).toBe(false);
    expect(pool.take(8n)).toBe(false);
    expect(pool.give(8n)).toBe(false);
    expect(new Pool([]).next()).toBeUndefined();
  });

  test('gives blocks of a larger one, which begin where they may', () => {
    const pool = new Pool([{ first: 0x101n, last: 0x4ffn }], 8);
    expect(pool.size).toBe(3n);
    expect(pool.next()).toBe(0x200n);
    expect(pool.take(0x200n)).toBe(true);
    expect(pool.take(0x2ffn)).toBe(false);
    expect(pool.next()).toBe(0x300n);
  });
});
