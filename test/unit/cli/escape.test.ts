import { expect, test } from 'vitest';
import { toDocument } from '../../../src/cli/commands/create.ts';
import { Escape } from '../../../src/cli/escape.ts';
import { escapeControls, parseBytes, parseDurationMs, renderBytes } from '../../../src/base/units.ts';

const feed = (...chunks: string[]): string[] => {
  const escape = new Escape();
  return chunks
    .flatMap((chunk) => escape.feed(Buffer.from(chunk)))
    .map((typed) => ('send' in typed ? typed.send.toString() : `<${typed.ask}>`));
};

test.each([
  [['~.'], ['<detach>']],
  [['ls\r~.'], ['ls\r', '<detach>']],
  [
    ['ls\r', '~', '.'],
    ['ls\r', '<detach>'],
  ],
  [['ls ~.'], ['ls ~.']],
  [['~~.'], ['~.']],
  [['~x'], ['~x']],
  [['~?~w~.rest'], ['<help>', '<size>', '<detach>']],
  [['a\r~?b~?'], ['a\r', '<help>', 'b~?']],
])('typing %j is %j', (chunks, typed) => {
  expect(feed(...chunks)).toEqual(typed);
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
