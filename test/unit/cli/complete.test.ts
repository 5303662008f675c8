import { describe, expect, test } from 'vitest';
import { renderCandidates, splitLine, wantedAt, type Candidate } from '../../../src/cli/complete.ts';
import { COMMANDS } from '../../../src/cli/table.ts';

/** Words that are known without brigd, or what is asked for. */
const at = (...words: string[]): unknown => {
  const wanted = wantedAt(words, COMMANDS);
  if (wanted.kind !== undefined) return wanted.kind;
  return renderCandidates(wanted, wanted.words).map((line) => line.split('\t')[0]);
};

describe('what may come next is', () => {
  test.each<[string[], unknown]>([
    [['sta'], ['start']],
    [['re'], ['restart', 'resize', 'resolve', 'revoke']],
    [['start', ''], 'vm'],
    [
      ['start', 'web01', ''],
      ['--label', '--json', '--help'],
    ],
    [['start', '--label', ''], 'label'],
    [['start', '--label=tier='], 'label'],
    [['stop', '--a'], ['--all']],
    [
      ['stop', '--all', '--'],
      ['--timeout', '--label', '--json', '--help'],
    ],
    [['start', '--label', 'a=b', '--l'], ['--label']],
    [['stop', '--timeout', ''], []],
    [
      ['list', ''],
      ['--label', '--json', '--help'],
    ],
    [
      ['plan', 's'],
      ['start', 'stop'],
    ],
    [['plan', 'stop', ''], 'vm'],
    [
      ['snapshot', 'r'],
      ['rollback', 'rm'],
    ],
    [['snapshot', 'rollback', ''], 'vm'],
    [['snapshot', 'rollback', 'web01', ''], 'snapshot'],
    [
      ['snapshot', 'rollback', '--'],
      ['--force', '--json', '--help'],
    ],
    [['image', 'import', ''], 'file'],
    [
      ['image', 'import', '--arch', 'a'],
      ['amd64', 'aarch64'],
    ],
    [
      ['image', 'import', '--arch=a'],
      ['--arch=amd64', '--arch=aarch64'],
    ],
    [['image', 'build', '--from', 'web01@'], 'vm@snapshot'],
    [['image', 'sign', 'debian:13', '--key', ''], 'file'],
    [['image', 'nonsense', ''], []],
    [['create', '-f', ''], 'file'],
    [['create', 'web01', '--nic', ''], 'network'],
    [['create', 'web01', '--template', ''], 'template'],
    [['network', 'list', '--label', ''], 'network-label'],
    [
      ['network', 'create', 'lan', '--kind', 'v'],
      ['vlan', 'vxlan'],
    ],
    [['help', 'im'], ['image']],
    [['help', 'base', 'r'], ['rm']],
    [['help', 'start', ''], []],
    [['completion', 'z'], ['zsh']],
    [['--s'], ['--socket']],
    [['--socket', ''], 'file'],
    [['--socket', '/s', 'start', ''], 'vm'],
    [['--json', '--socket=/s', 'sho'], ['show']],
    [['start', '--', '--'], 'vm'],
    [['nonsense', ''], []],
    [['toString', ''], []],
    [[], Object.keys(COMMANDS)],
  ])('%j', (words, expected) => {
    expect(at(...words)).toEqual(expected);
  });
});

test('brigd is looked for where the line says', () => {
  expect(wantedAt(['--socket', '/s', 'start', ''], COMMANDS).given).toEqual({ socket: '/s' });
});

test('snapshots are those of the VM before them', () => {
  expect(wantedAt(['snapshot', 'rm', '--json', 'web01', ''], COMMANDS).operands).toEqual(['web01']);
});

test('hidden commands are not offered', () => {
  expect(at('_')).toEqual([]);
});

const rendered = (words: string[], ...candidates: Candidate[]): string[] =>
  renderCandidates(wantedAt(words, COMMANDS), candidates);

test('what a shell would read as more than a word is left out', () => {
  const words = ['a b', '$(x)', '`x`', 'a;b', 'a|b', 'a&b', 'a>b', "a'b", 'a"b', 'a\\b', 'a*', 'a?', 'a[b]', 'a{b}'];
  const more = [
    '~root',
    '!x',
    'a!b',
    '#x',
    'a\nb',
    'a\tb',
    'a\u001b[2J',
    '-rf',
    ':files',
    '=x',
    'é',
    'a\u0000',
    'a%b',
    '',
  ];
  const all = [...words, ...more].map((word) => ({ word, about: '' }));
  expect(rendered(['start', ''], ...all, { word: 'web01', about: '' })).toEqual(['web01\t']);
});

test('names that begin with a dash are never an option of brig', () => {
  expect(rendered(['start', ''], { word: '--all', about: '' })).toEqual([]);
});

test('a description is one short line of what can be printed', () => {
  const about = `\u001b]0;x\u0007\n\t${'é'.repeat(300)}`;
  const [line = ''] = rendered(['start', ''], { word: 'a', about });
  expect(line).toMatch(/^a\t[\x20-\x7e]{100}$/);
});

test('a word of tcsh is taken as it is, and nothing in it is expanded', () => {
  expect(splitLine('brig start ')).toEqual(['start', '']);
  expect(splitLine('  brig  --socket  "/s" st')).toEqual(['--socket', '/s', 'st']);
  expect(splitLine('brig show $(x)`y`')).toEqual(['show', '$(x)`y`']);
});
