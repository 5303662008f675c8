import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, globSync, readFileSync } from 'node:fs';

const sources = (): string[] =>
  globSync('*.c', { cwd: import.meta.dirname }).map((name) => `${import.meta.dirname}/${name}`);

/** devfs(8) is there only. */
const isFreebsd = existsSync('/sbin/devfs');

export interface Attempt {
  readonly name: string;
  readonly what: string;
}

/** Compiles the hostile program to `path`, without libraries that a sandbox may lack. */
export const build = (path: string): void => {
  const { status, stderr, error } = spawnSync(
    '/usr/bin/cc',
    // Another compiler's warnings are no reason not to try.
    ['-static', '-O1', '-Wall', '-Wextra', ...(isFreebsd ? [] : ['-Werror']), '-o', path, ...sources(), '-lpthread'],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`cc: ${error?.message ?? stderr}`);
  // Any uid runs it, whatever the umask.
  chmodSync(path, 0o755);
};

/** What is tried where nobody compiles. */
export const script = readFileSync(`${import.meta.dirname}/hostile.sh`, 'utf8');
export const HAS_COMPILER = existsSync('/usr/bin/cc');

export const listScript = (): Attempt[] =>
  [...script.matchAll(/^attempt (\S+) (\S+)/gm)].map(([, name = '', what = '']) => ({ name, what }));

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
