import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';

const MODULE = new URL('../../../src/io/descriptors.ts', import.meta.url).href;
/** Above those that Node itself closes for its children. */
const HIGH = 29;

/** Descriptors of a program that Node started, when Node had got one from whoever started it. */
const inherited = (before: string): string[] => {
  const code = `const { closeInherited } = await import('${MODULE}');
    const { spawnSync } = await import('node:child_process');
    ${before};
    process.stdout.write(spawnSync('/bin/ls', ['/proc/self/fd'], { encoding: 'utf8' }).stdout);`;
  const fd = openSync('/etc/passwd', 'r');
  const stdio = Array.from(
    { length: HIGH + 1 },
    (_, i) => (i === HIGH ? fd : i < 3 ? 'pipe' : 'ignore') as 'pipe' | number,
  );
  const { stdout } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code],
    {
      stdio,
      encoding: 'utf8',
    },
  );
  closeSync(fd);
  return stdout.trim().split('\n');
};

test.skipIf(!existsSync('/proc/self/fdinfo'))('programs do not get what Node itself inherited', () => {
  expect(inherited('')).toContain(String(HIGH));
  expect(inherited('closeInherited()')).not.toContain(String(HIGH));
});
