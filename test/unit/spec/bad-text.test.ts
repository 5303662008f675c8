import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BrigError } from '../../../src/base/errors.ts';
import { parseConfig } from '../../../src/spec/config.ts';
import { parseText } from '../../../src/spec/document.ts';
import { parseNetwork } from '../../../src/spec/network.ts';
import { parseTemplate, renderTemplate } from '../../../src/spec/template.ts';
import { parseVmDocument, parseVmText } from '../../../src/spec/vm.ts';
import { times } from '../../property.ts';

/** Whatever comes is a document, or a refusal of ours with a text. */
const attempt = (work: () => unknown): string => {
  try {
    work();
    return '';
  } catch (error) {
    if (!(error instanceof BrigError)) throw error;
    expect(error.code).toMatch(/^(spec|net|config)\.invalid$/);
    return error.message;
  }
};
const parseAll = (text: string): string =>
  [parseVmText, parseConfig, parseTemplate, (source: string) => parseNetwork(parseText(source, 'x'))]
    .map((parse) => attempt(() => parse(text, 'x')))
    .join('\n');

const bigints = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

const many = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

describe('a document that is made to do harm', () => {
  test.each([
    ['lists in lists', '['.repeat(20_000), /call stack/],
    ['lists in lists that end', `name: ${'['.repeat(900)}${']'.repeat(900)}`, /expected string|call stack/],
    ['objects in objects', '{a: '.repeat(20_000), /call stack/],
    ['entries in entries', '- '.repeat(20_000), /call stack/],
    ['keys in keys', '? '.repeat(20_000), /call stack/],
    [
      'aliases of aliases',
      many(8, (i) => `a${i}: &a${i} [${Array.from({ length: 9 }, () => (i === 0 ? 'x' : `*a${i - 1}`)).join()}]`),
      /[Aa]lias/,
    ],
    ['an alias of what it is in', '&a {name: *a}', /within itself/],
    ['an alias of a list that it is in', 'name: web\nlabels: &a [*a]', /within itself/],
    ['an alias of nothing', 'name: *b', /Unresolved alias/],
    ['anchors without end', '&a '.repeat(20_000), /at most one anchor/],
    ['a key twice', 'name: a\nname: b', /line 2 column 1: Map keys must be unique/],
    ['a key twice, in an object', 'name: a\nlabels: {a: x, a: y}', /Map keys must be unique/],
    ['a merge', 'x: &x {name: a}\n<<: *x', /<<: expected no such key/],
    ['a merge of an older YAML', '%YAML 1.1\n---\nname: a\n<<: {cpus: 2}', /firmware/],
    ['a tag that makes things', 'name: !!js/function "x"\nowner: !!python/object:os.system x\ncpus: a', /cpus/],
    ['bytes', '%YAML 1.1\n---\nname: !!binary aGVsbG8=', /name/],
    ['a set', '%YAML 1.1\n---\nname: !!set {a, b}', /name/],
    ['keys that are lists', '? [a, b]\n: c', /expected no such key/],
    [
      'properties of all objects',
      '__proto__: {owner: root}\nconstructor: {prototype: {a: 1}}\nname: web',
      /__proto__: expected no such key/,
    ],
    ['no number', 'name: web\ncpus: .nan\nmemory: .inf', /cpus/],
    ['a number that is too large', 'name: web\ncpus: 1e309\nmemory: 99999999999999999999999999', /cpus/],
    ['half a character', 'name: "\\ud800"', /name/],
    ['a null byte', 'name: "web\\0"', /name/],
    ['two documents', 'name: a\n---\nname: b', /multiple documents/],
    ['controls for a terminal', 'name: "\\e[2J"\n\u001b[31mred: 1', /./],
  ])('is refused: %s', (_, text, reason) => {
    const said = attempt(() => parseVmText(text, 'x'));
    expect(said).toMatch(reason);
    expect(said).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    parseAll(text);
  });

  test.each([
    ['keys', many(30_000, (i) => `k${i}: 1`)],
    ['keys of an object', JSON.stringify(Object.fromEntries(Array.from({ length: 30_000 }, (_, i) => [`k${i}`, 1])))],
    ['anchors', '&a '.repeat(30_000)],
    ['disks', JSON.stringify({ name: 'web', disks: Array(200_000).fill({}) })],
    ['rules', JSON.stringify({ name: 'web', nics: [{ allow: Array(200_000).fill({ from: 1 }) }] })],
    [
      'characters of a dataset',
      JSON.stringify({ name: 'web', disks: [{ zvol: { size: '1G', from: `${'a'.repeat(2 ** 20)}!` } }] }),
    ],
    [
      'parts of a dataset',
      JSON.stringify({ name: 'web', disks: [{ zvol: { size: '1G', from: `${'a/'.repeat(2 ** 19)}@!` } }] }),
    ],
  ])('of very many %s is refused before anybody has waited long, in few words', (_, text) => {
    const said = attempt(() => parseVmText(text, 'x'));
    expect(said).toMatch(/./);
    expect(said.length).toBeLessThan(20_000);
  });

  test('makes no object another than it was', () => {
    parseAll('{"__proto__": {"polluted": 1}, "labels": {"__proto__": {"polluted": 1}}, "name": "web"}');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

const scalars = fc.constantFrom(
  ...[
    'web',
    '1',
    '-1',
    '0',
    'true',
    'null',
    '~',
    '1e309',
    '.nan',
    '.inf',
    '0x7f',
    '0o17',
    '999999999999999999',
    '""',
    '"\\u0000"',
    '"\\ud800"',
  ],
  ...[
    '*a',
    '&a x',
    '!!str 1',
    '!!int x',
    '!x y',
    '|',
    '>',
    '- ',
    '?',
    '%',
    '@',
    '`',
    '[',
    '{',
    ']',
    '}',
    ',',
    '#',
    '"',
    "'",
  ],
);
const keys = fc.constantFrom(
  ...[
    'name',
    'cpus',
    'memory',
    'disks',
    'nics',
    'labels',
    'owner',
    'firmware',
    'boot',
    'devices',
    'image',
    'cloudInit',
    'restart',
    'limits',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    '<<',
    '',
    'kind',
    'subnets',
    'quotas',
    'listen',
    'networks',
    'stateDir',
    'zvol',
    'network',
    'template',
    'parameters',
    'vm',
    'type',
    'default',
  ],
);
const lines = fc
  .array(fc.tuple(fc.nat(3), keys, scalars, fc.boolean()), { maxLength: 12 })
  .map((all) =>
    all.map(([depth, key, value, isEntry]) => `${'  '.repeat(depth)}${isEntry ? '- ' : ''}${key}: ${value}`).join('\n'),
  );

describe('whatever text comes', () => {
  test('as characters, or as lines of something like YAML, is a document or is refused', () => {
    fc.assert(
      fc.property(fc.oneof(lines, fc.string({ unit: 'binary' }), fc.json()), (text) => {
        expect(parseAll(text)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
      }),
      times(400),
    );
  });

  test('as values of any type in places of a document is refused or a document', () => {
    const value = fc.oneof(fc.anything({ maxDepth: 3, withNullPrototype: true }), fc.object({ maxDepth: 3 }));
    fc.assert(
      fc.property(fc.dictionary(keys, value, { maxKeys: 8 }), (document) => {
        attempt(() => parseVmDocument({ name: 'web', ...document }));
        attempt(() => parseNetwork({ name: 'lan', ...document }));
        attempt(() => parseTemplate(`template: x\nsummary: x\nvm: ${JSON.stringify(document, bigints)}`, 'x'));
      }),
      times(400),
    );
  });

  test('as a value for a template is refused, or is that value in its place and nothing else', () => {
    const template = parseTemplate(
      'template: x\nsummary: x\nparameters: {a: {type: string}}\nvm: {labels: {whole: "${a}", part: "<${a}>"}, cpus: 1}',
      'x',
    );
    const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('${name}', '$$', '$&', '${a}', 'x: y', '*a'));
    fc.assert(
      fc.property(texts, (text) => {
        attempt(() => {
          const labels = { whole: text, part: `<${text}>` };
          expect(renderTemplate(template, 'web', new Map([['a', text]]))).toEqual({ name: 'web', labels, cpus: 1 });
        });
      }),
      times(400),
    );
  });
});
