import { createHash } from 'node:crypto';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { LIMITS } from '../../../src/base/limits.ts';
import { pack, readArchive } from '../../../src/io/archive.ts';
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

  test('a copy has the holes of what it was made of', async () => {
    const [source, target] = [join(dir, 'holes'), join(dir, 'copied')];
    writeFileSync(source, 'begin');
    truncateSync(source, 2 ** 28 + 5);
    appendFileSync(source, 'end');
    await files.copy(source, target, access);
    expect(statSync(target).size).toBe(2 ** 28 + 8);
    expect(statSync(target).blocks * 512).toBeLessThan(4 * 2 ** 20);
    expect((await files.digest(target))?.sha256).toBe((await files.digest(source))?.sha256);
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

describe('what a file is made of', () => {
  test('is its sha-256, through links, and never waits for anybody', async () => {
    const path = join(dir, 'made');
    writeFileSync(path, 'abc', { mode: 0o640 });
    symlinkSync(path, join(dir, 'to-made'));
    // FIPS 180-2, appendix B.1
    const sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(await files.digest(path)).toEqual({ sha256, bytes: 3, mode: 0o640 });
    expect(await files.digest(join(dir, 'to-made'))).toMatchObject({ sha256 });
    expect(Buffer.from((await files.head(path, 2)) ?? []).toString()).toBe('ab');
    expect(Buffer.from((await files.head(path, 9)) ?? []).toString()).toBe('abc');
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    for (const each of ['fifo', '.']) await expect(files.digest(join(dir, each))).rejects.toThrow('not a file');
    expect([await files.digest(join(dir, 'no')), await files.head(join(dir, 'no'), 1)]).toEqual([undefined, undefined]);
  });

  test('of many pieces is that of the whole', async () => {
    const path = join(dir, 'large');
    const content = Buffer.alloc(3 * 2 ** 18 + 5, 'brig');
    writeFileSync(path, content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    expect(await files.digest(path)).toMatchObject({ sha256, bytes: content.length });
  });

  test('has an identity once it has rested: then every change shows, by content, by mode and by name', async () => {
    const path = join(dir, 'resting');
    writeFileSync(path, 'one');
    expect(await files.identity(path), 'too young to tell').toBeUndefined();
    await sleep(LIMITS.settledMs + 50);
    const before = await files.identity(path);
    expect(before).toBeDefined();
    expect(await files.identity(path)).toBe(before);
    symlinkSync(path, join(dir, 'to-resting'));
    expect(await files.identity(join(dir, 'to-resting'))).toBe(before);
    // Times that somebody sets back do not hide a change.
    const { atime, mtime } = statSync(path);
    writeFileSync(path, 'two');
    utimesSync(path, atime, mtime);
    expect(await files.identity(path)).toBeUndefined();
    await sleep(LIMITS.settledMs + 50);
    expect(await files.identity(path)).not.toBe(before);
    expect(await files.identity(join(dir, 'no'))).toBeUndefined();
  });

  test('is whole on the disk before anybody sees it, when it must be', async () => {
    const path = join(dir, 'durable');
    await files.writeText(path, 'kept', { ...access, durable: true });
    expect(readFileSync(path, 'utf8')).toBe('kept');
    expect(await files.stat(path)).toMatchObject({ bytes: 4, modifiedMs: Math.floor(statSync(path).mtimeMs) });
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

describe('an archive that is read', () => {
  const sha = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
  const path = join(dir, 'read.tar.zst');

  test('tells of each entry what was packed', async () => {
    await pack(
      [
        { path: '/', mode: 0o755 },
        { path: '/bin', mode: 0o711 },
        { path: '/bin/sh', mode: 0o555, from: '/bin/sh' },
      ],
      path,
      access,
    );
    const content = readFileSync('/bin/sh');
    const empty = { kind: 'directory', bytes: 0, sha256: sha(Buffer.alloc(0)) };
    expect(await readArchive(path)).toEqual({
      entries: [
        { path: '/', mode: 0o755, ...empty },
        { path: '/bin', mode: 0o711, ...empty },
        { path: '/bin/sh', mode: 0o555, kind: 'file', bytes: content.length, sha256: sha(content) },
      ],
    });
  });

  test('and is absent is an error; one of nothing has no end', async () => {
    await expect(readArchive(join(dir, 'no'))).rejects.toMatchObject({ code: 'host.failed' });
    writeFileSync(path, '');
    expect(await readArchive(path)).toEqual({ entries: [], trouble: 'its end is missing' });
  });

  test('and unpacks to more than any root is given up', async () => {
    const bomb = zstdCompressSync(Buffer.alloc(2 ** 28 + 2 ** 20));
    expect(bomb.length).toBeLessThan(2 ** 20);
    writeFileSync(path, bomb);
    const { entries, trouble } = await readArchive(path);
    expect(entries).toEqual([]);
    expect(trouble).toContain('larger than 268435456 bytes');
  });

  test('and has two entries in a frame is not one of ours', async () => {
    const tar = execFileSync('tar', ['-cf', '-', '-C', '/', 'bin/sh', 'bin/ls'], { maxBuffer: 2 ** 26 });
    writeFileSync(path, zstdCompressSync(tar));
    expect((await readArchive(path)).trouble).toMatch(/expected one entry in a frame, got/);
  });
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
