import { afterEach, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { consoleCommand } from '../../../src/cli/commands/console.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const run = async (...args: string[]): Promise<string> => {
  let printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => (printed += String(text)) !== '');
  const client = {
    consoleSocket: () => Promise.resolve({ path: '/s' }),
    consoleHistory: () => Promise.resolve(Buffer.from('GUEST \x1b[2JUP\r\n')),
  } as unknown as Client;
  await consoleCommand.run({ client, ...parseCall(consoleCommand, args) });
  return printed;
};

test('the path of a socket is a line, or JSON', async () => {
  expect(await run('web', '--socket')).toBe('/s\n');
  expect(JSON.parse(await run('web', '--socket', '--json'))).toEqual({ path: '/s' });
});

test('what a guest says is no JSON', async () => {
  expect(await run('web', '--history')).toBe('GUEST \\x1b[2JUP\n');
  for (const args of [
    ['web', '--json'],
    ['web', '--view', '--json'],
    ['web', '--history', '--json'],
  ])
    await expect(run(...args)).rejects.toMatchObject({
      code: 'usage.invalid',
      message: 'read arguments: expected --json with --socket only, got it without',
    });
});
