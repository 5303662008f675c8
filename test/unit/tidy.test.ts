import { globSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = new URL('../../', import.meta.url).pathname;
const sources = globSync('src/**/*.ts', { cwd: root })
  .sort()
  .map((path) => ({ path, text: readFileSync(root + path, 'utf8') }));

/** Rooms from the ground up: a room imports itself and rooms that it names here. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  net: ['base'],
  spec: ['base', 'net'],
  acl: ['base'],
  platform: ['base', 'spec', 'net'],
  image: ['base', 'spec', 'acl', 'platform'],
  freebsd: ['base', 'spec', 'net', 'image', 'platform'],
  linux: ['base', 'spec', 'net', 'image', 'platform'],
  model: ['base', 'platform'],
  saga: ['base'],
  store: ['base', 'spec', 'net'],
  engine: ['base', 'spec', 'net', 'acl', 'platform', 'saga', 'store'],
  io: ['base', 'acl'],
  // The wire carries the engine's shapes, so the API may name them.
  api: ['base', 'spec', 'acl', 'platform', 'store', 'engine'],
  daemon: ['base', 'spec', 'acl', 'platform', 'image', 'freebsd', 'linux', 'model', 'store', 'engine', 'api', 'io'],
  cli: ['base', 'spec', 'acl', 'platform', 'store', 'engine', 'api', 'io'],
  index: [
    'base',
    'spec',
    'platform',
    'freebsd',
    'linux',
    'model',
    'saga',
    'store',
    'engine',
    'api',
    'io',
    'daemon',
    'net',
    'acl',
    'image',
  ],
};

/** Packages and parts of Node that reach outside: each has its rooms. */
const OWNERS: Readonly<Record<string, readonly string[]>> = {
  execa: ['io', 'daemon'],
  zod: ['spec', 'api'],
  tweetnacl: ['acl'],
  yaml: ['spec'],
  'ip-num': ['net'],
  pino: ['daemon'],
  ws: ['api'],
  'tar-stream': ['io'],
  'node:sqlite': ['store'],
  'node:fs': ['io', 'daemon', 'cli'],
  'node:fs/promises': ['io', 'daemon', 'cli'],
  'node:child_process': ['io'],
  'node:net': ['io', 'daemon'],
  'node:tls': ['api', 'daemon'],
  'node:https': ['daemon'],
  'node:http': ['daemon', 'api'],
  'node:os': ['io', 'daemon'],
  'node:stream/promises': ['io', 'cli'],
  'node:zlib': ['io'],
  'node:readline': ['api'],
  'node:readline/promises': ['cli'],
  'node:stream': ['api', 'cli', 'daemon', 'io'],
  'node:timers/promises': ['api', 'io', 'cli'],
  'node:path': ['io', 'cli'],
  'node:util': ['cli', 'daemon'],
  'node:url': ['io'],
  'node:assert': ['freebsd', 'linux', 'model', 'saga', 'image'],
  'node:crypto': ['platform', 'net', 'daemon', 'acl', 'image', 'io', 'model', 'api', 'cli'],
};

/** What is banned, and what to write instead. */
const BANS: readonly [RegExp, string][] = [
  [/\bshell:\s*true/, 'argv arrays, never a shell'],
  [/process\.platform/, 'the configuration or uname(1): Node may run under Linux emulation'],
  [/\bMath\.random\(/, 'an injected source of ids'],
  [/\bsetInterval\(/, 'an event, or the one reconcile loop'],
  [/: any\b|<any>|as any\b/, 'unknown and a parser'],
  [/\bTODO\b|\bFIXME\b|\bXXX\b/, 'an issue'],
  [/\bconsole\.(log|info|warn|error)\(/, 'the log, or print of the CLI'],
  [/export \* from/, 'explicit exports'],
];
const ALLOWED = new Set([
  // A kernel without inotify: one look a second at one directory.
  'src/io/files.ts setInterval',
  // A person looks at a progress line.
  'src/cli/progress.ts setInterval',
]);

const roomOf = (path: string): string => path.split('/')[1]?.replace(/\.ts$/, '') ?? '';
const importsOf = (text: string): string[] =>
  [...text.matchAll(/^(?:import|export)[^'"]*?from '([^']+)';|^import '([^']+)';|import\('([^']+)'\)/gm)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
const resolve = (from: string, to: string): string => relative(root, new URL(to, `file://${root}${from}`).pathname);

describe('the tree', () => {
  test('every file is in a room of the plan', () => {
    expect(sources.filter(({ path }) => !(roomOf(path) in ROOMS)).map(({ path }) => path)).toEqual([]);
  });

  test('ARCHITECTURE.md says the same', () => {
    const text = readFileSync(`${root}ARCHITECTURE.md`, 'utf8');
    const rows = [...text.matchAll(/^\| `(\w+)` \|[^|]*\| ([^|]*?) *\|/gm)].map(([, room = '', imports = '']) => [
      room,
      imports.split(', ').filter((each) => each !== ''),
    ]);
    const told = Object.fromEntries(rows) as Record<string, string[]>;
    for (const [room, imports] of Object.entries(ROOMS).filter(([name]) => name !== 'index'))
      expect(told[room]?.toSorted(), room).toEqual([...imports].sort());
  });

  test('rooms import downwards only', () => {
    const wrong = sources.flatMap(({ path, text }) =>
      importsOf(text)
        .filter((name) => name.startsWith('.'))
        .map((name) => roomOf(resolve(path, name)))
        .filter((room) => room !== roomOf(path) && !(ROOMS[roomOf(path)] ?? []).includes(room))
        .map((room) => `${path} imports ${room}`),
    );
    expect(wrong).toEqual([]);
  });

  test('what reaches outside has an owner', () => {
    const wrong = sources.flatMap(({ path, text }) =>
      importsOf(text)
        .filter((name) => !name.startsWith('.'))
        .filter((name) => !(OWNERS[name] ?? []).includes(roomOf(path)))
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test('no two files import each other in a circle', () => {
    const graph = new Map(
      sources.map(({ path, text }) => [
        path,
        importsOf(text.replaceAll(/^import type .*$/gm, ''))
          .filter((name) => name.startsWith('.'))
          .map((name) => resolve(path, name)),
      ]),
    );
    const circles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      else if (!done.has(path)) for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    const done = new Set<string>();
    for (const path of graph.keys()) visit(path, []);
    expect(circles).toEqual([]);
  });

  test('nothing banned is written', () => {
    const wrong = sources.flatMap(({ path, text }) =>
      BANS.filter(([pattern]) => pattern.test(text.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '')))
        .filter(
          ([pattern]) =>
            ![...ALLOWED].some(
              (each) => each.startsWith(`${path} `) && pattern.source.includes(each.split(' ')[1] ?? ''),
            ),
        )
        .map(([pattern, instead]) => `${path}: ${pattern.source}: write ${instead}`),
    );
    expect(wrong).toEqual([]);
  });

  test('every export is used somewhere else', () => {
    const everywhere = [
      ...sources,
      ...globSync('test/**/*.ts', { cwd: root }).map((path) => ({ path, text: readFileSync(root + path, 'utf8') })),
    ];
    const isUsed = (name: string, path: string, text: string): boolean => {
      const word = new RegExp(`\\b${name}\\b`, 'g');
      if (everywhere.some((other) => other.path !== path && other.text.match(word))) return true;
      // A type is part of what its file exports when something there uses it.
      return /^[A-Z]/.test(name) && (text.match(word)?.length ?? 0) > 1;
    };
    const dead = sources.flatMap(({ path, text }) =>
      [...text.matchAll(/^export (?:const|class|interface|type|function) (\w+)/gm)]
        .map((match) => match[1] ?? '')
        .filter((name) => !isUsed(name, path, text))
        .map((name) => `${path}: ${name}`),
    );
    expect(dead).toEqual([]);
  });

  test('files are short', () => {
    expect(sources.filter(({ text }) => text.split('\n').length > 400).map(({ path }) => path)).toEqual([]);
  });

  test('rooms have no drawers for everything', () => {
    expect(
      sources.filter(({ path }) => /(utils?|common|helpers?|misc)(\.ts|\/)/.test(path)).map(({ path }) => path),
    ).toEqual([]);
  });
});
