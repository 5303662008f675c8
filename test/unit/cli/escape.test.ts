import { expect, test } from 'vitest';
import { Escape } from '../../../src/cli/commands/console.ts';
import { toDocument } from '../../../src/cli/commands/create.ts';
import { escapeControls, parseBytes, parseDurationMs, renderBytes } from '../../../src/base/units.ts';

const feed = (...chunks: string[]): [string, boolean] => {
  const escape = new Escape();
  let sent = '';
  for (const chunk of chunks) {
    const { send, detach } = escape.feed(Buffer.from(chunk));
    sent += send.toString();
    if (detach) return [sent, true];
  }
  return [sent, false];
};

test.each([
  [['~.'], '', true],
  [['ls\r~.'], 'ls\r', true],
  [['ls\r', '~', '.'], 'ls\r', true],
  [['ls ~.'], 'ls ~.', false],
  [['~~.'], '~.', false],
  [['~x'], '~x', false],
])('typing %j sends %j and detaches: %s', (chunks, sent, detach) => {
  expect(feed(...chunks)).toEqual([sent, detach]);
});

test('flags make the same document as a file', () => {
  expect(
    toDocument('web01', {
      cpus: '2',
      memory: '1G',
      'test-rom': true,
      disk: ['zvol:1G', '/isos/a.iso'],
      nic: ['lan:direct'],
      label: ['a=b'],
    }),
  ).toEqual({
    name: 'web01',
    cpus: 2,
    memory: '1G',
    firmware: { builtin: 'test' },
    disks: [{ zvol: { size: '1G' } }, { image: '/isos/a.iso' }],
    nics: [{ network: 'lan', mode: 'direct' }],
    labels: { a: 'b' },
  });
});

test.each([
  ['512M', 512 * 2 ** 20],
  ['2g', 2 ** 31],
  ['1KiB', 1024],
  ['banana', undefined],
  ['-1', undefined],
  ['1.5G', undefined],
])('size %s is %s', (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

test('units come out as they went in', () => {
  expect([renderBytes(2 ** 31), renderBytes(1536), renderBytes(7)]).toEqual(['2G', '1536', '7']);
  expect([parseDurationMs('30'), parseDurationMs('500ms'), parseDurationMs('5m'), parseDurationMs('x')]).toEqual([
    30_000,
    500,
    300_000,
    undefined,
  ]);
  expect(escapeControls('a\x1b[31m\tb\n')).toBe('a\\x1b[31m\tb\n');
});
