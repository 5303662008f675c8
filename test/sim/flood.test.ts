import { expect, test } from 'vitest';
import { FLOODS, floodCost } from '../bench/flood.ts';

/** Figures are of test/bench; this fails where a flood is everybody's. */
const MOST_MS = 500;

test.skipIf(process.getuid?.() !== 0).for(Object.keys(FLOODS) as (keyof typeof FLOODS)[])(
  'a flood of %s keeps neither another tenant nor root waiting',
  async (kind) => {
    const { flooded, rootFlooded } = await floodCost(kind, 60);
    expect(Math.max(flooded.p95, rootFlooded.p95)).toBeLessThan(MOST_MS);
  },
);
