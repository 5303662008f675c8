import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isWanted } from '../../../src/acl/audit-log.ts';
import { parseLine, type Anchor, type AuditEntry, type NewEntry } from '../../../src/acl/chain.ts';
import { AuditFile, type AuditFileOptions } from '../../../src/io/audit-file.ts';
import { verifyFiles } from '../../../src/io/audit-read.ts';
import { chance as seeded } from '../../soak/chance.ts';

let root: string;
let dir: string;
let path: string;
let anchor: Anchor | undefined;
let open: AuditFile[] = [];

beforeEach(() => {
  root = mkdtempSync('/tmp/brig-audit-log-');
  dir = join(root, 'audit');
  path = join(dir, 'audit.log');
  anchor = undefined;
});
afterEach(async () => {
  for (const log of open) await log.close().catch(() => undefined);
  open = [];
  rmSync(root, { recursive: true });
});

const anchors = { get: () => anchor, put: (each: Anchor) => void (anchor = each) };

const start = async (override: Partial<AuditFileOptions> = {}): Promise<AuditFile> => {
  let nowMs = 0;
  const log = await AuditFile.open({ dir, now: () => ++nowMs, anchors, ...override });
  open.push(log);
  return log;
};

/** As after kill -9: what is open stays so, and nothing more is written. */
const crash = (): void => void (open = []);

const entry = (override: Partial<NewEntry> = {}): NewEntry => ({
  ...{ who: 'user:alice', from: 'unix', verb: 'POST /vms/{name}/start', object: 'vm:web', phase: 'begin' },
  ...{ decision: 'allow', rule: 'owner of vm:web', ...override },
});

const fill = async (log: AuditFile, count: number): Promise<void> => {
  await Promise.all(Array.from({ length: count }, (_, i) => log.append(entry({ saga: `saga ${i}` }))));
};

const collect = async (entries: AsyncIterable<AuditEntry>): Promise<AuditEntry[]> => {
  const all: AuditEntry[] = [];
  for await (const each of entries) all.push(each);
  return all;
};

const firstOf = async (entries: AsyncIterable<AuditEntry>): Promise<AuditEntry | undefined> => {
  for await (const each of entries) return each;
  return undefined;
};

const linesIn = (file = path): string[] => readFileSync(file, 'latin1').split('\n').slice(0, -1);
const edit = (change: (lines: string[]) => string[], file = path): void => {
  const text = change(linesIn(file)).map((line) => `${line}\n`);
  writeFileSync(file, text.join(''), 'latin1');
};

describe('the file', () => {
  test('is of its owner alone, and so is its directory', async () => {
    const log = await start();
    await log.append(entry());
    expect([statSync(dir).mode & 0o777, statSync(path).mode & 0o777]).toEqual([0o700, 0o600]);
    chmodSync(path, 0o644);
    crash();
    await start();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('is none that a link leads to, and nothing but a file', async () => {
    mkdirSync(dir);
    writeFileSync(join(root, 'victim'), '');
    symlinkSync(join(root, 'victim'), path);
    await expect(start()).rejects.toMatchObject({ code: 'store.failed' });
    rmSync(path);
    linkSync(join(root, 'victim'), path);
    await expect(start()).rejects.toMatchObject({ code: 'store.failed' });
    rmSync(path);
    spawnSync('/usr/bin/mkfifo', [path]);
    await expect(start()).rejects.toMatchObject({ code: 'store.failed' });
  });

  test('has 10,000 entries in the order in which they came, each promise with its number', async () => {
    const log = await start();
    const seqs = await Promise.all(
      Array.from({ length: 10_000 }, (_, i) => log.append(entry({ data: { i } }), { durable: i % 100 === 0 })),
    );
    expect(seqs).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1));
    expect(linesIn().map((line) => parseLine(line)?.entry.data?.i)).toEqual(seqs.map((seq) => seq - 1));
    expect(await log.verify()).toEqual({ ok: true, files: 1, entries: 10_000, first: 1, torn: 0, head: log.head });
  });

  test('goes on after a stop and after a crash', async () => {
    const first = await start();
    await fill(first, 3);
    await first.close();
    await expect(first.append(entry())).rejects.toMatchObject({ code: 'store.failed' });
    await fill(await start(), 2);
    crash();
    const third = await start();
    expect(await third.append(entry())).toBe(6);
    expect(await third.verify()).toMatchObject({ ok: true, entries: 6 });
  });

  test('writes what waits before it is closed', async () => {
    const log = await start();
    const last = log.append(entry(), { durable: true });
    await log.close();
    expect([await last, linesIn().length, anchor?.seq]).toEqual([1, 1, 1]);
  });
});

