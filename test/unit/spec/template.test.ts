import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseFromTemplate, parseTemplate, renderChoice, renderTemplate } from '../../../src/spec/template.ts';
import { parseVmDocument } from '../../../src/spec/vm.ts';

const parse = (more: string): ReturnType<typeof parseTemplate> =>
  parseTemplate(`template: t\nsummary: s\n${more}`, 't.yaml');
const set = (values: Record<string, string>): Map<string, string> => new Map(Object.entries(values));

describe('brig comes with', () => {
  const files = globSync('templates/*.yaml').sort();

  test('templates of the systems that people run', () => {
    expect(files.map((path) => basename(path, '.yaml'))).toEqual([
      'alpine',
      'debian',
      'freebsd',
      'openbsd',
      'test',
      'ubuntu',
      'uefi',
      'windows',
    ]);
  });

  test.each(files)('%s, which makes a document of its defaults', (path) => {
    const template = parseTemplate(readFileSync(path, 'utf8'), path);
    expect(template.template).toBe(basename(path, '.yaml'));
    const needed = Object.entries(template.parameters).filter(([, each]) => each.default === undefined);
    const given = new Map(needed.map(([name]) => [name, '/images/medium.iso']));
    const document = parseVmDocument(renderTemplate(template, 'web01', given));
    expect(document.name).toBe('web01');
    expect(JSON.stringify(document)).not.toContain('${');
  });
});

describe('a template', () => {
  const template = parse(
    [
      'parameters:',
      '  cpus: { type: integer, min: 1, max: 8, default: 2 }',
      '  size: { type: size, default: 1G }',
      '  on: { type: boolean, default: false }',
      '  kind: { type: choice, values: [a, b] }',
      '  words: { type: string, default: x }',
      'vm:',
      '  cpus: ${cpus}',
      '  autostart: ${on}',
      '  labels: { kind: "k-${kind}-${name}", price: "5$$", words: "${words}" }',
      '  memory: ${size}',
    ].join('\n'),
  );

  test('puts values in with their types', () => {
    expect(renderTemplate(template, 'web01', set({ kind: 'a', on: 'true' }))).toEqual({
      name: 'web01',
      cpus: 2,
      autostart: true,
      labels: { kind: 'k-a-web01', price: '5$', words: 'x' },
      memory: '1G',
    });
  });

  test('says what whoever chooses of it does not, and its own labels stay', () => {
    const seed = `{ sshKeys: ['ssh-ed25519 ${'A'.repeat(68)} me'], device: ahci-cd, hostname: '\${name}' }`;
    const seeded = parse(`vm: { cloudInit: ${seed}, labels: { os: debian } }`);
    const choose = (more: object) => renderChoice(seeded, parseFromTemplate({ name: 'web01', ...more }, 'request'));
    const { cloudInit, labels } = parseVmDocument(
      choose({ cloudInit: { hostname: 'x' }, labels: { os: 'y', a: 'b' } }),
    );
    expect(cloudInit).toEqual({ hostname: 'x', sshKeys: [`ssh-ed25519 ${'A'.repeat(68)} me`], device: 'ahci-cd' });
    expect(labels).toEqual({ os: 'debian', a: 'b' });
    expect(choose({ cloudInit: { sshKeys: [] } }).cloudInit).toMatchObject({ hostname: 'web01', sshKeys: [] });
    expect(renderChoice(parse('vm: {}'), parseFromTemplate({ name: 'w' }, 'request'))).not.toHaveProperty('cloudInit');
  });

  test('takes no value for syntax', () => {
    const words = 'x", "firmware": {"rom": "/etc/passwd"} #';
    const { labels, firmware } = renderTemplate(template, 'w', set({ kind: 'a', words }));
    expect([labels, firmware]).toEqual([expect.objectContaining({ words }), undefined]);
    expect(renderTemplate(template, 'w', set({ kind: 'a', words: '${name}' })).labels).toMatchObject({
      words: '${name}',
    });
  });

  test.each<[Record<string, string>, string]>([
    [{}, '--set kind: expected a or b, got nothing'],
    [{ kind: 'c' }, '--set kind: expected a or b, got "c"'],
    [{ kind: 'a', cpus: '9' }, '--set cpus: expected a whole number from 1 to 8, got "9"'],
    [{ kind: 'a', cpus: '1.5' }, 'expected a whole number from 1 to 8'],
    [{ kind: 'a', size: 'big' }, 'expected a size such as 20G, got "big"'],
    [{ kind: 'a', on: 'yes' }, 'expected true or false, got "yes"'],
    [{ kind: 'a', words: 'a\nb' }, 'expected a text'],
    [{ kind: 'a', colour: 'red' }, 'expected one of cpus, size, on, kind, words, got colour'],
  ])('refuses %j', (given, reason) => {
    expect(() => renderTemplate(template, 'w', set(given))).toThrow(reason);
  });

  test.each([
    ['vm: { cpus: "${cups}" }', 'expected references to name, got ${cups}'],
    ['vm: {}\nparameters: { Big: { type: size } }', 'expected a name'],
    ['vm: {}\nparameters: { a: { type: colour } }', 'expected a type'],
    ['vm: {}\nparameters: { a: { type: integer, max: 3, default: 4 } }', 'expected a whole number to 3, got "4"'],
    ['vm: {}\nsource: { url: "http://x/y", verify: v }', 'source.url'],
    ['vm: {}\nshell: rm', 'expected no such key'],
    ['', 'vm: expected'],
  ])('is refused: %s', (more, reason) => {
    expect(() => parse(more)).toThrow(reason);
  });
});
