import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fuzz, Target } from '../fuzz/node.ts';
import type { Place } from '../fuzz/requests.ts';

const target = new Target();
let places: Place[];
const faults: unknown[] = [];
const note = (error: unknown): void => void faults.push(error);

beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note);
  await target.open();
  places = await target.places();
});
afterAll(async () => {
  await target.close();
  process.off('unhandledRejection', note).off('uncaughtException', note);
});

describe('whatever is sent', () => {
  test('by a user who may only look is answered in time, never with 5xx, and changes nothing', async ({ skip }) => {
    if (!target.hasUsers) skip();
    expect(places.length).toBeGreaterThan(50);
    const before = await target.state();
    for (const seed of [1, 2]) {
      const { wrong, statuses } = await fuzz(target.user, places, { seed, count: 700 });
      expect(wrong, `npm run fuzz -- ${seed}`).toEqual([]);
      expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 400, 403, 404]));
    }
    expect(await target.state()).toEqual(before);
    expect(faults).toEqual([]);
  });

  test('by root is answered in time, never with 5xx, and brigd goes on', async () => {
    const { wrong, statuses } = await fuzz(target.root, places, { seed: 3, count: 1_000 });
    expect(wrong, 'npm run fuzz -- 3').toEqual([]);
    expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 400, 404]));
    expect(Array.isArray(await target.client.list())).toBe(true);
    expect(faults).toEqual([]);
  });
});
