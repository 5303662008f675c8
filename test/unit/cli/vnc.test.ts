import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { vncCommand } from '../../../src/cli/commands/vnc.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-vnc-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true });
});

/** Shows a screen that says nothing; what became of that, and how to end it. */
const run = (path: string) => {
  const screen = new PassThrough();
  const client = { vnc: () => Promise.resolve(screen) } as unknown as Client;
  const ended = vncCommand.run({ client, ...parseCall(vncCommand, ['web', '--socket', path]) });
  return { screen, ended };
};

test('leaves what is no socket as it is', async () => {
  const path = join(dir, 'letters');
  writeFileSync(path, 'dear');
  await expect(run(path).ended).rejects.toMatchObject({
    code: 'usage.invalid',
    message: `listen ${path}: expected nothing there or a socket, got something else`,
  });
  expect(readFileSync(path, 'utf8')).toBe('dear');
});

test('takes the place of a socket that somebody left', async () => {
  const path = join(dir, 'screen');
  const old = createServer();
  await new Promise<void>((resolve) => old.listen(path, resolve));
  const printed: unknown[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(text) > 0);
  const { screen, ended } = run(path);
  await vi.waitFor(() => expect(printed).toEqual([`${path}\n`]));
  expect(statSync(path).mode & 0o777).toBe(0o600);
  screen.destroy();
  await expect(ended).rejects.toMatchObject({ code: 'vm.blocked' });
  expect(existsSync(path)).toBe(false);
  old.close();
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('takes its socket along on %s', async (signal, status) => {
  const path = join(dir, 'screen');
  const known = process.listenerCount(signal);
  const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as unknown as typeof process.exit);
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const { screen, ended } = run(path);
  await vi.waitFor(() => expect(write).toHaveBeenCalled());
  process.listeners(signal).at(-1)?.(signal);
  expect(existsSync(path)).toBe(false);
  expect(exit).toHaveBeenCalledWith(status);
  screen.destroy();
  await expect(ended).rejects.toMatchObject({ code: 'vm.blocked' });
  expect(process.listenerCount(signal)).toBe(known);
});
