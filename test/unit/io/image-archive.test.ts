import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Inbox } from '../../../src/base/inbox.ts';
import { isTar, packImage, unpackImage } from '../../../src/io/image-archive.ts';
import { chance } from '../../soak/chance.ts';

const dir = mkdtempSync('/tmp/brig-archive-');
afterAll(() => rmSync(dir, { recursive: true }));

// eslint-disable-next-line @typescript-eslint/require-await
const stream = async function* (data: Uint8Array, piece = 70_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += piece) yield Buffer.from(data.subarray(at, at + piece));
};

const all = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
};

/** Reads an archive to its end, as an import does. */
const read = async (tar: Uint8Array): Promise<{ manifest: string; disks: Buffer[] }> => {
  const { manifest, disks } = await unpackImage(new Inbox(stream(tar)));
  const found: Buffer[] = [];
  for await (const { data } of disks()) found.push(await all(data));
  return { manifest, disks: found };
};

const pack = async (manifest: string, disks: readonly Buffer[]): Promise<Buffer> => {
  const each = async function* () {
    for (const disk of disks) yield await Promise.resolve({ bytes: disk.length, data: stream(disk, 300_000) });
  };
  return await all(packImage({ manifest, disks: each }));
};

const run = (program: string, args: readonly string[], input?: Uint8Array): Buffer => {
  const { status, stdout, stderr } = spawnSync(program, args, { input, cwd: dir, maxBuffer: 2 ** 28 });
  expect([status, stderr.toString()]).toEqual([0, '']);
  return stdout;
};
const unzstd = (bytes: Uint8Array): Buffer => run('/usr/bin/zstd', ['-dcq'], bytes);

