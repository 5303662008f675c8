import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { pack } from '../../../src/io/archive.ts';
import { BoundedLog } from '../../../src/io/bounded-log.ts';
import { run } from '../../../src/io/exec.ts';
import * as files from '../../../src/io/files.ts';
import { command } from '../../../src/platform/command.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-io-'));
afterAll(() => rmSync(dir, { recursive: true }));
const access = { mode: 0o640, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

describe('files', () => {
  test('are written with their mode, whole or not at all', async () => {
    const path = join(dir, 'a');
    await files.writeText(path, 'one', access);
    await files.writeText(path, 'two', { ...access, mode: 0o600 });
    expect(readFileSync(path, 'utf8')).toBe('two');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await files.list(dir)).toEqual(['a']);
  });

  test('a planted link is replaced, not followed', async () => {
    const target = join(dir, 'target');
    writeFileSync(target, 'precious');
    symlinkSync(target, join(dir, 'link'));
    await files.writeText(join(dir, 'link'), 'new', access);
    expect(readFileSync(target, 'utf8')).toBe('precious');
  });

  test('absent is undefined for a reader and success for a remover', async () => {
    expect(await files.readText(join(dir, 'no'))).toBeUndefined();
    expect(await files.list(join(dir, 'no'))).toBeUndefined();
    expect(await files.stat(join(dir, 'no'))).toBeUndefined();
    await files.remove(join(dir, 'no'));
    await files.removeEmpty(join(dir, 'no'));
  });

  test('a disk is sparse and never made over another', async () => {
    const path = join(dir, 'disk');
    await files.allocate(path, 2 ** 30, access);
    expect(statSync(path).size).toBe(2 ** 30);
    expect(statSync(path).blocks).toBe(0);
    await expect(files.allocate(path, 1, access)).rejects.toThrow('exist');
  });

  test('a copy grows to its size, and never loses what it was made of', async () => {
    const source = join(dir, 'source');
    writeFileSync(source, 'disk');
    await files.copy(source, join(dir, 'grown'), access, 1024);
    expect(readFileSync(join(dir, 'grown')).subarray(0, 5)).toEqual(Buffer.from('disk\0'));
    expect(statSync(join(dir, 'grown')).size).toBe(1024);
    await expect(files.copy(source, join(dir, 'small'), access, 2)).rejects.toThrow('expected at most 2 bytes, got 4');
    expect(await files.stat(join(dir, 'small'))).toBeUndefined();
  });

  test('a tree is removed without following its links', async () => {
    const tree = join(dir, 'tree');
    await files.makeDirectory(tree, { ...access, mode: 0o700 });
    await files.makeDirectory(join(tree, 'inner'), { ...access, mode: 0o700 });
    const outside = join(dir, 'outside');
    writeFileSync(outside, 'precious');
    symlinkSync(outside, join(tree, 'inner', 'link'));
    await files.remove(tree);
    expect(await files.stat(tree)).toBeUndefined();
    expect(readFileSync(outside, 'utf8')).toBe('precious');
  });
});

describe('programs', () => {
  test('answer with status, output and nothing of our environment', async () => {
    process.env.BRIG_CANARY = 'secret';
    const result = await run(command('/usr/bin/env', []));
    expect(result.status).toBe(0);
    expect(result.stdout).not.toContain('BRIG_CANARY');
  });

  test('a signal is 128 + n, a missing program is named, a slow one is ended', async () => {
    expect((await run(command('/bin/sh', ['-c', 'kill -9 $$']))).status).toBe(137);
    await expect(run(command('/no/such', []))).rejects.toMatchObject({ code: 'host.missing' });
    expect(await run(command('/bin/sleep', ['9'], { timeoutMs: 50 }))).toMatchObject({ timedOut: true });
  });

  test('stdin is passed and its end too', async () => {
    expect((await run(command('/bin/cat', [], { stdin: 'rules\n' }))).stdout).toBe('rules\n');
  });
});

/** Every frame on its own, as tarfs(5) reads them. */
const unpack = (packed: Buffer): Buffer => {
  const parts: Buffer[] = [];
  for (let rest = packed; rest.length > 0;) {
    const { buffer, engine } = zstdDecompressSync(rest, { info: true }) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    parts.push(buffer);
    rest = rest.subarray(engine.bytesWritten);
  }
  return Buffer.concat(parts);
};

test('an archive is the same bytes each time, and tar reads it', async () => {
  const entries = [
    { path: '/', mode: 0o755 },
    { path: '/bin', mode: 0o755 },
    { path: '/bin/sh', mode: 0o555, from: '/bin/sh' },
  ];
  await pack(entries, join(dir, '1.tar.zst'), access);
  await pack(entries, join(dir, '2.tar.zst'), access);
  expect(readFileSync(join(dir, '1.tar.zst')).equals(readFileSync(join(dir, '2.tar.zst')))).toBe(true);
  const input = unpack(readFileSync(join(dir, '1.tar.zst')));
  const listed = execFileSync('tar', ['-tvf', '-'], { input, encoding: 'utf8', env: { PATH: '/bin:/usr/bin' } });
  // GNU tar and bsdtar differ in columns, not in modes and names.
  expect(listed.split('\n').map((line) => line.replace(/^(\S+) .* (\S+)$/, '$1 $2'))).toEqual([
    'drwxr-xr-x ./',
    'drwxr-xr-x ./bin/',
    '-r-xr-xr-x ./bin/sh',
    '',
  ]);
});

test('a console log never grows beyond its bound and keeps the newest', async () => {
  const log = new BoundedLog(join(dir, 'console.log'), 1000);
  for (let i = 0; i < 100; i++) {
    log.append(Buffer.from(`${String(i).padStart(3, '0')}${'x'.repeat(47)}`));
    await log.tail(0);
  }
  const tail = (await log.tail(5000)).toString();
  expect(tail.length).toBeLessThanOrEqual(1000);
  expect(tail.endsWith(`099${'x'.repeat(47)}`)).toBe(true);
});
