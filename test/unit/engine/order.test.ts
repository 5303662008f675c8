import { describe, expect, test } from 'vitest';
import { depthsOf, planOrder, reverseOrder, runInOrder, type Ordered } from '../../../src/engine/order.ts';

const vm = (name: string, after: string[] = [], priority = 500): Ordered => ({ name, priority, after });

/** Runs to the end; the answer says who began in which order, and how it ended. */
const run = async (items: readonly Ordered[], parallel = 1, bad: { work?: string; ready?: string } = {}) => {
  const begun: string[] = [];
  const skipped: [string, string][] = [];
  const end = await runInOrder(items, {
    parallel,
    work: async (name) => {
      begun.push(name);
      await Promise.resolve();
      if (name === bad.work) throw new Error('no');
    },
    ready: async (name) => {
      await Promise.resolve();
      if (name === bad.ready) throw new Error('not in time');
    },
    skipped: (name, because) => void skipped.push([name, because]),
  });
  return { begun, skipped, end };
};

describe('a plan', () => {
  test('keeps what is in the set, and tells what is not', () => {
    const { items, missing, cycles } = planOrder([vm('web', ['db', 'gone', 'db', 'gone']), vm('db')]);
    expect(items).toEqual([vm('web', ['db']), vm('db')]);
    expect(missing).toEqual([{ name: 'web', after: 'gone' }]);
    expect(cycles).toEqual([]);
  });

  test('names the members of each circle, and only among them nobody waits', () => {
    const { items, cycles } = planOrder([
      vm('a', ['b']),
      vm('b', ['c']),
      vm('c', ['a', 'base']),
      vm('self', ['self', 'a']),
      vm('base'),
      vm('x', ['y']),
      vm('y', ['x']),
    ]);
    expect([...cycles].sort()).toEqual([['a', 'b', 'c'], ['self'], ['x', 'y']]);
    expect(Object.fromEntries(items.map(({ name, after }) => [name, after]))).toEqual({
      ...{ a: [], b: [], c: ['base'], self: ['a'], base: [], x: [], y: [] },
    });
  });

  test('backwards lets whoever was waited for go last, and the highest number first', () => {
    const backwards = reverseOrder([vm('web', ['db'], 1), vm('db', [], 2), vm('other', [], 3)]);
    expect(backwards).toEqual([vm('web', [], -1), vm('db', ['web'], -2), vm('other', [], -3)]);
  });

  test('knows how many have to go one after the other', () => {
    const items = [vm('a'), vm('b', ['a']), vm('c', ['b']), vm('d', ['a']), vm('e')];
    expect(Object.fromEntries(depthsOf(items))).toEqual({ a: 3, b: 2, c: 1, d: 1, e: 1 });
  });
});

