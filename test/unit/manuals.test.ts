import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { expect, test } from 'vitest';

const DOCS = new URL('../../docs/', import.meta.url).pathname;
const pages = globSync('*.[1-9]', { cwd: DOCS }).sort();

test('there are manuals', () => {
  expect(pages).toEqual(['brig-network.7', 'brig.8', 'brig.yaml.5', 'brigd.8']);
});

test.each(pages)('%s is what mdoc(7) wants', (page) => {
  const { status, stdout } = spawnSync('/usr/bin/mandoc', ['-T', 'lint', '-W', 'warning', `${DOCS}${page}`], {
    encoding: 'utf8',
  });
  expect([status, stdout]).toEqual([0, '']);
});
