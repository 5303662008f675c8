import { describe, expect, test } from 'vitest';
import { Looks } from '../../../src/engine/looks.ts';
import type { Depth } from '../../../src/platform/platform.ts';

/** A host whose looks end when they are told to. */
class Host {
  readonly begun: Depth[] = [];
  nowMs = 0;
  readonly #ends: { resolve(seen: number): void; reject(error: Error): void }[] = [];
  readonly looks = new Looks<number>({
    observe: (depth) => {
      this.begun.push(depth);
      return new Promise((resolve, reject) => this.#ends.push({ resolve, reject }));
    },
    now: () => this.nowMs,
  });

  end(look: number): void {
    this.#ends[look]?.resolve(look);
  }

  fail(look: number): void {
    this.#ends[look]?.reject(new Error('wedged'));
  }
}

describe('looks at the host', () => {
  test('are shared by all who ask while another is under way, and none of them gets that one', async () => {
    const host = new Host();
    const first = host.looks.fresh('run');
    const others = Array.from({ length: 100 }, () => host.looks.fresh('run'));
    expect(host.begun).toEqual(['run']);
    host.end(0);
    expect(await first).toBe(0);
    await Promise.resolve();
    expect(host.begun).toEqual(['run', 'run']);
    const later = host.looks.fresh('run');
    host.end(1);
    expect(new Set(await Promise.all(others))).toEqual(new Set([1]));
    await Promise.resolve();
    host.end(2);
    expect(await later, 'it asked after the second had begun').toBe(2);
  });

  test('that need not ask a pool do not wait for one that does', async () => {
    const host = new Host();
    void host.looks.fresh('all');
    const quick = host.looks.fresh('run');
    host.end(1);
    expect(await quick).toBe(1);
  });

  test('that fail tell all who shared them, and the next one is asked anew', async () => {
    const host = new Host();
    const first = host.looks.fresh('run');
    const [a, b] = [host.looks.fresh('run'), host.looks.fresh('run')];
    host.fail(0);
    await expect(first).rejects.toThrow('wedged');
    await Promise.resolve();
    host.fail(1);
    await expect(a).rejects.toThrow('wedged');
    await expect(b).rejects.toThrow('wedged');
    const again = host.looks.recent(1_000);
    host.end(2);
    expect(await again, 'a failure is not remembered').toBe(2);
  });

  test('serve listings for a while, until something changes', async () => {
    const host = new Host();
    const ask = async (look: number): Promise<number> => {
      const seen = host.looks.recent(500);
      host.end(look);
      return await seen;
    };
    expect(await ask(0)).toBe(0);
    host.nowMs = 499;
    expect(await ask(1)).toBe(0);
    host.nowMs = 500;
    expect(await ask(1)).toBe(1);
    host.looks.forget();
    expect(await ask(2)).toBe(2);
  });
});
