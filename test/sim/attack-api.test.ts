import { readdirSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../../src/api/client.ts';
import { LIMITS } from '../../src/base/limits.ts';
import { Target } from '../fuzz/node.ts';
import { exchange, type Answered } from '../fuzz/wire.ts';

const target = new Target();
let user: string;

beforeAll(async () => {
  await target.open();
  user = target.hasUsers ? target.user : target.root;
});
afterAll(() => target.close());

const raw = (socket: string, text: string, isHalf = false): Promise<Answered> =>
  exchange(socket, Buffer.from(text, 'latin1'), isHalf);
const ask = (
  socket: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<Answered> => {
  const all = { Host: 'x', 'Content-Length': String(Buffer.byteLength(body)), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return raw(socket, `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
};

const open = async (
  path: string,
  allowHalfOpen = false,
): Promise<{ socket: Socket; closed: Promise<void>; text: () => string }> => {
  const socket = connect({ path, allowHalfOpen });
  let text = '';
  socket.on('error', () => undefined).on('data', (chunk) => (text += chunk.toString()));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => {
    socket.once('connect', () => resolve()).once('close', () => resolve());
  });
  return { socket, closed, text: () => text };
};

describe('an upgrade', () => {
  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty', 'h2c', 'console'])(
    'to %s is refused, and its connection ends',
    async (name) => {
      for (const [path, method] of [
        ['/v1/vms/web/console', 'GET'],
        ['/v1/vms', 'GET'],
        ['/v1/vms/web/start', 'POST'],
      ] as const) {
        const answer = await ask(user, method, path, { Connection: 'upgrade', Upgrade: name });
        expect([path, answer.status, answer.end]).toEqual([
          path,
          expect.toSatisfy((status: number) => status >= 400 && status < 500),
          'whole',
        ]);
      }
    },
  );

  test('that is refused holds nothing when its client keeps his side open', async () => {
    const { socket, closed, text } = await open(user, true);
    socket.write(
      'GET /v1/vms/none/console HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: brig-console\r\n\r\n',
    );
    // Whoever listens no more lets nobody write to him.
    const writing = setInterval(() => socket.write('x'), 200);
    await closed;
    clearInterval(writing);
    expect(text()).toMatch(/^HTTP\/1\.1 404 /);
  });
});

describe('a body', () => {
  test('whose name is an object with a method is bad input', async () => {
    for (const name of ['{"toString":1}', '{"toString":1,"valueOf":1}', '[]', 'null']) {
      const answer = await ask(target.root, 'POST', '/v1/networks', {}, `{"name":${name}}`);
      expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('spec.invalid')]);
    }
  });

  test.each([
    ['deep lists', `${'['.repeat(10_000)}${']'.repeat(10_000)}`],
    ['a deep object', `{"name":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_001)}`],
    ['deep brackets that never end', '['.repeat(500_000)],
  ])('of %s is bad input', async (_, body) => {
    for (const [method, path] of [
      ['POST', '/v1/vms'],
      ['POST', '/v1/networks'],
      ['POST', '/v1/access/grants'],
      ['PUT', '/v1/secrets/x'],
      ['PUT', '/v1/access/keys/x'],
    ] as const)
      expect([path, (await ask(target.root, method, path, {}, body)).status]).toEqual([path, 400]);
  });

  test('with brackets in its texts is as deep as it is', async () => {
    const answer = await ask(
      target.root,
      'POST',
      '/v1/access/grants',
      {},
      JSON.stringify({ principal: '[{"'.repeat(100), role: '\\', object: '{' }),
    );
    expect(answer.body).toContain('read principal');
  });

  test('of very many keys is answered in few words', async () => {
    const keys = Object.fromEntries(Array.from({ length: 40_000 }, (_, i) => [`k${i}`, 1]));
    const answer = await ask(target.root, 'POST', '/v1/vms', {}, JSON.stringify(keys));
    expect(answer.status).toBe(400);
    expect(answer.body.length).toBeLessThan(40_000);
  });

  test('that has no end is not read to it, whoever asks for something that has none', async () => {
    const { socket, closed, text } = await open(user);
    let written = 0;
    const chunk = Buffer.alloc(2 ** 16, 'x');
    socket.write(`GET /v1/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: ${10 ** 14}\r\n\r\n`);
    const push = (): void => {
      while (!socket.destroyed && socket.write(chunk)) written += chunk.length;
    };
    socket.on('drain', push);
    push();
    await closed;
    expect(written).toBeLessThan(4 * LIMITS.requestBytes);
    expect(text()).toMatch(/^$|^HTTP\/1\.1 400 /);
  });

  test('of very many values is refused before each is looked at', async () => {
    for (const body of [`[${'1,'.repeat(300_000)}1]`, `{"name":"a","disks":[${'{},'.repeat(90_000)}{}]}`]) {
      const answer = await ask(target.root, 'POST', '/v1/vms', {}, body);
      expect([answer.status, answer.body]).toEqual([400, expect.stringMatching(/at most .* values/)]);
    }
  });

  test('that ends before its length is nobody’s fault but its sender’s, in the log too', async () => {
    await raw(target.root, 'POST /v1/access/grants HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"pri', true);
    const { body } = await ask(target.root, 'GET', '/v1/audit-log?follow=0');
    expect(body).not.toContain('store.failed');
  });
});

describe('a question that takes long', () => {
  test('is not: for a snapshot of a long name, or keys of a query without end', async () => {
    const long = 'a'.repeat(8_000);
    const keys = Array.from({ length: 2_000 }, (_, i) => `${String.fromCharCode(97 + (i % 26))}${i}`).join('&');
    const begunMs = performance.now();
    for (let i = 0; i < 20; i++) {
      expect((await ask(target.root, 'DELETE', `/v1/vms/web/snapshots/${long}`)).status).toBe(404);
      expect((await ask(target.root, 'GET', `/v1/whoami?${keys}`)).status).toBe(400);
    }
    expect(performance.now() - begunMs).toBeLessThan(5_000);
  });

  test('of who uses a secret looks through each document once', async () => {
    const userData = `x ${'{{secret:a}}'.repeat(20_000)}`;
    for (const name of ['s1', 's2'])
      await target.client.create({ name, firmware: { builtin: 'test' }, memory: '64M', cloudInit: { userData } });
    for (let i = 0; i < 100; i++) await target.client.secrets.set(`n${i}`, Buffer.from('x'));
    await target.client.secrets.set('a', Buffer.from('x'));
    const begunMs = performance.now();
    const all = await target.client.secrets.list();
    expect(performance.now() - begunMs).toBeLessThan(2_000);
    expect(all.filter(({ usedBy }) => usedBy.length > 0)).toMatchObject([{ name: 'a', usedBy: ['s1', 's2'] }]);
  });

  test('of a VM that is there is answered before it has its turn, and keeps nobody from it', async ({ skip }) => {
    if (!target.hasUsers) skip();
    await target.client.access.grant({ principal: 'user:daemon', role: 'create', object: 'node' });
    const body = JSON.stringify({ name: 'web', firmware: { builtin: 'test' } });
    const asked = Array.from({ length: 20 }, () => ask(user, 'POST', '/v1/vms', {}, body));
    await target.client.operate('restart', 'web');
    for (const answer of await Promise.all(asked)) expect(answer.body).toContain('vm.exists');
    await target.client.access.revoke({ principal: 'user:daemon', role: 'create', object: 'node' });
  });
});

describe('connections of one user', () => {
  const many = async (count: number): Promise<{ sockets: Socket[]; left: () => number }> => {
    const sockets = await Promise.all(Array.from({ length: count }, () => open(user)));
    let gone = 0;
    for (const { closed } of sockets) void closed.then(() => gone++);
    return { sockets: sockets.map(({ socket }) => socket), left: () => count - gone };
  };

  test('beyond his share are closed, however many thousands come, and others are answered meanwhile', async ({
    skip,
  }) => {
    if (!target.hasUsers) skip();
    for (let round = 0; round < 10; round++) {
      const { sockets, left } = await many(1_000);
      await expect.poll(left, { timeout: 10_000 }).toBeLessThanOrEqual(LIMITS.connectionsPerUser);
      expect((await target.client.list()).map(({ name }) => name)).toContain('web');
      for (const socket of sockets) socket.destroy();
      await expect.poll(left).toBe(0);
    }
    // Whose clients come in thousands is not heard for a while.
    const status = (): Promise<number> =>
      ask(user, 'GET', '/v1/whoami').then(
        (answer) => answer.status,
        () => 0,
      );
    await expect.poll(status, { timeout: 5 * LIMITS.deafMs }).toBe(200);
  });

  test('with half a request are cut off, and leave nothing', async () => {
    const halves = ['GET /v1/vms HTTP/1.1\r\nHost: x\r\nX-A', 'G', '', 'POST /v1/vms HTTP/1.1\r\nHost: x\r\nX: y\r\n'];
    const opened = await Promise.all(halves.map(() => open(user)));
    opened.forEach(({ socket }, i) => socket.write(halves[i] ?? ''));
    const begun = Date.now();
    await Promise.all(opened.map(({ closed }) => closed));
    expect(Date.now() - begun).toBeLessThan(LIMITS.headersTimeoutMs + 10_000);
    for (const { text } of opened) expect(text()).toMatch(/^$|^HTTP\/1\.1 408 /);
  });

  test('that go away while their requests wait for their turn leave no place taken', async ({ skip }) => {
    if (!target.hasUsers) skip();
    const text = 'GET /v1/audit HTTP/1.1\r\nHost: x\r\n\r\n';
    for (let round = 0; round < 4; round++) {
      const { sockets } = await many(100);
      for (const socket of sockets) socket.write(text);
      await sleep(50);
      for (const socket of sockets) socket.destroy();
      await sleep(LIMITS.requestWaitMs / 4);
    }
    await sleep(LIMITS.requestWaitMs);
    const own = new Client(user);
    expect(await Promise.all(Array.from({ length: 100 }, () => own.whoami()))).toHaveLength(100);
  });
});

describe('what another may not know', () => {
  const plain = ({ status, head, body }: Answered): string =>
    JSON.stringify([status, head.replace(/^date: .*$/im, ''), body]).replaceAll(/\bhidden\b/g, 'absent');

  test('is not there in any answer', async ({ skip }) => {
    if (!target.hasUsers) skip();
    const { client } = target;
    await client.create({ name: 'hidden', firmware: { builtin: 'test' }, owner: 'games', memory: '64M' });
    await client.access.grant({ principal: 'user:daemon', role: 'create', object: 'node' });
    const places = (await target.places()).filter(
      ({ path }) => path.includes('{name}') && (path.startsWith('/vms') || path.startsWith('/images/from')),
    );
    expect(places.length).toBeGreaterThan(12);
    const bodyOf = (vm: string): [string, string, string][] => [
      ...places.map(({ method, path }): [string, string, string] => [
        method,
        `/v1${path.replace('{name}', vm).replace(/\{\w+\}/g, '0')}`,
        method === 'GET' ? '' : '{}',
      ]),
      ['POST', '/v1/vms', JSON.stringify({ name: 'own', firmware: { builtin: 'test' }, boot: { after: [vm] } })],
      ['POST', '/v1/access/grants', JSON.stringify({ principal: 'user:daemon', role: 'viewer', object: `vm:${vm}` })],
      ['POST', '/v1/access/revoke', JSON.stringify({ principal: 'user:games', role: 'viewer', object: `vm:${vm}` })],
      ['GET', `/v1/access/test?principal=user:daemon&verb=view&object=vm:${vm}`, ''],
      ['GET', `/v1/access/test?principal=user:games&verb=view&object=vm:${vm}`, ''],
      ['GET', `/v1/events?vm=${vm}`, ''],
      ['GET', `/v1/vms?after=${vm}`, ''],
    ];
    const [real, none] = [bodyOf('hidden'), bodyOf('absent')];
    for (const [i, [method, path, body]] of real.entries()) {
      const [, otherPath, otherBody] = none[i] ?? ['', '', ''];
      const [of, ofNone] = [await ask(user, method, path, {}, body), await ask(user, method, otherPath, {}, otherBody)];
      expect(plain(of), `${method} ${path}`).toBe(plain(ofNone));
    }
    for (const path of [
      '/v1/networks',
      '/v1/findings',
      '/v1/quotas',
      '/v1/access/grants',
      '/v1/events',
      '/v1/secrets',
      '/v1/metrics',
      '/v1/images',
    ])
      expect((await ask(user, 'GET', path)).body, path).not.toMatch(/games|hidden(?!.*user:daemon)/);
    const log = (await ask(user, 'GET', '/v1/audit-log')).body.trim().split('\n');
    const told = (vm: string): string[] =>
      log
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ object }) => object === `vm:${vm}`)
        .map(({ verb, decision, rule, result }) => JSON.stringify([verb, decision, rule, result]).replaceAll(vm, 'VM'));
    expect(told('hidden').length).toBeGreaterThan(12);
    expect(told('hidden')).toEqual(told('absent'));
  });

  test('is told of a name alone: one that is taken cannot be taken again', async ({ skip }) => {
    if (!target.hasUsers) skip();
    const answer = await ask(
      user,
      'POST',
      '/v1/vms',
      {},
      JSON.stringify({ name: 'hidden', firmware: { builtin: 'test' } }),
    );
    expect(answer.body).not.toMatch(/games/);
  });
});

test('the store is nobody else’s to read, from its first moment and whatever SQLite keeps beside it', () => {
  const { stateDir } = target.config;
  const modes = readdirSync(stateDir)
    .filter((name) => name.startsWith('brig.db'))
    .map((name) => [name, (statSync(`${stateDir}/${name}`).mode & 0o777).toString(8)]);
  expect(Object.fromEntries(modes)).toEqual({ 'brig.db': '600', 'brig.db-wal': '600' });
});

test('an answer that nobody reads costs brigd no more than its bound', async () => {
  const slow = request({ socketPath: user, path: '/v1/events?follow=1', headers: { host: 'x' }, agent: false });
  slow.on('error', () => undefined);
  const response = await new Promise<import('node:http').IncomingMessage>((resolve) =>
    slow.on('response', resolve).end(),
  );
  response.pause();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 8; i++)
    await ask(target.root, 'POST', '/v1/vms/web/kill').then(() => ask(target.root, 'POST', '/v1/vms/web/start'));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20);
  slow.destroy();
});