describe('older files', () => {
  test('are kept, numbered in order, and the chain goes over them', async () => {
    const log = await start({ fileBytes: 4096 });
    for (let i = 0; i < 20; i++) await fill(log, 5);
    const names = readdirSync(dir).sort();
    expect(names.length).toBeGreaterThan(5);
    expect(names).toContain('audit.log.1');
    for (const name of names) expect(statSync(join(dir, name)).size).toBeLessThanOrEqual(4096);
    expect(await log.verify()).toMatchObject({ ok: true, files: names.length, entries: 100, first: 1 });
    await log.close();
    const next = await start({ fileBytes: 4096 });
    expect(await next.append(entry())).toBe(101);
    expect((await collect(next.entries(0))).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 101 }, (_, i) => i + 1),
    );
  });

  test('may be moved away: verify begins with what is there, and says so', async () => {
    const log = await start({ fileBytes: 4096 });
    for (let i = 0; i < 20; i++) await fill(log, 5);
    const second = parseLine(linesIn(`${path}.2`)[0] ?? '')?.entry.seq;
    renameSync(`${path}.1`, join(root, 'old'));
    expect(await log.verify()).toMatchObject({ ok: true, first: second });
    expect(await verifyFiles([join(root, 'old'), `${path}.2`])).toMatchObject({ ok: true, first: 1, files: 2 });
    renameSync(`${path}.3`, join(root, 'gap'));
    expect(await log.verify()).toMatchObject({
      ok: false,
      file: `${path}.4`,
      why: expect.stringMatching(/^expected/) as string,
    });
  });

  test('a crash between two files loses nothing', async () => {
    const log = await start();
    await fill(log, 3);
    crash();
    renameSync(path, `${path}.1`);
    const next = await start();
    expect(await next.append(entry())).toBe(4);
    expect(await next.verify()).toMatchObject({ ok: true, files: 2, entries: 4 });
  });
});

describe('entries after a number', () => {
  test('are found wherever they are', async () => {
    const log = await start({ fileBytes: 300_000 });
    for (let i = 0; i < 50; i++) await fill(log, 100);
    await log.close();
    for (const each of [await start({ fileBytes: 300_000 }), log])
      for (let seed = 0; seed < 20; seed++) {
        const after = seeded(seed)(5000);
        expect(await firstOf(each.entries(after))).toMatchObject({ seq: after + 1 });
      }
    const next = open.at(-1);
    expect((await collect(next?.entries(4990) ?? log.entries(0))).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 10 }, (_, i) => 4991 + i),
    );
    expect(await collect(log.entries(5000))).toEqual([]);
    expect(await collect(log.entries(9999))).toEqual([]);
  });

  test('are told as they come to whoever follows, until he stops', async () => {
    const log = await start();
    const heard: number[] = [];
    const stop = log.follow(({ seq }) => heard.push(seq));
    await fill(log, 3);
    stop();
    await fill(log, 3);
    expect(heard).toEqual([1, 2, 3]);
  });

  test('can be those of one principal or object', async () => {
    const log = await start();
    await Promise.all(['a', 'b', 'a'].map((who) => log.append(entry({ who, object: `vm:${who}` }))));
    const all = await collect(log.entries(0));
    expect(all.filter((each) => isWanted({ who: 'a' }, each)).map(({ seq }) => seq)).toEqual([1, 3]);
    expect(all.filter((each) => isWanted({ object: 'vm:b' }, each)).map(({ seq }) => seq)).toEqual([2]);
    expect(all.filter((each) => isWanted({ who: 'a', object: 'vm:b' }, each))).toEqual([]);
  });
});

