import { DatabaseSync } from 'node:sqlite';
import { beforeEach, expect, test } from 'vitest';
import { ROOT, type Principal } from '../../../src/acl/principal.ts';
import { Repeats } from '../../../src/api/repeats.ts';
import type { Call, Route } from '../../../src/api/route.ts';
import { Answers } from '../../../src/store/answers.ts';

const ALICE: Principal = { id: 'user:alice', isRoot: false, subjects: ['user:alice'], owner: 'alice', from: 'unix' };
const route = { method: 'POST' } as Route;

let db: DatabaseSync;
let full: { begin: boolean; end: boolean };
let sent: { status: number; text: string }[];
let repeats: Repeats;

/** A store that cannot be written when a test says so. */
class Filling extends Answers {
  override begin(...args: Parameters<Answers['begin']>): void {
    if (full.begin) throw new Error('database or disk is full');
    super.begin(...args);
  }
  override end(...args: Parameters<Answers['end']>): void {
    if (full.end) throw new Error('database or disk is full');
    super.end(...args);
  }
}

beforeEach(() => {
  db = new DatabaseSync(':memory:');
  db.exec(`create table answers (principal text, key text, request text, status integer, body text,
    created_ms integer, primary key (principal, key))`);
  full = { begin: false, end: false };
  sent = [];
  repeats = new Repeats({ answers: new Filling((text) => db.prepare(text)) }, () => 1);
});

const callOf = (who: Principal, url = '/v1/vms/web/start', body = ''): Call =>
  ({
    ...{ who, bytes: () => Promise.resolve(Buffer.from(body)) },
    request: { method: 'POST', url, headers: { 'idempotency-key': 'k' } },
    response: {
      ...{ setHeader: () => undefined, writeHead: () => undefined, once: () => undefined, writableLength: 0 },
      end: (text: Buffer) => sent.push({ status: 200, text: String(text) }),
    },
  }) as unknown as Call;

let times: number;
const work = (remember: (status: number, text: string) => void): Promise<void> => {
  times++;
  remember(200, 'done');
  return Promise.resolve();
};
beforeEach(() => (times = 0));

test('the second is answered what the first was, and nothing is done', async () => {
  await repeats.once(callOf(ALICE), route, work);
  await repeats.once(callOf(ALICE), route, work);
  expect([times, sent]).toEqual([1, [{ status: 200, text: 'done' }]]);
});

test('a key of one principal is no key of another', async () => {
  await repeats.once(callOf(ALICE), route, work);
  await repeats.once(callOf(ROOT), route, work);
  expect(times).toBe(2);
});

test('a key that was used for something else is refused', async () => {
  await repeats.once(callOf(ALICE), route, work);
  for (const other of [callOf(ALICE, '/v1/vms/web/stop'), callOf(ALICE, undefined, 'x')])
    await expect(repeats.once(other, route, work)).rejects.toMatchObject({ code: 'api.invalid' });
});

test('while the first is under way the second comes later, and may try again what failed', async () => {
  const { promise, reject } = Promise.withResolvers<undefined>();
  const first = repeats.once(callOf(ALICE), route, () => promise.then(() => undefined));
  await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  await expect(repeats.once(callOf(ALICE), route, work)).rejects.toMatchObject({ code: 'api.busy' });
  reject(new Error('it failed'));
  await expect(first).rejects.toThrow('it failed');
  await repeats.once(callOf(ALICE), route, work);
  expect(times).toBe(1);
});

test('a full disk does not keep root from what mends it; whoever counts on being remembered is refused', async () => {
  full.begin = true;
  await repeats.once(callOf(ROOT), route, work);
  expect(times).toBe(1);
  await expect(repeats.once(callOf(ALICE), route, work)).rejects.toThrow('disk is full');
  expect(times).toBe(1);
});

test('what is done and cannot be remembered is answered as done', async () => {
  full.end = true;
  await repeats.once(callOf(ALICE), route, work);
  expect(times).toBe(1);
});
