import { spawn, type StdioOptions } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const CLI = new URL('../../../src/cli/main.ts', import.meta.url).pathname;

/** brig as a person runs it; what it said to him, and its exit status. */
const brig = (args: readonly string[], stdio: StdioOptions, env: NodeJS.ProcessEnv = {}) => {
  const flags = ['--disable-warning=ExperimentalWarning', CLI, ...args];
  const child = spawn(process.execPath, flags, { stdio, env: { PATH: process.env.PATH, ...env } });
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<{ status: number | null; stderr: string }>((resolve) =>
    child.on('close', (status) => resolve({ status, stderr })),
  );
  return { child, ended };
};

test.runIf(existsSync('/dev/full'))('what cannot be written is told, and is no success', async () => {
  const full = openSync('/dev/full', 'w');
  const { ended } = brig(['--version'], ['ignore', full, 'pipe']);
  closeSync(full);
  expect(await ended).toEqual({
    status: 74,
    stderr: 'brig: write the standard output: ENOSPC: no space left on device\n',
  });
});

test('a reader that goes away is no error', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'brig-main-'));
  const socket = join(dir, 'sock');
  const event = JSON.stringify({ seq: 1, atMs: 0, kind: 'test', cause: 'test', data: {} });
  const server = createServer((_, response) => {
    const timer = setInterval(() => response.write(`${event}\n`), 10);
    response.on('close', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const { child, ended } = brig(['--socket', socket, 'events', '-f'], ['ignore', 'pipe', 'pipe']);
  child.stdout?.once('data', () => child.stdout?.destroy());
  expect(await ended).toEqual({ status: 0, stderr: '' });
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true });
});

test('an error cannot steer a terminal, as text or as JSON', async () => {
  const { child, ended } = brig(['--json', 'resize', 'web', '\u009b2J\u001b[2J', '1G'], ['ignore', 'pipe', 'pipe']);
  let stdout = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const { status, stderr } = await ended;
  expect(status).toBe(64);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'usage.invalid' } });
  for (const text of [stdout, stderr]) expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});
