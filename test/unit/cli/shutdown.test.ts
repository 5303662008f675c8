import { afterEach, expect, test, vi } from 'vitest';
import { parseCall } from '../../../src/cli/command.ts';
import { vmCommands } from '../../../src/cli/commands/vms.ts';
import type { Client } from '../../../src/api/client.ts';
import type { ShutdownEnd } from '../../../src/engine/boot.ts';

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

/** Runs it against a brigd that answers so; what it asked for, and what it printed. */
const run = async (args: readonly string[], end: ShutdownEnd) => {
  const asked: unknown[] = [];
  const printed: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  const client = { shutdown: (_: unknown, graceMs?: number) => (asked.push(graceMs), Promise.resolve(end)) };
  await vmCommands.shutdown.run({
    client: client as unknown as Client,
    ...parseCall(vmCommands.shutdown, args),
  });
  return { asked, printed: printed.join('') };
};

const failed = { stopped: ['db'], failed: [{ vm: 'web', reason: 'stop web: no' }] };

test('is silent when all are down, and hands on its timeout', async () => {
  expect(await run(['--timeout', '90'], { stopped: ['a'], failed: [] })).toEqual({ asked: [90_000], printed: '' });
  expect((await run([], { stopped: [], failed: [] })).asked).toEqual([undefined]);
});

test('names those that are not, with the reason and what to type', async () => {
  await expect(run([], failed)).rejects.toMatchObject({
    code: 'saga.stuck',
    message: 'shutdown: 1 of 2 VMs not stopped:\n  web: stop web: no',
    hint: 'brig explain web',
  });
});

test('with --json prints one value, and its exit status is that of a failure', async () => {
  const { printed } = await run(['--json'], failed);
  expect(JSON.parse(printed)).toEqual(failed);
  expect(process.exitCode).toBe(71);
});
