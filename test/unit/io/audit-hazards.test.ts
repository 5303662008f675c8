import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Anchor, NewEntry } from '../../../src/acl/chain.ts';
import { AuditFile } from '../../../src/io/audit-file.ts';

/** Of a write, how much the disk takes; undefined: all. */
const disk = vi.hoisted(() => ({ room: undefined as ((bytes: Buffer) => number) | undefined }));
vi.mock('../../../src/io/audit-disk.ts', async (original) => {
  const real = await original<typeof import('../../../src/io/audit-disk.ts')>();
  const writeAll: typeof real.writeAll = (fd, bytes) => {
    const room = disk.room?.(bytes) ?? bytes.length;
    const { written } = real.writeAll(fd, bytes.subarray(0, room));
    return written < bytes.length ? { written, error: new Error('ENOSPC') } : { written };
  };
  return { ...real, writeAll };
});

let dir: string;
let anchor: Anchor | undefined;

beforeEach(() => {
  dir = mkdtempSync('/tmp/brig-audit-log-');
  anchor = undefined;
});
afterEach(() => {
  disk.room = undefined;
  rmSync(dir, { recursive: true });
});

const anchors = { get: () => anchor, put: (each: Anchor) => void (anchor = each) };
const start = (fileBytes = 2 ** 26): Promise<AuditFile> => AuditFile.open({ dir, now: () => 0, anchors, fileBytes });

const ENTRY: NewEntry = {
  ...{ who: 'user:alice', from: 'unix', verb: 'POST /vms/{name}/start', object: 'vm:web', phase: 'begin' },
  ...{ decision: 'allow', rule: 'owner of vm:web' },
};
const fill = async (log: AuditFile, count: number): Promise<void> => {
  await Promise.all(Array.from({ length: count }, () => log.append(ENTRY)));
};

describe('a new file while the log is read', () => {
  const FILE_BYTES = 4096;
  /** A log of some 20 files, of which brigd has no entry at hand. */
  const startLong = async (): Promise<AuditFile> => {
    const log = await start(FILE_BYTES);
    for (let i = 0; i < 20; i++) await fill(log, 5);
    await log.close();
    return await start(FILE_BYTES);
  };

  test('is none of what verify looks at', async () => {
    const log = await startLong();
    const { head } = log;
    const over = { is: false };
    const verified = log.verify().finally(() => (over.is = true));
    while (!over.is) await fill(log, 5);
    expect(await verified).toMatchObject({ ok: true, entries: head.seq, head });
    expect(log.head.seq).toBeGreaterThan(head.seq + 50);
  });

  test('leaves no entry out', async () => {
    const log = await startLong();
    const seqs: number[] = [];
    for await (const { seq } of log.entries(0)) {
      seqs.push(seq);
      if (log.head.seq < 1500) await fill(log, 5);
    }
    expect(seqs).toEqual(Array.from({ length: log.head.seq }, (_, i) => i + 1));
  });
});

test('a write that is cut off anywhere, once and again, is told as it is there', async () => {
  const log = await start();
  const write = async (room?: (bytes: Buffer) => number): Promise<void> => {
    disk.room = room;
    await log.append(ENTRY).catch(() => 0);
  };
  // Without its end of line: what is cut off next begins with that.
  const wholeEntry = (bytes: Buffer): number => bytes.indexOf(10, 1);
  await write();
  const most = statSync(join(dir, 'audit.log')).size + 20;
  for (let second = 0; second < most; second++) {
    await write((bytes) => wholeEntry(bytes) + (second % 3) - 1);
    await write(() => second);
    if (second % 2 === 0) await write(() => 1);
    await write();
  }
  disk.room = undefined;
  expect(await log.verify()).toMatchObject({ ok: true, entries: log.head.seq });
  await log.close();
  expect(await (await start()).verify()).toMatchObject({ ok: true });
});
