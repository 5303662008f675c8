import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AuditEntry, NewEntry } from '../../../src/acl/chain.ts';
import { sendAuditLog, type AuditQuery } from '../../../src/api/audit-log.ts';
import { Client } from '../../../src/api/client.ts';
import { AuditFile } from '../../../src/io/audit-file.ts';

let dir: string;
let socketPath: string;
let log: AuditFile;
let server: Server;
let isVisible: (entry: AuditEntry) => boolean;
/** Entries that were taken out of the log to be sent. */
let taken: number;
let over: number;

const counted = async function* (after: number): AsyncGenerator<AuditEntry> {
  for await (const each of log.entries(after)) {
    taken++;
    yield each;
  }
};

/** As the route reads it. */
const asked = (query: URLSearchParams): AuditQuery => {
  const [who, object] = [query.get('who'), query.get('object')];
  return {
    after: Number(query.get('after') ?? 0),
    limit: Number(query.get('limit') ?? Infinity),
    isFollowing: query.get('follow') === '1',
    ...(who === null ? {} : { who }),
    ...(object === null ? {} : { object }),
  };
};

beforeEach(async () => {
  dir = mkdtempSync('/tmp/brig-audit-api-');
  socketPath = join(dir, 'sock');
  log = await AuditFile.open({
    dir: join(dir, 'audit'),
    now: () => 1,
    anchors: { get: () => undefined, put: () => {} },
  });
  isVisible = () => true;
  taken = over = 0;
  server = createServer((req, res) => {
    const { searchParams } = new URL(req.url ?? '', 'http://brigd');
    const source = { entries: counted, follow: (each: (entry: AuditEntry) => void) => log.follow(each) };
    if (req.method === 'POST')
      void log.verify(searchParams.get('head') ?? undefined).then((report) => res.end(JSON.stringify(report)));
    else void sendAuditLog(source, asked(searchParams), res, isVisible).finally(() => over++);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, () => resolve()));
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await log.close();
  rmSync(dir, { recursive: true });
});

const entry = (override: Partial<NewEntry> = {}): NewEntry => ({
  ...{ who: 'user:alice', from: 'unix', verb: 'POST /vms/{name}/start', object: 'vm:web', phase: 'begin' },
  ...{ decision: 'allow', rule: 'owner of vm:web', ...override },
});
const fill = (count: number, override: Partial<NewEntry> = {}): Promise<number[]> =>
  Promise.all(Array.from({ length: count }, () => log.append(entry(override))));

const seqs = async (options: Parameters<Client['auditLog']>[0]): Promise<number[]> => {
  const found: number[] = [];
  for await (const { seq } of new Client(socketPath).auditLog(options)) found.push(seq);
  return found;
};

describe('the audit log over the API', () => {
  test('is told whole, after a number, up to a limit, of one principal or object', async () => {
    await fill(3);
    await fill(3, { who: 'root', object: 'vm:db' });
    expect(await seqs({})).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await seqs({ after: 4 })).toEqual([5, 6]);
    expect(await seqs({ after: 1, limit: 2 })).toEqual([2, 3]);
    expect(await seqs({ who: 'root', limit: 2 })).toEqual([4, 5]);
    expect(await seqs({ object: 'vm:web' })).toEqual([1, 2, 3]);
    isVisible = ({ object }) => object === 'vm:db';
    expect(await seqs({})).toEqual([4, 5, 6]);
  });

  test('goes on with what comes, without a gap, until the reader leaves', async () => {
    await fill(5);
    const found: number[] = [];
    const client = new Client(socketPath).auditLog({ follow: true, after: 2 });
    for await (const { seq } of client) {
      found.push(seq);
      if (seq < 200) void fill(1);
      if (seq === 100) void fill(50);
      if (seq === 250) break;
    }
    expect(found).toEqual(Array.from({ length: 248 }, (_, i) => i + 3));
    await vi.waitFor(() => expect(over).toBe(1));
  });

  test('costs nothing more for a reader who does not read', async () => {
    await fill(20_000);
    const response = await new Promise<IncomingMessage>((resolve) =>
      request({ socketPath, path: '/?follow=1' }, resolve).end(),
    );
    response.pause();
    let before = -1;
    // Until nothing moves any more.
    await vi.waitFor(() => {
      const moved = taken !== before;
      before = taken;
      expect(moved).toBe(false);
    });
    expect(taken).toBeLessThan(10_000);
    response.destroy();
    await vi.waitFor(() => expect(over).toBe(1));
  });

  test('is verified, for the hash of an entry too', async () => {
    await fill(3);
    const client = new Client(socketPath);
    expect(await client.verifyAuditLog(log.head.hash)).toMatchObject({ ok: true, entries: 3 });
    expect(await client.verifyAuditLog('0'.repeat(64))).toMatchObject({ ok: false, seq: 3 });
  });
});
