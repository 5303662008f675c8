import { expect, test } from 'vitest';
import { runHistory } from './history.ts';

const CHUNK = 500;

/** Every seed of a range; a failing one prints what happened and the line that repeats it. */
export const testHistories = (from: number, to: number): void => {
  for (let first = from; first <= to; first += CHUNK)
    test(`histories ${first} to ${first + CHUNK - 1} keep every invariant`, async () => {
      let faults = 0;
      for (let seed = first; seed < first + CHUNK; seed++) faults += await runHistory(seed);
      expect(faults, 'some of them have injected faults').toBeGreaterThan(CHUNK / 10);
    });
};
