import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseObject, parsePrincipal } from '../../src/acl/names.ts';
import { parseRole, ROLES, VERBS } from '../../src/acl/roles.ts';
import type { ApiOptions } from '../../src/api/options.ts';
import type { Route } from '../../src/api/route.ts';
import { routesOf } from '../../src/api/routes/table.ts';
import { Traffic } from '../../src/api/traffic.ts';
import { parseCall } from '../../src/cli/command.ts';
import { takeGlobals } from '../../src/cli/globals.ts';
import { findCommand } from '../../src/cli/help.ts';
import { COMMANDS } from '../../src/cli/table.ts';

const DOCS = new URL('../../docs/', import.meta.url).pathname;
const pages = globSync('*.[1-9]', { cwd: DOCS }).sort();
const textOf = (page: string): string => readFileSync(`${DOCS}${page}`, 'utf8');

test('there are manuals', () => {
  expect(pages).toEqual(['brig-access.7', 'brig-network.7', 'brig.8', 'brig.yaml.5', 'brigd.8']);
});

test.each(pages)('%s is what mdoc(7) wants', (page) => {
  const { status, stdout } = spawnSync('/usr/bin/mandoc', ['-T', 'lint', '-W', 'warning', `${DOCS}${page}`], {
    encoding: 'utf8',
  });
  expect([status, stdout]).toEqual([0, '']);
});

/** What somebody types: after a prompt or an indent, with a variable before it or a remark after it. */
const typed = (text: string, before: RegExp): string[] =>
  (text.replaceAll(/ \\\n +/g, ' ').match(new RegExp(`^(?:${before.source}).*$`, 'gm')) ?? [])
    .flatMap((line) => line.replace(before, '').split(' && '))
    .flatMap((line) => /^(?:\w+=\S+ )?brig (.*?)(?: +[|>#] .*)?$/.exec(line)?.[1] ?? []);

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const lines = [
  ...pages.flatMap((page) => typed(textOf(page), /(?:\.Dl )?[#$] /).map((line): [string, string] => [page, line])),
  ...typed(readme, / {4}/).map((line): [string, string] => ['README.md', line]),
];

test('there are lines that somebody types', () => {
  for (const page of ['brig-access.7', 'brig.8', 'README.md'])
    expect(lines.filter(([name]) => name === page).length, page).toBeGreaterThan(4);
});

test.each(lines)('%s says "brig %s", which parses', (_, line) => {
  const words = (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ''));
  const [name = '', ...rest] = takeGlobals(words).rest;
  const { operands } = parseCall(findCommand(COMMANDS, name), rest);
  const [principal = '', role = '', object = ''] = operands;
  if (name !== 'grant' && name !== 'revoke') return;
  expect([parsePrincipal(principal), parseRole(role), parseObject(object)].every((word) => word !== '')).toBe(true);
});

test('brig(8) names every command, and every verb of one', () => {
  const items = [...textOf('brig.8').matchAll(/^\.It Cm (.*)$/gm)].map(([, item = '']) => item.split(/[ ,]+/));
  const told = new Set(
    items.flatMap(([name = '', ...words]) => [name, ...words.map((word) => `${name} ${word}`), ...words]),
  );
  const wanted = Object.entries(COMMANDS).flatMap(([name, { verbs = {} }]) => [
    name,
    ...Object.keys(verbs).map((verb) => `${name} ${verb}`),
  ]);
  expect(wanted.filter((words) => !told.has(words))).toEqual([]);
});

/** The routes alone: nothing is asked of brigd. */
const routes = (): readonly Route[] => {
  const nothing: unknown = new Proxy({}, { get: () => nothing });
  return routesOf(nothing as ApiOptions<unknown>, new Traffic());
};

test('brig-access(7) says of every request what it needs, and for how many it counts', () => {
  const rows = [...textOf('brig-access.7').matchAll(/^\.It ([A-Z]+) Ta (\S+) Ta (.*)$/gm)];
  const told = new Map(rows.map(([, method, path, need = '']) => [`${method} ${path}`, need]));
  expect([told.size, routes().length], 'each once, and no other').toEqual([rows.length, rows.length]);
  const wrong = routes().filter(({ method, path, needs, cost = 1 }) => {
    const need = told.get(`${method} ${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase())}`);
    const isSaid =
      'within' in needs || need?.startsWith(`${needs.verb} on the ${needs.on === 'vm' ? 'VM' : needs.on}`) === true;
    return (
      need === undefined ||
      !isSaid ||
      (cost === 1) === / \(\d+\)$/.test(need) ||
      (cost > 1 && !need.endsWith(`(${cost})`))
    );
  });
  expect(wrong.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
});

test('brig-access(7) says what each role gives', () => {
  const manual = textOf('brig-access.7');
  for (const [role, verbs] of Object.entries(ROLES))
    expect(manual).toContain(`.It ${role} Ta ${verbs.length === VERBS.length ? 'all' : verbs.join(' ')}\n`);
  for (const verb of VERBS) expect(manual).toContain(`\n.It Cm ${verb}\n`);
});
