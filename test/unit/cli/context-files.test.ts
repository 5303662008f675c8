import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { changeContexts, contextsPath, makePrivate, readContexts } from '../../../src/cli/context-files.ts';
import type { Context } from '../../../src/spec/contexts.ts';

const CONTEXT: Context = { url: 'https://node.example', key: '/k', fingerprint: 'a'.repeat(64) };
const NAMES = Array.from({ length: 8 }, (_, i) => `n${i}`);
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-contexts-'));
  vi.stubEnv('XDG_CONFIG_HOME', dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const add = (name: string): Promise<void> =>
  changeContexts(({ contexts }) => ({ contexts: { ...contexts, [name]: CONTEXT } }));
const names = async (): Promise<string[]> => Object.keys((await readContexts(contextsPath()))?.contexts ?? {}).sort();

describe('contexts', () => {
  test('that many change at once are all there', async () => {
    await Promise.all(NAMES.map(add));
    expect(await names()).toEqual(NAMES);
    expect(readdirSync(join(dir, 'brig'))).toEqual(['contexts.yaml']);
  });

  test('are not locked for ever by who crashed', async () => {
    mkdirSync(join(dir, 'brig'));
    const lock = `${contextsPath()}.lock`;
    writeFileSync(lock, '');
    utimesSync(lock, 0, 0);
    await Promise.all(NAMES.map(add));
    expect(await names()).toEqual(NAMES);
    expect(readdirSync(join(dir, 'brig'))).toEqual(['contexts.yaml']);
  });

  test('that refuse a change stay as they are, and open to the next one', async () => {
    await add('a');
    const refuse = changeContexts(() => {
      throw new Error('no such context');
    });
    await expect(refuse).rejects.toThrow('no such context');
    await add('b');
    expect(await names()).toEqual(['a', 'b']);
  });

  test('whose directory cannot be made are a failure of the host, in one line', async () => {
    writeFileSync(join(dir, 'brig'), 'a file');
    await expect(add('a')).rejects.toMatchObject({
      code: 'host.failed',
      message: expect.stringMatching(/^write .*contexts\.yaml: EEXIST: file already exists$/) as string,
    });
    await expect(makePrivate(join(dir, 'brig/keys/a.key'), 'x')).rejects.toMatchObject({ code: 'host.failed' });
  });
});

test('a key that is there is not written over, however many make one at once', async () => {
  const path = join(dir, 'brig/keys/a.key');
  await Promise.all(NAMES.map((name) => makePrivate(path, name)));
  const first = readFileSync(path, 'utf8');
  expect(NAMES).toContain(first);
  await makePrivate(path, 'other');
  expect(readFileSync(path, 'utf8')).toBe(first);
  expect(readdirSync(join(dir, 'brig/keys'))).toEqual(['a.key']);
  expect(existsSync(`${contextsPath()}.lock`)).toBe(false);
});
