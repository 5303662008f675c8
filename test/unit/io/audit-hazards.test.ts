import { mkdtempSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Anchor, NewEntry } from '../../../src/acl/chain.ts';
import { AuditFile } from '../../../src/io/audit-file.ts';

let dir: string;
let anchor: Anchor | undefined;

beforeEach(() => {
  dir = mkdtempSync('/tmp/brig-audit-log-');
  anchor = undefined;
});
afterEach(() => {
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