describe('what somebody did to it', () => {
  test('is found by verify, with the file and the first broken entry', async () => {
    const log = await start();
    await fill(log, 9);
    await log.anchor();
    const whole = readFileSync(path);
    const tampered: [(lines: string[]) => string[], number, RegExp][] = [
      [(lines) => lines.with(3, (lines[3] ?? '').replace('alice', 'carol')), 4, /hash is not of/],
      [(lines) => lines.toSpliced(3, 1), 4, /expected entry 4, got 5/],
      [(lines) => lines.toSpliced(3, 0, lines[2] ?? ''), 4, /expected entry 4, got 3/],
      [(lines) => lines.toSpliced(3, 0, '# nothing'), 4, /no entry tells/],
      [(lines) => lines.toSpliced(3, 2, lines[4] ?? '', lines[3] ?? ''), 4, /expected entry 4, got 5/],
      [(lines) => lines.slice(0, 6), 7, /the log ends before it; entry 9 was there/],
      [() => [], 1, /the log ends before it/],
    ];
    for (const [change, seq, why] of tampered) {
      edit(change);
      expect(await log.verify()).toEqual({ ok: false, file: path, seq, why: expect.stringMatching(why) as string });
      writeFileSync(path, whole);
    }
    expect(await log.verify()).toMatchObject({ ok: true });
  });

  test('another file in its place is found, kept, and not written to', async () => {
    const log = await start();
    await fill(log, 3);
    copyFileSync(path, join(root, 'copy'));
    rmSync(path);
    renameSync(join(root, 'copy'), path);
    expect(await log.verify()).toMatchObject({ ok: false, seq: 3, why: 'it is not the file that brigd writes to' });
    await fill(log, 1);
    await log.anchor();
    await fill(log, 1);
    expect(linesIn(`${path}.1`)).toHaveLength(3);
    expect(linesIn().map((line) => parseLine(line)?.entry.rule)).toEqual([
      'audit.log was another file',
      'owner of vm:web',
    ]);
    expect(await log.verify()).toMatchObject({ ok: false, file: path, seq: 4 });
  });

  test('a file taken away is begun again, with a gap that stays', async () => {
    const log = await start();
    await fill(log, 3);
    rmSync(path);
    await log.anchor();
    await fill(log, 1);
    expect(linesIn().map((line) => parseLine(line)?.entry.seq)).toEqual([4, 5]);
    expect(await log.verify('0'.repeat(64))).toMatchObject({ ok: false });
  });

  test.each([
    ['cut short', (lines: string[]) => lines.slice(0, 4), 10, 5],
    ['emptied', () => [], 10, 10],
    ['changed at its end', (lines: string[]) => lines.with(8, (lines[8] ?? '').replace('alice', 'carol')), 10, 9],
  ])('while brigd was down is told when it starts: %s', async (_, change, seq, broken) => {
    const log = await start();
    await fill(log, 9);
    const { hash } = log.head;
    await log.close();
    edit(change);
    const next = await start();
    await fill(next, 1);
    const [first] = await collect(next.entries(9));
    expect(first).toMatchObject({ seq, who: 'brigd', phase: 'told', prev: hash, data: { seq: 9, hash } });
    expect(first?.rule).toBe('entry 9 was known and is not there, or is another');
    const report = await next.verify();
    if (broken === seq) expect(report).toMatchObject({ ok: true, first: 10 });
    else expect(report).toMatchObject({ ok: false, seq: broken });
    // Once the older file is looked at and moved away, what is there is good again.
    rmSync(`${path}.1`, { force: true });
    expect(await next.verify()).toMatchObject({ ok: true, first: seq });
  });

  test('an anchor whose entry is in a file that was moved away is no reason to tell', async () => {
    const log = await start({ fileBytes: 1024 });
    for (let i = 0; i < 9; i++) await fill(log, 2);
    await log.close();
    for (const name of readdirSync(dir)) if (name !== 'audit.log') rmSync(join(dir, name));
    const next = await start();
    await next.append(entry());
    expect((await collect(next.entries(0))).filter(({ phase }) => phase === 'told')).toEqual([]);
    expect(await next.verify()).toMatchObject({ ok: true });
  });
});

