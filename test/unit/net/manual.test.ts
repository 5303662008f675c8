import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

const ROOT = new URL('../../../', import.meta.url);
const manual = readFileSync(new URL('docs/net.md', ROOT), 'utf8');
const examples = [...manual.matchAll(/^## (.*)$|^```ts\n([\s\S]*?)^```$/gm)]
  .map(([, heading, code]) => ({ heading, code }))
  .reduce<{ title: string; code: string }[]>((found, { heading, code }, i, all) => {
    const title = all.slice(0, i).findLast((each) => each.heading !== undefined)?.heading ?? '';
    return heading === undefined && code !== undefined ? [...found, { title, code }] : found;
  }, []);

test('every part of the manual has an example', () => {
  expect(examples.length).toBeGreaterThanOrEqual(5);
});

test.each(examples)('the example of $title runs', ({ code }) => {
  const dir = mkdtempSync(join(tmpdir(), 'brig-manual-'));
  const file = join(dir, 'example.ts');
  const net = new URL('src/net/index.ts', ROOT).pathname;
  writeFileSync(file, `import assert from 'node:assert/strict';\n${code.replaceAll("'brig/net'", `'${net}'`)}`);
  const { status, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', file], {
    encoding: 'utf8',
  });
  rmSync(dir, { recursive: true });
  expect([status, stderr]).toEqual([0, '']);
});

test('the package exports it', () => {
  const { exports: all } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as {
    exports: Record<string, { types: string; default: string }>;
  };
  expect(all['./net']).toEqual({ types: './dist/net/index.d.ts', default: './dist/net/index.js' });
});
