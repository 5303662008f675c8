import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** devfs(8) is there on FreeBSD only, whatever Node says of its platform. */
const isFreebsd = existsSync('/sbin/devfs');

/** Any warning or console output of a test fails it: see test/quiet.ts. */
const project = (name: string, timeoutMs: number, serial = false) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeoutMs,
    hookTimeout: timeoutMs,
    setupFiles: ['test/quiet.ts'],
    // Those with a real host have it for themselves, after the others.
    ...(serial ? { fileParallelism: false, sequence: { groupOrder: 1 } } : { maxWorkers: availableParallelism() }),
  },
});

export default defineConfig({
  test: {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    projects: [
      project('unit', 10_000),
      project('sim', 60_000),
      project('fault', 120_000),
      ...(isFreebsd ? [] : [project('linux', 90_000, true)]),
      project('freebsd', 300_000, true),
    ],
  },
});