describe('a write that was cut off', () => {
  test('by a loss of power, anywhere, is told by the next entry', async () => {
    const log = await start();
    await fill(log, 4);
    await log.close();
    const whole = readFileSync(path);
    const [one = ''] = linesIn();
    anchor = undefined;
    for (let bytes = 0; bytes <= whole.length; bytes += bytes > one.length - 3 && bytes < one.length + 3 ? 1 : 41) {
      writeFileSync(path, whole.subarray(0, bytes));
      const kept =
        linesIn().length + (parseLine(readFileSync(path, 'latin1').split('\n').at(-1) ?? '')?.isTrue ? 1 : 0);
      const next = await start();
      await next.append(entry());
      const report = await next.verify();
      const torn = next.head.seq - kept - 1;
      expect(report, `${bytes} bytes`).toMatchObject({ ok: true, entries: next.head.seq, torn });
      expect(torn).toBeLessThanOrEqual(1);
      // The bytes are where they were.
      expect(readFileSync(path).subarray(0, bytes)).toEqual(whole.subarray(0, bytes));
      anchor = undefined;
    }
  });

  test('with garbage of any kind behind it is told once', async () => {
    const log = await start();
    await fill(log, 2);
    await log.close();
    appendFileSync(path, Buffer.from([0, 0xff, 10, 10, 0xe2, 0x82, 0, 10, 123]));
    const next = await start();
    await next.append(entry());
    expect((await collect(next.entries(2))).map(({ rule }) => rule)).toEqual([
      'torn line of 10 bytes before this entry',
      'owner of vm:web',
    ]);
    expect(await next.verify()).toMatchObject({ ok: true, entries: 4, torn: 1 });
    await next.close();
    expect(await (await start()).append(entry())).toBe(5);
  });

  /** A file system of 64 KiB of its own. */
  const onSmallDisk = async (work: () => Promise<void>): Promise<void> => {
    mkdirSync(dir);
    const { status } = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=65536', 'tmpfs', dir]);
    if (status !== 0) throw new Error('mount tmpfs: failed');
    try {
      await work();
    } finally {
      for (const log of open) await log.close().catch(() => undefined);
      open = [];
      spawnSync('/bin/umount', [dir]);
    }
  };

  test.skipIf(process.getuid?.() !== 0)('by a full disk is refused, and the log goes on when there is room', () =>
    onSmallDisk(async () => {
      writeFileSync(join(dir, 'ballast'), 'x'.repeat(16_384));
      const log = await start();
      const ends = await Promise.allSettled(
        Array.from({ length: 300 }, (_, i) => log.append(entry({ data: { i } }), { durable: i % 2 === 0 })),
      );
      const written = ends.filter(({ status }) => status === 'fulfilled').length;
      expect(written).toBeGreaterThan(50);
      expect(written).toBeLessThan(300);
      expect(ends.slice(written).every((end) => end.status === 'rejected')).toBe(true);
      await expect(log.append(entry())).rejects.toMatchObject({ code: 'store.failed', message: /ENOSPC/ });
      expect((await collect(log.entries(0))).map(({ data }) => data?.i)).toEqual([...Array(written).keys()]);
      expect(await log.verify()).toMatchObject({ ok: true, entries: written });
      rmSync(join(dir, 'ballast'));
      expect(await log.append(entry())).toBe(written + 2);
      expect(await log.verify()).toMatchObject({ ok: true, entries: written + 2, torn: 1 });
      await log.close();
      expect(await (await start()).append(entry())).toBe(written + 3);
    }),
  );

  test('at the end of a file that has its number already is told in the new one', async () => {
    await fill(await start(), 3);
    crash();
    appendFileSync(path, '{"seq":4');
    renameSync(path, `${path}.1`);
    const next = await start();
    expect(await next.append(entry())).toBe(5);
    expect(linesIn()).toHaveLength(2);
    expect(await next.verify()).toMatchObject({ ok: true, files: 2, entries: 5, torn: 1 });
  });
});
