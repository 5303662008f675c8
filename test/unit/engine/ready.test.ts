import { expect, test } from 'vitest';
import { textSince } from '../../../src/engine/ready.ts';

test.each([
  ['nothing was there', '', 'old', 'new', 'new'],
  ['it grew', 'abc', '', 'abcdef', 'def'],
  ['nothing came', 'abc', 'abc', 'abc', ''],
  ['it was put aside in the meantime', 'abc', 'abcdef', 'ghi', 'defghi'],
  ['it was put aside twice', 'abc', 'def', 'ghi', 'defghi'],
])('what came since: %s', (_, before, old, log, text) => {
  expect(textSince(before, old, log)).toBe(text);
});
