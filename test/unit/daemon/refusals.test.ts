import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { NewEntry } from '../../../src/acl/chain.ts';
import { Tally } from '../../../src/api/tally.ts';
import { BrigError } from '../../../src/base/errors.ts';
import { LIMITS } from '../../../src/base/limits.ts';
import { Refusals } from '../../../src/daemon/refusals.ts';
import { Node } from './remote.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

const entry = (from: string, verb = 'GET /v1/vms'): NewEntry => ({
  ...{ who: 'nobody', from, verb, object: 'node', rule: 'none', result: 'acl.denied' },
  ...({ phase: 'told', decision: 'deny' } as const),
});
const newTally = (): { tally: Tally; told: string[] } => {
  const told: string[] = [];
  const append = ({ from, verb, data }: NewEntry): Promise<number> =>
    Promise.resolve(told.push(`${from} ${verb} ${data?.more ?? 'one'}`));
  return { tally: new Tally({ append }), told };
};

test('refusals of one peer are one line, then how many more there were', () => {
  const { tally, told } = newTally();
  for (let i = 0; i < 1000; i++) tally.add('192.0.2.1', entry('192.0.2.1', `GET /${i}`));
  tally.add('192.0.2.2', entry('192.0.2.2'));
  vi.advanceTimersByTime(LIMITS.refusedToldMs);
  tally.add('192.0.2.1', entry('192.0.2.1'));
  expect(told).toEqual([
    '192.0.2.1 GET /0 one',
    '192.0.2.2 GET /v1/vms one',
    '192.0.2.1 GET /999 999',
    '192.0.2.1 GET /v1/vms one',
  ]);
});

test('one reason hides no other, and all addresses of a block are one', () => {
  const told: string[] = [];
  const { tell } = new Refusals({
    append: ({ from, rule, data }) => Promise.resolve(told.push(`${from} ${rule} ${data?.more ?? ''}`)),
  });
  const say = (from: string, message: string): void =>
    tell({ id: 'nobody', from }, new BrigError('acl.denied', message));
  say('2001:db8::1', 'check signature: expected a, got b');
  say('2001:db8::2', 'check signature: expected c, got d');
  say('2001:db8::3', 'check signature: key laptop was revoked');
  say('2001:db8:0:1::1', 'check signature: expected a, got b');
  say('2001:db8::4', 'check signature: expected e, got f');
  vi.advanceTimersByTime(LIMITS.refusedToldMs);
  expect(told).toEqual([
    '2001:db8::1 check signature: expected a, got b ',
    '2001:db8::3 check signature: key laptop was revoked ',
    '2001:db8:0:1::1 check signature: expected a, got b ',
    '2001:db8::4 check signature: expected e, got f 2',
  ]);
});

test('refusals of a crowd are counted together', () => {
  const { tally, told } = newTally();
  for (let i = 0; i < 3 * LIMITS.refusedKnown; i++) tally.add(String(i), entry(String(i)));
  vi.advanceTimersByTime(LIMITS.refusedToldMs);
  expect(told).toHaveLength(LIMITS.refusedKnown + 2);
  expect(told.at(-1)).toMatch(` ${2 * LIMITS.refusedKnown - 1}`);
});

test('what nobody signed is told with where it came from, and so is an upgrade', async () => {
  vi.useRealTimers();
  const node = await new Node().open();
  for (const more of ['', 'connection: upgrade\r\nupgrade: brig-console\r\n'])
    await node.exchange(`GET /v1/vms/web/console HTTP/1.1\r\nhost: a\r\n${more}\r\n`);
  node.close();
  expect(node.refused).toEqual(
    Array(2).fill('127.0.0.1 check signature: expected a signed request, got none with signature-input'),
  );
});