/** Bytes that do not compress to nothing. */
const noise = (bytes: number, seed = 1): Buffer => {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, i) =>
    createHash('sha256').update(`${seed} ${i}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
};

const DISKS = [noise(700_001), Buffer.alloc(3_000_000)];

describe('an archive', () => {
  test('comes back as it went, and is the same bytes each time', async () => {
    const packed = await pack('{"a":1}\n', DISKS);
    expect(packed.equals(await pack('{"a":1}\n', DISKS))).toBe(true);
    const { manifest, disks } = await read(unzstd(packed));
    expect(manifest).toBe('{"a":1}\n');
    expect(disks.map((disk, i) => disk.equals(DISKS[i] ?? Buffer.of()))).toEqual([true, true]);
  });

  test('is a tar that tar(1) reads, in frames that are read one by one', async () => {
    const packed = await pack('{}', DISKS);
    writeFileSync(join(dir, 'a.tar.zst'), packed);
    expect(run('/usr/bin/tar', ['--zstd', '-tf', 'a.tar.zst']).toString().trim().split('\n')).toEqual([
      'manifest.json',
      'disk0.raw',
      'disk1.raw',
    ]);
    expect(run('/usr/bin/tar', ['--zstd', '-xOf', 'a.tar.zst', 'disk0.raw']).equals(DISKS[0] ?? Buffer.of())).toBe(
      true,
    );
    const frames = /Frames\s+(\d+)|^\s*(\d+)\s+\d+\s/m.exec(run('/usr/bin/zstd', ['-lq', 'a.tar.zst']).toString());
    const tarBytes = unzstd(packed).length;
    expect(Number(frames?.[1] ?? frames?.[2])).toBe(Math.ceil(tarBytes / (128 * 1024)));
  });

  test('with a disk of more than 8 GiB has a header that tar(1) reads', async () => {
    const bytes = 9 * 2 ** 30 + 5;
    // eslint-disable-next-line @typescript-eslint/require-await
    const disks = async function* () {
      yield { bytes, data: stream(noise(2 ** 22)) };
    };
    const first = await packImage({ manifest: '{}', disks }).next();
    const listing = spawnSync('/usr/bin/tar', ['-tvf', '-'], { input: unzstd(first.done ? Buffer.of() : first.value) });
    expect(listing.stdout.toString()).toMatch(new RegExp(` ${bytes} .* disk0.raw`));
  });

  test('of a disk that ends early is an error, not half an archive', async () => {
    // eslint-disable-next-line @typescript-eslint/require-await
    const disks = async function* () {
      yield { bytes: 10, data: stream(Buffer.alloc(5)) };
    };
    await expect(all(packImage({ manifest: '{}', disks }))).rejects.toThrow('Size mismatch');
  });
});

describe('refused is an archive', () => {
  const MANIFEST = '{"manifest":1}';
  let good: Buffer;

  beforeAll(async () => {
    good = unzstd(await pack(MANIFEST, [noise(5_000)]));
    writeFileSync(join(dir, 'manifest.json'), MANIFEST);
    writeFileSync(join(dir, 'disk0.raw'), noise(5_000));
    writeFileSync(join(dir, 'disk1.raw'), noise(5_000, 2));
    symlinkSync('/etc/passwd', join(dir, 'link'));
    linkSync(join(dir, 'disk0.raw'), join(dir, 'disk9.raw'));
    mkdirSync(join(dir, 'sub'));
    chmodSync(join(dir, 'sub'), 0o755);
    spawnSync('/usr/bin/mkfifo', [join(dir, 'fifo')]);
    truncateSync(join(dir, 'disk1.raw'), 4_096);
  });

  const tar = (...args: string[]): Buffer => run('/usr/bin/tar', ['--format=ustar', '-cf', '-', ...args]);
  const as = (from: string, to: string): string => `--transform=s,^${from}$,${to},`;

  test.each<[string, () => Buffer, string]>([
    ['that is empty', () => Buffer.alloc(1024), 'it is empty'],
    ['of nothing', () => Buffer.alloc(0), 'it is cut short'],
    ['with a symbolic link', () => tar('manifest.json', as('link', 'disk0.raw'), 'link'), 'a symbolic link'],
    ['with a hard link', () => tar('manifest.json', 'disk0.raw', 'disk9.raw'), 'a hard link'],
    ['with a device', () => tar('manifest.json', '-C', '/dev', as('null', 'disk0.raw'), 'null'), 'a device'],
    ['with a FIFO', () => tar('manifest.json', as('fifo', 'disk0.raw'), 'fifo'), 'a FIFO'],
    ['with a directory', () => tar('manifest.json', 'sub'), 'a directory'],
    [
      'with a path upwards',
      () => tar('manifest.json', as('disk0.raw', '../../disk0.raw'), '-P', 'disk0.raw'),
      'leads out of it',
    ],
    [
      'with an absolute path',
      () => tar('manifest.json', as('disk0.raw', '/etc/disk0.raw'), '-P', 'disk0.raw'),
      'leads out of it',
    ],
    [
      'with a disk twice',
      () => tar('manifest.json', 'disk0.raw', as('disk1.raw', 'disk0.raw'), 'disk1.raw'),
      'is there twice',
    ],
    [
      'with a manifest twice',
      () => tar('manifest.json', as('disk0.raw', 'manifest.json'), 'disk0.raw'),
      'is there twice',
    ],
    [
      'with disks in another order',
      () => tar('manifest.json', 'disk1.raw', 'disk0.raw'),
      'expected disk0.raw, got "disk1.raw"',
    ],
    [
      'with another file',
      () => tar('manifest.json', as('disk1.raw', 'rc.local'), 'disk1.raw'),
      'expected disk0.raw, got "rc.local"',
    ],
    ['without a manifest first', () => tar('disk0.raw', 'manifest.json'), 'expected manifest.json'],
    [
      'with extended headers',
      () => run('/usr/bin/tar', ['--format=pax', '-cf', '-', 'manifest.json']),
      'an extended header',
    ],
    [
      'with long names',
      () => run('/usr/bin/tar', ['--format=gnu', '-cf', '-', as('disk0.raw', 'x'.repeat(300)), 'disk0.raw']),
      'an extended header',
    ],
    ['with something after its end', () => Buffer.concat([good, Buffer.from('more')]), 'something comes after its end'],
    ['cut short in a disk', () => good.subarray(0, 2_000), 'it is cut short'],
    ['cut short in a header', () => good.subarray(0, 1_300), 'it is cut short'],
    ['without an end', () => good.subarray(0, 512 + 512 + 512 + 5_120), 'it is cut short'],
    [
      'with a header that does not add up',
      () => {
        const bent = Buffer.from(good);
        bent[100] = 0x39;
        return bent;
      },
      'expected a tar header',
    ],
  ])('%s', async (_, make, reason) => {
    await expect(read(make())).rejects.toMatchObject({
      code: 'image.invalid',
      message: expect.stringContaining(reason) as string,
    });
  });

  test('whose manifest says that it is large, before it is read', async () => {
    const header = Buffer.from(good.subarray(0, 512));
    header.write('77777777777\0', 124, 'latin1');
    header.write('        ', 148, 'latin1');
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    await expect(unpackImage(new Inbox(stream(header)))).rejects.toThrow('expected a manifest of at most');
  });

  test('of bytes by chance: never taken, never a crash, never much memory', async () => {
    const pick = chance(7);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 3_000; i++) {
      const bent = Buffer.from(good);
      for (let n = 1 + pick(6); n > 0; n--) bent[pick(1_600)] = pick(256);
      const cut = pick(4) === 0 ? bent.subarray(0, pick(bent.length)) : bent;
      const outcome = await read(cut).catch((error: unknown) => error);
      if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'image.invalid' });
      // What is not in a header is for the manifest's digests.
      else expect(cut.length).toBeGreaterThan(good.length - 512);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });
});

test('a tar is told from a disk', () => {
  expect([isTar(Buffer.alloc(512)), isTar(Buffer.alloc(0))]).toEqual([false, false]);
});
