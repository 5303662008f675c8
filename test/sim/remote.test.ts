import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client } from '../../src/api/client.ts';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import type { Caller, Inside } from '../../src/daemon/remote-door.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel } from '../../src/model/model.ts';
import { parseConfig } from '../../src/spec/config.ts';
import { Node } from '../unit/daemon/remote.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-remote-'));
const config = parseConfig(JSON.stringify({ stateDir: `${dir}/state`, runDir: `${dir}/run` }), 'test');
const socketPath = `${config.runDir}/brigd.sock`;
const { host } = createModel({ pace: 'real' });
const seed = new Uint8Array(32).fill(6);
const node = new Node();
let daemon: Daemon<Seen>;
let client: Client;

const handle = (came: IncomingMessage, response: ServerResponse, { body }: Caller): void => {
  const { method, url } = came;
  const inner = request({ socketPath, method, path: url, headers: { host: 'brigd' }, agent: false }, (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    answer.pipe(response);
  });
  Readable.from(body).pipe(inner);
};

/** Everything goes on to brigd's own socket, once it is known who asks. */
const inside: Inside = {
  handle,
  upgrade: ({ url }, socket) => {
    const inner = connect(socketPath);
    inner.write(`GET ${url} HTTP/1.1\r\nhost: brigd\r\nconnection: upgrade\r\nupgrade: brig-console\r\n\r\n`);
    inner.pipe(socket).pipe(inner);
    for (const each of [inner, socket]) each.on('close', () => [inner, socket].map((one) => one.destroy()));
  },
};

beforeAll(async () => {
  daemon = await startDaemon({
    config,
    host,
    platform: freebsdPlatform({ paths: config, dataset: undefined, fragments: readFragments(), allowDevices: [] }),
  });
  await node.open({}, 'now', inside);
  node.addKey('laptop', seed, { owner: 'alice' });
  client = new Client(node.transport(seed));
});
afterAll(async () => {
  node.close();
  await daemon.close();
  rmSync(dir, { recursive: true });
});

test('a VM is made, started, watched and reached by its console from elsewhere, until the key is revoked', async () => {
  const document = { name: 'web01', firmware: { builtin: 'test' }, memory: '64M' };
  expect(await client.create(document)).toMatchObject({ name: 'web01', state: 'defined' });
  const kinds: string[] = [];
  await client.operate('start', 'web01', { event: ({ kind }) => void kinds.push(kind) });
  expect(kinds).toContain('vm.running');
  expect((await client.list()).map(({ name, state }) => [name, state])).toEqual([['web01', 'running']]);
  const { stream: socket } = await client.console('web01');
  const said: string[] = [];
  const echoed = new Promise<void>((resolve) =>
    socket.on('data', (chunk: Buffer) => {
      said.push(chunk.toString());
      if (said.join('').includes('abc')) resolve();
    }),
  );
  socket.write('abc');
  await echoed;
  const events = client.events({ follow: true })[Symbol.asyncIterator]();
  expect((await events.next()).done).toBe(false);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => undefined);
  node.keys.revoke('laptop');
  await closed;
  const toTheEnd = async (): Promise<void> => {
    for (let next = await events.next(); next.done !== true;) next = await events.next();
  };
  await expect(toTheEnd()).rejects.toMatchObject({ code: 'daemon.unreachable' });
  await expect(client.list()).rejects.toMatchObject({ code: 'acl.denied', details: { authenticate: true } });
  const [vm] = await new Client(socketPath).list();
  expect(vm?.state).toBe('running');
});
