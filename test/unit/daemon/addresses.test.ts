import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LIMITS } from '../../../src/base/limits.ts';
import { Addresses } from '../../../src/daemon/addresses.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => void vi.useRealTimers());

const socketOf = (remoteAddress: string): Socket => Object.assign(new EventEmitter(), { remoteAddress }) as never;
/** Comes and goes. */
const visit = (addresses: Addresses, from: string): boolean => {
  const socket = socketOf(from);
  const may = addresses.enter(socket);
  socket.emit('close');
  return may;
};

test('of one address so many are open at once, whatever others have', () => {
  const addresses = new Addresses(2);
  const open = ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.1', '192.0.2.2'].map((from) =>
    addresses.enter(socketOf(from)),
  );
  expect([open, addresses.open]).toEqual([[true, true, false, true], 4]);
});

test('who came too often comes again when he has paused, however long he went on', () => {
  const addresses = new Addresses(2);
  const ends = Array.from({ length: 100 * LIMITS.connectionsBurst }, () => visit(addresses, '2001:db8::1'));
  expect(ends.filter((may) => may)).toHaveLength(LIMITS.connectionsBurst);
  expect([visit(addresses, '2001:db8::ffff'), visit(addresses, '2001:db8:0:1::1')]).toEqual([false, true]);
  vi.advanceTimersByTime(1_000);
  expect(visit(addresses, '2001:db8::1')).toBe(true);
});
