import { describe, expect, test } from 'vitest';
import { parseCall, type About, type Options } from '../../../src/cli/command.ts';
import { takeGlobals } from '../../../src/cli/globals.ts';
import { findCommand, renderHelp } from '../../../src/cli/help.ts';
import { COMMANDS, GROUPS } from '../../../src/cli/table.ts';

/** Every command and every verb of one, with what it is called. */
const abouts: [string, About][] = Object.entries(COMMANDS).flatMap(([name, command]): [string, About][] => [
  [name, command],
  ...Object.entries(command.verbs ?? {}).map(([verb, about]): [string, About] => [`${name} ${verb}`, about]),
]);
const examples = abouts.flatMap(([, about]) => about.examples);

describe('help', () => {
  test.each(examples)('the example "%s" parses', (line) => {
    const [brig, ...words] = (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ''));
    expect(brig).toBe('brig');
    const [name = '', ...rest] = takeGlobals(words).rest;
    expect(() => parseCall(findCommand(COMMANDS, name), rest)).not.toThrow();
  });

  test.each(abouts)('%s has two to four examples of its own', (name, { examples: lines }) => {
    expect(lines.length, name).toBeGreaterThanOrEqual(name === 'console' ? 1 : 2);
    expect(lines.length).toBeLessThanOrEqual(4);
  });

  test.each(abouts)('%s tells each of its options in its usage, and no other', (_, { usage, options }) => {
    const told = new Set([...usage.matchAll(/--([a-z][a-z0-9-]*)/g)].map(([, name]) => name ?? ''));
    for (const [name, { short }] of Object.entries(options))
      if (short !== undefined && usage.includes(`-${short}`)) told.add(name);
    told.delete('json');
    expect([...told].sort()).toEqual(Object.keys(options).sort());
  });

  test.each(abouts)('%s says in one line what it and each of its options does', (_, { summary, options }) => {
    for (const line of [summary, ...Object.values(options).map(({ about }) => about)])
      expect(line).toMatch(/^[a-zA-Z0-9][\x20-\x7e]{5,150}$/);
  });

  test.each(abouts)('%s says of each operand what it is', (name, { operands, complete }) => {
    // Of a command with verbs the first operand is the verb; the verb says the rest.
    // Of operands without number the last kind is that of all that follow.
    const most = operands[1] > 100 ? complete.length : operands[1];
    expect(complete.length).toBe(COMMANDS[name]?.verbs ? 1 : most);
  });

  test('every option comes with the same letter everywhere', () => {
    const letters = (options: Options) => Object.values(options).flatMap(({ short }) => short ?? []);
    for (const [name, { options }] of abouts)
      expect(new Set(letters(options)).size, name).toBe(letters(options).length);
  });

  test('brig help names every command once, and fits 100 columns', () => {
    const lines = renderHelp(GROUPS, []).split('\n');
    for (const name of Object.keys(COMMANDS))
      expect(lines.filter((line) => line.startsWith(`  ${name} `))).toHaveLength(1);
    expect(lines.filter(({ length }) => length > 120)).toEqual([]);
  });

  test('a command is told with options and examples', () => {
    expect(renderHelp(GROUPS, ['restart']).split('\n')).toEqual([
      'usage: brig restart NAME | --label K[=V]... [--timeout 30s] [--json]',
      '',
      'stop, then start',
      '',
      'options:',
      '      --timeout DURATION  how long the guest has until it is forced off: 500ms, 30s, 5m',
      '      --label K[=V]       every VM that has the label; of several, all of them (may come again)',
      '      --json              the answer as JSON, for programs',
      '',
      'examples:',
      '  brig restart web01',
      '  brig restart --label tier=web --timeout 1m',
    ]);
  });

  test('a verb is told as a command is', () => {
    const text = renderHelp(GROUPS, ['snapshot', 'rollback']);
    expect(text).toContain('usage: brig snapshot rollback NAME SNAPSHOT [--force] [--json]');
    expect(text).toContain('--force  remove the snapshots that came after it');
  });

  test.each([
    [['strat'], 'read arguments: no command strat', 'did you mean brig start?'],
    [['image', 'lst'], 'read arguments: no command image lst', 'did you mean brig image list?'],
    [['x\u001b[2J'], String.raw`read arguments: no command x\x1b[2J`, 'brig help lists them'],
    [['toString'], 'read arguments: no command toString', 'brig help lists them'],
  ])('help of %j says what there is', (words, message, hint) => {
    expect(() => renderHelp(GROUPS, words)).toThrow(expect.objectContaining({ code: 'usage.invalid', message, hint }));
  });
});

describe('global options', () => {
  test.each([
    [['--socket', '/s', 'list'], { socket: '/s' }, ['list']],
    [['--json', '--socket=/s', 'list', '--json'], { socket: '/s', json: true }, ['list', '--json']],
    [['list', '--socket', '/s'], {}, ['list', '--socket', '/s']],
    [['--help'], {}, ['--help']],
  ])('%j', (args, given, rest) => {
    expect(takeGlobals(args)).toEqual({ given, rest });
  });

  test('a value that is missing is told', () => {
    expect(() => takeGlobals(['--socket'])).toThrow('expected a path after --socket, got nothing');
  });
});

describe('a verb', () => {
  test.each([
    [['lst'], /^read arguments: expected list, show, .*, gc, got lst$/, 'did you mean brig image list?'],
    [['rm'], 'read arguments: expected 1 operand after rm, got nothing', 'usage: brig image rm IMAGE [--promote]'],
    [['gc', 'a'], 'read arguments: expected nothing after gc, got a', 'usage: brig image gc [--dry-run]'],
    [['show', 'a', '--promote'], 'read arguments: expected --promote after rm only', 'usage: brig image show IMAGE'],
    [['constructor'], /got constructor$/, undefined],
  ])('brig image %j is refused', (args, message, hint) => {
    const call = () => parseCall(findCommand(COMMANDS, 'image'), args);
    expect(call).toThrow(expect.objectContaining({ code: 'usage.invalid' }));
    expect(call).toThrow(message);
    if (hint !== undefined) expect(call).toThrow(expect.objectContaining({ hint }));
  });
});
