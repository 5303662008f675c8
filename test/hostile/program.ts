import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

const sources = (): string[] =>
  globSync('*.c', { cwd: import.meta.dirname }).map((name) => `${import.meta.dirname}/${name}`);

export interface Attempt {
  readonly name: string;
  readonly what: string;
}

/** Compiles the hostile program to `path`, without libraries that a sandbox may lack. */
export const build = (path: string): void => {
  const { status, stderr, error } = spawnSync(
    '/usr/bin/cc',
    ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', path, ...sources(), '-lpthread'],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`cc: ${error?.message ?? stderr}`);
};

/** What it tries, in order. */
export const listAttempts = (path: string): Attempt[] =>
  spawnSync(path, ['--list'], { encoding: 'utf8' })
    .stdout.trimEnd()
    .split('\n')
    .map((line) => {
      const [name = '', what = ''] = line.split('\t');
      return { name, what };
    });

/** Its verdicts by attempt: `held: ...`, `ESCAPED: ...` or `untried: ...`. */
export const parseReport = (text: string): ReadonlyMap<string, string> =>
  new Map(
    [...text.matchAll(/^(held|ESCAPED|untried) (\S+): (.*)$/gm)].map(([, verdict = '', name = '', how = '']) => [
      name,
      `${verdict}: ${how}`,
    ]),
  );

/** Its last line. */
export const summaryOf = (text: string): string | undefined =>
  /^\d+ attempts, \d+ escaped, \d+ untried$/m.exec(text)?.[0];

/** Arguments from what it is told. */
export const tell = (facts: Readonly<Record<string, string | number>>): string[] =>
  Object.entries(facts).map(([name, value]) => `${name}=${value}`);
