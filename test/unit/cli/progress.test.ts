import { afterEach, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import type { OperationListener } from '../../../src/api/wire.ts';
import { BrigError } from '../../../src/base/errors.ts';
import { withProgress } from '../../../src/cli/progress.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** An operation that somebody begins, interrupts and ends; what of it is cancelled. */
const operation = () => {
  const cancelled: string[] = [];
  const client = { cancel: (id: string) => Promise.resolve(cancelled.push(id)) } as unknown as Client;
  const { promise, reject } = Promise.withResolvers<never>();
  let on: OperationListener = {};
  const ended = withProgress(client, 'start web', true, (listener) => {
    on = listener;
    return promise;
  });
  return {
    ...{ cancelled, ended },
    begin: (id: string) => on.begin?.(id),
    interrupt: () => process.listeners('SIGINT').at(-1)?.('SIGINT'),
    end: () => reject(new BrigError('saga.cancelled', 'cancelled')),
  };
};

test.each([
  ['after', ['begin', 'interrupt']],
  ['before', ['interrupt', 'begin']],
] as const)('an interrupt %s brigd began cancels it', async (_, order) => {
  const known = process.listenerCount('SIGINT');
  const { cancelled, ended, begin, interrupt, end } = operation();
  for (const each of order)
    if (each === 'begin') begin('one');
    else interrupt();
  expect(cancelled).toEqual(['one']);
  end();
  await expect(ended).rejects.toMatchObject({
    code: 'saga.cancelled',
    message: 'start web: interrupted; everything is undone',
  });
  expect(process.listenerCount('SIGINT')).toBe(known);
});