describe('a run', () => {
  test('takes the lowest priority first among those that may start, then the name', async () => {
    const items = [vm('late', [], 900), vm('b'), vm('a'), vm('first', [], 0), vm('urgent', ['late'], 0)];
    expect((await run(items)).begun).toEqual(['first', 'a', 'b', 'late', 'urgent']);
  });

  test('leaves out whoever waits for one that failed, however far, and nobody else', async () => {
    const items = [vm('db'), vm('web', ['db', 'dns']), vm('proxy', ['web']), vm('dns'), vm('mail', ['dns'])];
    for (const bad of [{ work: 'db' }, { ready: 'db' }]) {
      const { begun, skipped, end } = await run(items, 2, bad);
      expect(begun.sort()).toEqual(['db', 'dns', 'mail']);
      expect(skipped).toEqual([
        ['web', 'db'],
        ['proxy', 'web'],
      ]);
      expect(end).toEqual({ ready: ['dns', 'mail'], failed: ['db'], skipped: ['web', 'proxy'] });
    }
  });

  test('waiting until one is ready takes nobody else its place', async () => {
    const db = Promise.withResolvers<undefined>();
    const begun: string[] = [];
    const end = runInOrder([vm('db'), vm('web', ['db']), vm('a'), vm('b')], {
      parallel: 1,
      work: (name) => Promise.resolve(void begun.push(name)),
      ready: (name) => (name === 'db' ? db.promise : Promise.resolve()),
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).toEqual(['a', 'b', 'db']);
    db.resolve(undefined);
    expect((await end).ready).toEqual(['a', 'b', 'db', 'web']);
  });

  test('of nothing is over at once', async () => {
    expect((await run([])).end).toEqual({ ready: [], failed: [], skipped: [] });
  });

  test.each([
    ['a chain', (i: number) => (i === 0 ? [] : [`vm${i - 1}`])],
    ['one circle', (i: number) => [`vm${(i + 1) % 10_000}`]],
    ['all after the first', (i: number) => (i === 0 ? [] : ['vm0'])],
    ['no order', () => []],
  ])('of 10,000 with %s ends within a second or two', async (_, after) => {
    const startMs = performance.now();
    const { items } = planOrder(Array.from({ length: 10_000 }, (__, i) => vm(`vm${i}`, after(i), (i * 7919) % 1000)));
    expect(depthsOf(reverseOrder(items)).size).toBe(10_000);
    expect((await run(items, 8)).end.ready).toHaveLength(10_000);
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });
});

/** mulberry32. */
const randomFrom = (seed: number) => {
  let state = seed;
  return (limit: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
};

/** One random order with circles, strangers and failures, run in random time. The answer is the first rule broken. */
const brokenRule = async (seed: number): Promise<string | undefined> => {
  const random = randomFrom(seed);
  const count = 1 + random(30);
  const parallel = 1 + random(4);
  const name = (): string => `vm${random(count + 3)}`;
  const rows = Array.from({ length: count }, (_, i) =>
    vm(`vm${i}`, Array.from({ length: random(4) }, name), random(5)),
  );
  const failing = new Set(Array.from({ length: random(3) }, name));
  const { items } = planOrder(rows);
  const waits = new Map(items.map((item) => [item.name, item]));
  const ready = new Set<string>();
  const begun = new Set<string>();
  const idle = new Set<string>();
  let working = 0;
  const broken: string[] = [];
  const turns = async (): Promise<void> => {
    for (let i = random(5); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
  };
  const mayStart = (item: Ordered): boolean => !begun.has(item.name) && item.after.every((each) => ready.has(each));
  const check = (started: string): void => {
    const item = waits.get(started);
    if (begun.has(started)) broken.push(`${started} starts twice`);
    if (!item?.after.every((each) => ready.has(each))) broken.push(`${started} starts too early`);
    // Those that became ready in this very moment are on their way into the queue.
    const better = items.find((each) => mayStart(each) && idle.has(each.name) && each.priority < (item?.priority ?? 0));
    if (better) broken.push(`${started} starts before ${better.name}`);
    if (++working > parallel) broken.push(`${working} at once`);
    begun.add(started);
  };
  for (const item of items) if (item.after.length === 0) idle.add(item.name);
  const end = await runInOrder(items, {
    parallel,
    work: async (each) => {
      check(each);
      await turns();
      working -= 1;
      if (failing.has(each) && random(2) === 0) throw new Error('no');
    },
    ready: async (each) => {
      await turns();
      if (failing.has(each)) throw new Error('not ready');
      ready.add(each);
    },
  });
  const all = [...end.ready, ...end.failed, ...end.skipped];
  if (all.length !== count || new Set(all).size !== count) broken.push(`${all.length} of ${count} ended`);
  if ([...end.skipped].some((each) => begun.has(each))) broken.push('one that was left out had begun');
  if (end.ready.some((each) => !ready.has(each))) broken.push('one that is not ready is said to be');
  const lost = new Set([...end.failed, ...end.skipped]);
  if (end.skipped.some((each) => !waits.get(each)?.after.some((to) => lost.has(to))))
    broken.push('left out for nothing');
  return broken[0];
};

test('no order of 400 random ones breaks a rule', async () => {
  for (let seed = 1; seed <= 400; seed++) expect(await brokenRule(seed), `seed ${seed}`).toBeUndefined();
});
