import { createServer } from 'node:net';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signerOf } from '../../src/acl/ed25519.ts';
import { renderPublicHalf } from '../../src/acl/keys.ts';
import { signRequest } from '../../src/acl/signatures.ts';
import { Client } from '../../src/api/client.ts';
import { askFingerprint, RemoteTransport } from '../../src/api/remote.ts';
import { Target } from '../fuzz/node.ts';

const seed = new Uint8Array(32).fill(8);
let target: Target;
let url: string;
let elsewhere: Client;

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

beforeAll(async () => {
  const port = await freePort();
  target = await new Target({ listen: { address: '127.0.0.1', port } }).open();
  url = `https://127.0.0.1:${port}`;
  const proof = { fingerprint: await askFingerprint(url) };
  elsewhere = new Client(new RemoteTransport({ url, signer: signerOf(seed), proof }));
});
afterAll(() => target.close());

/** What comes back for bytes, each time on a connection of its own. */
const send = (text: string): Promise<string> =>
  new Promise((resolve) => {
    const { port } = new URL(url);
    const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false }, () =>
      socket.end(text),
    );
    let said = '';
    socket.on('error', () => undefined).on('data', (chunk: Buffer) => (said += chunk.toString()));
    socket.on('close', () => resolve(said));
  });

test('what was signed counts once, and never for another brigd, in its first minute or later', async () => {
  const own = new Uint8Array(32).fill(7);
  await target.client.access.addKey('twice', { public: renderPublicHalf(signerOf(own).publicBytes) });
  const node = await askFingerprint(url);
  let count = 0;
  const signed = (start?: string): string => {
    const headers = {
      host: new URL(url).host,
      'brig-node': node,
      ...(start === undefined ? {} : { 'brig-start': start }),
    };
    const what = { method: 'GET', target: '/v1/whoami', headers };
    const all = signRequest(what, signerOf(own), Date.now(), Buffer.alloc(18, ++count));
    const lines = Object.entries({ ...all, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
    return `GET /v1/whoami HTTP/1.1\r\n${lines.join('')}\r\n`;
  };
  const statusOf = async (text: string): Promise<string> => (await send(text)).slice(9, 12);
  const startOf = async (): Promise<string> => /^brig-start: (.*)$/im.exec(await send(signed()))?.[1]?.trim() ?? '';
  const first = await startOf();
  const taken = signed(first);
  expect([await statusOf(taken), await statusOf(taken)]).toEqual(['200', '401']);
  const [kept, without] = [signed(first), signed()];
  await target.restart();
  const second = await startOf();
  expect(second).not.toBe(first);
  for (const text of [taken, kept, without]) expect(await statusOf(text)).toBe('401');
  expect(await statusOf(signed(second))).toBe('200');
  expect((await target.client.show('web')).state).toBe('running');
});

test('a key that nobody added is nobody', async () => {
  await expect(elsewhere.whoami()).rejects.toMatchObject({ code: 'acl.denied', details: { authenticate: true } });
});

test('a key may what rules give it, and sits at a console until it is revoked', async () => {
  const { client } = target;
  await client.access.addKey('laptop', { public: renderPublicHalf(signerOf(seed).publicBytes) });
  expect(await elsewhere.whoami()).toMatchObject({ id: 'key:laptop', isRoot: false, subjects: ['key:laptop'] });
  expect(await elsewhere.list()).toEqual([]);
  await expect(elsewhere.show('web')).rejects.toMatchObject({ code: 'vm.unknown' });
  await client.access.grant({ principal: 'key:laptop', role: 'view,console', object: 'vm:web' });
  expect((await elsewhere.list()).map(({ name }) => name)).toEqual(['web']);
  await expect(elsewhere.operate('stop', 'web')).rejects.toMatchObject({ code: 'acl.denied' });
  await expect(
    elsewhere.access.grant({ principal: 'key:laptop', role: 'power', object: 'vm:web' }),
  ).rejects.toMatchObject({ code: 'acl.denied' });
  await expect(
    elsewhere.access.addKey('other', { public: renderPublicHalf(signerOf(new Uint8Array(32).fill(9)).publicBytes) }),
  ).rejects.toMatchObject({ code: 'acl.denied' });

  const { stream } = await elsewhere.console('web');
  let said = '';
  stream.on('error', () => undefined).on('data', (chunk: Buffer) => (said += chunk.toString()));
  const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()));
  stream.write('abc');
  await expect.poll(() => said).toContain('abc');
  const events = elsewhere.events({ follow: true })[Symbol.asyncIterator]();
  expect((await events.next()).done).toBe(false);

  await client.access.revokeKey('laptop');
  await closed;
  const toTheEnd = async (): Promise<void> => {
    for (let next = await events.next(); next.done !== true; next = await events.next());
  };
  await expect(toTheEnd()).rejects.toMatchObject({ code: 'daemon.unreachable' });
  await expect(elsewhere.list()).rejects.toMatchObject({ code: 'acl.denied', details: { authenticate: true } });
  expect((await client.show('web')).state).toBe('running');
});

test('all of it is in the audit log: who, from where, and what came of it', async () => {
  const told: string[] = [];
  for await (const { who, from, verb, decision } of target.client.auditLog({}))
    told.push(`${who} ${from} ${verb} ${decision}`);
  expect(told).toEqual(
    expect.arrayContaining([
      'key:laptop 127.0.0.1 GET /vms allow',
      'key:laptop 127.0.0.1 POST /vms/{name}/stop deny',
      'key:laptop 127.0.0.1 POST /access/grants deny',
      'key:laptop 127.0.0.1 PUT /access/keys/{key} deny',
      'key:laptop 127.0.0.1 GET /vms/{name}/console allow',
      'root unix DELETE /access/keys/{key} allow',
    ]),
  );
  expect((await target.client.verifyAuditLog()).ok).toBe(true);
});
