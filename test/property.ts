import fc from 'fast-check';

/**
 * How often a property is tried. One that fails names its seed and its path, and the line that tries the very same again.
 * Shape:  BRIG_SEED=1280774290 BRIG_PATH=0:0:2 npx vitest run -t NAME
 */
export const times = <Ts>(numRuns: number): fc.Parameters<Ts> => {
  const { BRIG_SEED, BRIG_PATH } = process.env;
  const seed = BRIG_SEED === undefined ? {} : { seed: Number(BRIG_SEED) };
  const path = BRIG_PATH === undefined ? {} : { path: BRIG_PATH };
  const report = (details: fc.RunDetails<Ts>): void => {
    if (!details.failed) return;
    const again = `BRIG_SEED=${details.seed} BRIG_PATH=${details.counterexamplePath ?? ''}`;
    throw new Error(`${fc.defaultReportMessage(details) ?? 'failed'}\nrepeat it: ${again} npx vitest run -t NAME`, {
      cause: details.errorInstance,
    });
  };
  return { numRuns, ...seed, ...path, plugins: [() => ({ onAllRunsComplete: report })] };
};
