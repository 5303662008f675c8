import { expect, test } from 'vitest';
import { baseCommand, renderBases, renderManifest, renderReport } from '../../../src/cli/commands/base.ts';
import { parseCall } from '../../../src/cli/command.ts';
import type { Client } from '../../../src/api/client.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

test('bases are a line each, and what is wrong with one comes after', () => {
  const words = { files: 25, bytes: 4_672_030, arch: 'amd64', release: '15.1-RELEASE-p1', key: '0123456789abcdef' };
  const text = renderBases(
    [
      { digest: A, current: true, builtMs: 0, usedBy: ['web01', 'db02'], verified: true, ...words },
      { digest: B, current: false, usedBy: [], verified: false, problem: 'unsigned: \u001b[2J is not there' },
    ],
    90_000,
  );
  expect(text.split('\n')).toEqual([
    'DIGEST        RELEASE          ARCH   FILES  SIZE  BUILT   CURRENT  VERIFIED  USED BY',
    'aaaaaaaaaaaa  15.1-RELEASE-p1  amd64  25     4.5M  1m ago  yes      yes       web01,db02',
    'bbbbbbbbbbbb  -                -      -      -     -       -        no        -',
    String.raw`bbbbbbbbbbbb: unsigned: \x1b[2J is not there`,
  ]);
});

test('a manifest is its words and a line for each path', () => {
  const manifest = {
    version: 1 as const,
    platform: 'freebsd' as const,
    digest: A,
    bytes: 4096,
    arch: 'amd64' as const,
    release: '15.1-RELEASE',
    directories: [{ path: '/', mode: '0755' }],
    files: [{ path: '/bin/sh', mode: '0555', bytes: 7, sha256: B }],
    devices: [],
  };
  const signature = { algorithm: 'ed25519' as const, key: '0123456789abcdef', value: '' };
  expect(renderManifest({ manifest, signature }).split('\n')).toEqual([
    `digest     ${A}`,
    'size       4096 bytes',
    'platform   freebsd amd64',
    'release    15.1-RELEASE',
    'signed by  ed25519 key 0123456789abcdef',
    `MODE  BYTES  SHA-256${' '.repeat(57)}  PATH`,
    `0755  -      -${' '.repeat(63)}  /`,
    `0555  7      ${B}  /bin/sh`,
  ]);
});

test('a report says that all is well, or every problem', () => {
  expect(renderReport({ digest: A, ok: true, files: 25, problems: [] })).toBe('aaaaaaaaaaaa: 25 files, all as signed');
  expect(renderReport({ digest: A, ok: false, files: 25, problems: ['one', 'two'] })).toBe(
    'aaaaaaaaaaaa: one\naaaaaaaaaaaa: two',
  );
});

/** What a client is asked for by a command line; what it answers does not matter here. */
const asked = async (...args: string[]): Promise<unknown[]> => {
  const calls: unknown[] = [];
  const client = new Proxy(
    {},
    {
      get:
        (_, name) =>
        (...values: unknown[]) => {
          calls.push(name, ...values);
          return Promise.reject(new Error('asked'));
        },
    },
  ) as unknown as Client;
  await baseCommand.run({ client, ...parseCall(baseCommand, args) }).catch((error: unknown) => {
    if (!(error instanceof Error) || error.message !== 'asked') throw error;
  });
  return calls;
};

test('each verb asks brigd for one thing; a key is a path of this directory', async () => {
  expect(await asked('build')).toEqual(['buildBase', undefined]);
  expect(await asked('build', '--key', '/root/k')).toEqual(['buildBase', '/root/k']);
  expect(await asked('build', '--key', 'k')).toEqual(['buildBase', `${process.cwd()}/k`]);
  expect(await asked('list')).toEqual(['bases']);
  expect(await asked('show')).toEqual(['showBase', 'current']);
  expect(await asked('show', 'ab12')).toEqual(['showBase', 'ab12']);
  expect(await asked('verify')).toEqual(['verifyBase', 'current']);
  expect(await asked('rm', 'ab12')).toEqual(['removeBase', 'ab12']);
});

test.each([
  [['rm'], 'expected 1 operand after rm, got nothing'],
  [['toString'], 'expected build, list, show, verify, rm, got toString'],
  [['list', 'ab12'], 'expected nothing after list, got ab12'],
  [['show', '--key', 'k'], 'expected --key after build only'],
  [[], 'expected 1 to 2 operands, got 0'],
])('brig base %j is refused: %s', async (args, reason) => {
  await expect(Promise.resolve().then(() => asked(...args))).rejects.toMatchObject({
    code: 'usage.invalid',
    message: `read arguments: ${reason}`,
  });
});
