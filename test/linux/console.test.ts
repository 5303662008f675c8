import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Stage } from '../demo/stage.ts';

let stage: Stage;
const children: ChildProcess[] = [];

beforeAll(async () => {
  stage = new Stage('console', { accel: 'tcg' });
  await stage.up();
  const path = `${stage.dir}/vm.yaml`;
  const document = { name: 'one', memory: '64M', firmware: { builtin: 'test' }, devices: { fbuf: {} } };
  writeFileSync(path, JSON.stringify(document));
  expect(stage.brig('create', '-f', path).status).toBe(0);
  expect(stage.brig('start', 'one').status).toBe(0);
});

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await stage.close();
});

/** brig in a process of its own, with its input open. */
const brig = (...args: string[]) => {
  const child = spawn(process.execPath, [...stage.command, ...args]);
  children.push(child);
  const said = { out: '', err: '', status: undefined as number | null | undefined };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  child.on('close', (status) => (said.status = status));
  return Object.assign(said, { type: (text: string) => child.stdin.write(text), end: () => child.stdin.end() });
};

const greeting = (where: { path: string } | { port: number; host: string }): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(where);
    socket.on('error', reject);
    socket.once('data', (chunk) => {
      resolve(chunk.toString());
      socket.destroy();
    });
  });

test('two sit at a console, one of them types, and the other takes over', async () => {
  const ann = brig('console', 'one');
  await stage.until('the banner', () => ann.out.includes('GUEST UP'));
  const bob = brig('console', 'one');
  await stage.until('what he is told', () => bob.out.includes('[brig: root writes; you read; --steal takes over]'));
  bob.type('bbb');
  ann.type('aaa');
  await stage.until('the echo', () => ann.out.includes('aaa') && bob.out.includes('aaa'));
  expect(ann.out).not.toContain('bbb');
  const eve = brig('console', 'one', '--steal');
  await stage.until('what she is told', () => ann.out.includes('[brig: root took over; you read]'));
  eve.type('eee');
  await stage.until('the echo', () => ann.out.includes('eee'));
  for (const each of [ann, bob, eve]) each.type('\r~.');
  await stage.until('their end', () => [ann, bob, eve].every(({ status }) => status === 0));
  expect(ann.err).toBe('detached from one\n');
});

test('what was said is told without attaching', () => {
  const { stdout } = stage.brig('console', 'one', '--history');
  expect(stdout).toContain('GUEST UP');
  expect(stdout).toContain('aaa');
  expect(stage.brig('console', 'one', '--history', '3', '--raw').stdout).toHaveLength(3);
  expect(stage.brig('console', 'one', '--history', '--view').status).toBe(64);
});

test('a socket for other tools is there again when brigd is, and so is who is attached', async () => {
  const path = stage.brig('console', 'one', '--socket').stdout.trim();
  expect(path).toBe(`${stage.dir}/run/consoles/0/one.sock`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const ann = brig('console', 'one');
  await stage.until('the history', () => ann.out.includes('GUEST UP'));
  ann.type('abcd');
  await stage.until('the echo', () => ann.out.endsWith('abcd'));
  const seen = ann.out;
  await stage.down();
  await stage.until('what she is told', () => ann.err.includes('lost: brigd went away'));
  expect(existsSync(path)).toBe(false);
  await stage.up();
  await stage.until('that she is back', () => ann.err.includes('attached to one again'));
  ann.type('wxyz');
  await stage.until('the echo', () => ann.out.endsWith('wxyz'));
  expect(ann.out).toBe(`${seen}wxyz`);
  expect(ann.err.trimEnd().split('\n')).toHaveLength(2);
  expect(await greeting({ path })).toContain('GUEST UP');
  ann.end();
  await stage.until('her end', () => ann.status === 0);
});

test('a screen is on a port of this machine for one viewer', async () => {
  const viewer = brig('vnc', 'one');
  await stage.until('the port', () => viewer.out.endsWith('\n'));
  const port = Number(/^127\.0\.0\.1:(\d+)\n$/.exec(viewer.out)?.[1]);
  const taken = stage.brig('vnc', 'one');
  expect([taken.status, taken.stderr]).toEqual([75, 'brig: attach screen of one: root is there already\n']);
  expect(await greeting({ host: '127.0.0.1', port })).toBe('RFB 003.008\n');
  await stage.until('its end', () => viewer.status === 0);
  await expect(greeting({ host: '127.0.0.1', port })).rejects.toThrow('ECONNREFUSED');
});

test('a screen comes in a websocket, and on a socket', async () => {
  const web = brig('vnc', 'one', '--web');
  await stage.until('the address', () => web.out.endsWith('\n'));
  const ws = new WebSocket(web.out.trim(), ['binary']);
  expect(String(await new Promise((resolve) => ws.once('message', resolve)))).toBe('RFB 003.008\n');
  ws.close();
  await stage.until('its end', () => web.status === 0);
  const path = `${stage.dir}/screen.sock`;
  const socket = brig('vnc', 'one', '--socket', path);
  await stage.until('the socket', () => socket.out === `${path}\n`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(await greeting({ path })).toBe('RFB 003.008\n');
  await stage.until('its end', () => socket.status === 0);
});

test('a screen that nobody looks at is given back', async () => {
  const viewer = brig('vnc', 'one', '--expire', '200ms');
  await stage.until('its end', () => viewer.status !== undefined);
  expect([viewer.status, viewer.err]).toEqual([75, 'brig: vnc one: nobody came in time\n']);
});

test('who is attached when the VM stops is told', async () => {
  const ann = brig('console', 'one');
  await stage.until('the history', () => {
    expect(ann.status, ann.err).toBeUndefined();
    return ann.out.includes('GUEST UP');
  });
  expect(stage.brig('kill', 'one').status).toBe(0);
  await stage.until('her end', () => ann.status === 0);
  expect(ann.err).toBe('console of one closed\n');
  expect(stage.brig('console', 'one', '--history').stdout).toContain('GUEST UP');
  expect(stage.brig('vnc', 'one').status).toBe(69);
});
