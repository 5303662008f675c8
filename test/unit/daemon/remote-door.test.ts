import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { signerOf } from '../../../src/acl/ed25519.ts';
import { signRequest } from '../../../src/acl/signatures.ts';
import { Client } from '../../../src/api/client.ts';
import { askFingerprint, RemoteTransport } from '../../../src/api/remote.ts';
import { answerTo, upgradeTo } from '../../../src/api/transport.ts';
import { openCertificate } from '../../../src/daemon/certificate.ts';
import { realHost } from '../../../src/io/host.ts';
import { parseConfig } from '../../../src/spec/config.ts';
import { Node } from './remote.ts';

const seed = new Uint8Array(32).fill(1);
const signer = signerOf(seed);
let node: Node;
let count = 0;

beforeAll(async () => {
  node = await new Node().open();
  node.addKey('laptop', seed, { owner: 'alice' });
});
afterAll(() => node.close());
beforeEach(() => void (node.told.length = 0));

const signed = (what: Partial<Parameters<typeof signRequest>[0]> = {}): Record<string, string> =>
  signRequest(
    {
      ...{ method: 'GET', target: '/v1/vms' },
      headers: { host: `127.0.0.1:${node.door.port}`, 'brig-node': node.certificate.fingerprint },
      ...what,
    },
    signer,
    Date.now(),
    Buffer.alloc(18, ++count),
  );

const textOf = (headers: Record<string, string>, start = 'GET /v1/vms HTTP/1.1', body = ''): string =>
  `${start}\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n${body}`;

const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);

describe('a request from elsewhere', () => {
  test('reaches its handler with who signed it and its body', async () => {
    const who = await new Client(node.transport(seed)).whoami();
    expect(who).toEqual({
      id: 'key:laptop',
      isRoot: false,
      subjects: ['key:laptop', 'user:alice'],
      owner: 'alice',
      from: '127.0.0.1',
    });
    await new Client(node.transport(seed)).access.addKey('x y', { public: 'p' });
    expect(node.told).toEqual([
      { method: 'GET', url: '/v1/whoami', id: 'key:laptop', body: '' },
      { method: 'PUT', url: '/v1/access/keys/x%20y', id: 'key:laptop', body: '{"public":"p"}' },
    ]);
  });

  test('that nobody signed, or a stranger, reaches nobody', async () => {
    const answer = await node.exchange('GET /v1/vms HTTP/1.1\r\nhost: n\r\n\r\n');
    expect(statusOf(answer)).toBe(401);
    expect(answer).toContain('"authenticate":true');
    expect(answer.toLowerCase()).toContain('connection: close');
    const stranger = new Client(node.transport(new Uint8Array(32).fill(9)));
    await expect(stranger.whoami()).rejects.toMatchObject({ code: 'acl.denied', details: { authenticate: true } });
    expect(node.told).toEqual([]);
  });

  test('whose body was swapped fails before anybody has it', async () => {
    const body = Buffer.from('{"a":1}');
    const headers = signed({ method: 'PUT', body });
    const swap = { ...headers, 'content-length': '7', connection: 'close' };
    const answer = await node.exchange(textOf(swap, 'PUT /v1/vms HTTP/1.1', '{"a":2}'));
    expect(answer).toContain('expected the body that was signed, got another');
    expect(node.told).toEqual([]);
    const fresh = { ...signed({ method: 'PUT', body }), 'content-length': '7', connection: 'close' };
    expect(statusOf(await node.exchange(textOf(fresh, 'PUT /v1/vms HTTP/1.1', '{"a":1}')))).toBe(200);
  });

  test('is not taken twice, on the same connection or another', async () => {
    const text = textOf({ ...signed(), connection: 'keep-alive' });
    const answer = await node.exchange(text + text);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 401']);
    expect(statusOf(await node.exchange(text))).toBe(401);
    expect(node.told).toHaveLength(1);
  });
});

describe('smuggling', () => {
  const cases: [string, () => string][] = [
    [
      'both lengths',
      () => textOf({ ...signed(), 'content-length': '5', 'transfer-encoding': 'chunked' }, undefined, '0\r\n\r\n'),
    ],
    [
      'a second length',
      () => `${textOf({ ...signed(), 'content-length': '0' }).slice(0, -2)}content-length: 5\r\n\r\nhello`,
    ],
    ['a second host', () => `${textOf(signed()).slice(0, -2)}Host: other\r\n\r\n`],
    ['a second signature', () => `${textOf(signed()).slice(0, -2)}Signature: x=:AAAA:\r\n\r\n`],
    ['a folded header', () => textOf({ ...signed(), 'x-fold': 'a\r\n b' })],
    ['a blank before the colon', () => textOf(signed()).replace('host:', 'host :')],
    ['a bare line feed', () => textOf(signed()).replaceAll('\r\n', '\n')],
    ['a bare carriage return', () => textOf({ ...signed(), 'x-cr': 'a\rb' })],
    ['an absolute target', () => textOf(signed(), `GET https://127.0.0.1:${node.door.port}/v1/vms HTTP/1.1`)],
    ['no host', () => textOf(signed()).replace(/host: .*\r\n/, '')],
    ['an old version', () => textOf(signed(), 'GET /v1/vms HTTP/0.9')],
    ['an unknown method', () => textOf(signed(), 'STEAL /v1/vms HTTP/1.1')],
    ['a proxy’s method', () => textOf(signed(), 'CONNECT other:443 HTTP/1.1')],
    ['another encoding', () => textOf({ ...signed(), 'transfer-encoding': 'gzip' })],
    ['chunked in a strange spelling', () => textOf({ ...signed(), 'transfer-encoding': 'xchunked' })],
    ['large headers', () => textOf({ ...signed(), 'x-large': 'x'.repeat(17_000) })],
    ['a null byte', () => textOf({ ...signed(), 'x-null': 'a\0b' })],
    ['upgrade that nobody signed', () => textOf({ ...signed(), connection: 'upgrade', upgrade: 'brig-console' })],
  ];
  test.each(cases)('by %s is refused, and the connection ends', async (_, text) => {
    const answer = await node.exchange(text());
    if (answer !== '') expect(statusOf(answer)).toBeGreaterThanOrEqual(400);
    expect(answer).not.toContain('101 Switching');
    expect(node.told).toEqual([]);
  });

  test('of a request in the body of another ends as the body that it is not', async () => {
    const inner = textOf(signed());
    const headers = { ...signed({ method: 'PUT', body: Buffer.from('{}') }), 'content-length': String(inner.length) };
    const answer = await node.exchange(textOf({ ...headers, connection: 'close' }, 'PUT /v1/vms HTTP/1.1', inner));
    expect(answer).toContain('expected the body that was signed');
    expect(node.told).toEqual([]);
  });

  test('is not needed for a plain request: the same text is taken as it is', async () => {
    expect(statusOf(await node.exchange(textOf({ ...signed(), connection: 'close' })))).toBe(200);
    expect(node.told).toHaveLength(1);
  });
});

describe('who is on the other side', () => {
  test('is compared before anything is sent', async () => {
    let heard = 0;
    const { cert, key } = node.certificate;
    const server = createServer({ cert, key }, (_, response) => void response.end('{}'));
    server.on('secureConnection', (socket) => socket.on('data', () => heard++));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    const { port } = server.address() as { port: number };
    const posed = new RemoteTransport({
      ...{ url: `https://127.0.0.1:${port}`, signer, proof: { fingerprint: 'b'.repeat(64) } },
    });
    for (const work of [() => new Client(posed).whoami(), () => new Client(posed).console('web01')])
      await expect(work()).rejects.toMatchObject({
        code: 'acl.denied',
        message: `connect https://127.0.0.1:${port}: expected certificate ${'b'.repeat(64)}, got ${node.certificate.fingerprint}`,
      });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(heard).toBe(0);
  });

  test('may be told by who signed its certificate, for its own name alone', async () => {
    const proof = { ca: node.certificate.cert };
    const by = (host: string): Client =>
      new Client(new RemoteTransport({ url: `https://${host}:${node.door.port}`, signer, proof }));
    expect((await by('127.0.0.1').whoami()).id).toBe('key:laptop');
    await expect(by('localhost').whoami()).rejects.toMatchObject({ code: 'daemon.unreachable' });
    const other = await openCertificate(realHost, { address: '127.0.0.1', port: 1 }, join(node.dir, 'other'));
    const wrong = new RemoteTransport({ url: node.url, signer, proof: { ca: other.cert } });
    await expect(new Client(wrong).whoami()).rejects.toMatchObject({ code: 'daemon.unreachable' });
    expect(await askFingerprint(node.url)).toBe(node.certificate.fingerprint);
    await expect(askFingerprint(node.url, other.cert)).rejects.toMatchObject({ code: 'daemon.unreachable' });
  });

  test('cannot use what it was sent with another node', async () => {
    const other = await new Node().open();
    try {
      other.addKey('laptop', seed);
      const text = textOf({ ...signed(), connection: 'close' });
      expect(await other.exchange(text)).toContain('got one for another');
      expect(statusOf(await node.exchange(text))).toBe(200);
    } finally {
      other.close();
    }
  });
});

describe('two nodes', () => {
  test('are two clients with the same key', async () => {
    const other = await new Node().open();
    try {
      other.addKey('work', seed);
      const ids = await Promise.all([node, other].map((each) => new Client(each.transport(seed)).whoami()));
      expect(ids.map(({ id }) => id)).toEqual(['key:laptop', 'key:work']);
    } finally {
      other.close();
    }
  });
});

describe('a key that is revoked', () => {
  test('ends its consoles and streams at once, and nobody else’s', async () => {
    const [own, theirs] = [new Uint8Array(32).fill(3), new Uint8Array(32).fill(4)];
    node.addKey('thief', own);
    node.addKey('other', theirs);
    const open = [own, theirs].map(async (each) => (await new Client(node.transport(each)).console('web01')).stream);
    const consoles = await Promise.all(open);
    const stream = await answerTo(node.transport(own), { method: 'GET', path: '/v1/follow' });
    const ended = [consoles[0], stream].map(
      (each) => new Promise<void>((resolve) => each?.once('close', () => resolve())),
    );
    for (const each of [...consoles, stream]) each.on('error', () => undefined).resume();
    node.keys.revoke('thief');
    await Promise.all(ended);
    expect(consoles[1]?.destroyed).toBe(false);
    await expect(new Client(node.transport(own)).whoami()).rejects.toThrow('key thief was revoked');
    consoles[1]?.destroy();
  });

  test('ends as well when it expires, with the next pass', async () => {
    const own = new Uint8Array(32).fill(5);
    node.addKey('guest', own, { expiresMs: node.now() + 30_000 });
    const { stream: socket } = await new Client(node.transport(own)).console('web01');
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined).resume();
    node.aheadMs = 31_000;
    node.keys.pass();
    await ended;
    node.aheadMs = 0;
    expect(socket.destroyed).toBe(true);
  });
});

describe('a console', () => {
  test('is raw bytes both ways after a signed upgrade', async () => {
    const { stream: socket } = await new Client(node.transport(seed)).console('web01');
    const chunks: string[] = [];
    const came = new Promise<void>((resolve) =>
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk.toString());
        if (chunks.join('').includes('echo')) resolve();
      }),
    );
    socket.write('echo');
    await came;
    expect(chunks.join('')).toBe('key:laptop\necho');
    socket.destroy();
  });

  test('that a stranger asks for is refused with its reason', async () => {
    const stranger = node.transport(new Uint8Array(32).fill(9));
    await expect(new Client(stranger).console('web01')).rejects.toMatchObject({ code: 'acl.denied' });
  });
});

describe('after a restart of brigd', () => {
  test('requests, uploads and consoles go on, each signed anew with its word', async () => {
    const fresh = await new Node().open({}, 'now');
    try {
      fresh.addKey('laptop', seed);
      expect((await new Client(fresh.transport(seed)).whoami()).id).toBe('key:laptop');
      const upgraded = await upgradeTo(fresh.transport(seed), '/v1/vms/web01/console', 'brig-console');
      expect('socket' in upgraded).toBe(true);
      if ('socket' in upgraded) upgraded.socket.destroy();
      const frames = async function* () {
        yield await Promise.resolve({ json: { offer: 1 } });
        yield { end: 'all' } as const;
      };
      await new Client(fresh.transport(seed)).takeImage(frames());
      const last = fresh.told.at(-1);
      expect([last?.method, last?.url, last?.body.slice(5)]).toEqual(['POST', '/v1/images', '{"offer":1}C\0\0\0\0']);
      const kept = new Client(fresh.transport(seed));
      await kept.whoami();
      fresh.restart('now');
      expect((await kept.whoami()).id).toBe('key:laptop');
    } finally {
      fresh.close();
    }
  });
});

describe('a door', () => {
  test('lets go of half requests, of silence and of plain HTTP', async () => {
    const hasty = await new Node().open({ handshakeMs: 200, headMs: 200, checkMs: 50 });
    try {
      const half = hasty.exchange('GET /v1/vms HTTP/1.1\r\nhost: n\r\n');
      const silent = hasty.exchange('');
      const plain = new Promise<string>((resolve) => {
        const socket = connectTcp({ host: '127.0.0.1', port: hasty.door.port });
        let text = '';
        socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve(text));
        socket.write('GET / HTTP/1.1\r\nhost: n\r\n\r\n');
      });
      const mute = new Promise<void>((resolve) => {
        const socket = connectTcp({ host: '127.0.0.1', port: hasty.door.port });
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
        socket.resume();
      });
      expect(statusOf(await half)).toBe(408);
      expect(await silent).not.toContain(' 200 ');
      expect(await plain).not.toContain('HTTP/1.1');
      await mute;
      expect(hasty.told).toEqual([]);
    } finally {
      hasty.close();
    }
  });

  test('has so many connections for one address and no more, and room again when they went', async () => {
    const narrow = await new Node().open({ perAddress: 2 });
    try {
      narrow.addKey('laptop', seed);
      const held = await Promise.all([narrow.raw(), narrow.raw()]);
      await expect(narrow.raw()).rejects.toThrow();
      const gone = held.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
      for (const socket of held) socket.destroy();
      await Promise.all(gone);
      await expect.poll(() => narrow.door.connections).toBe(0);
      expect((await new Client(narrow.transport(seed)).whoami()).id).toBe('key:laptop');
    } finally {
      narrow.close();
    }
  });

  test('speaks no TLS older than 1.2', () => {
    const { status } = spawnSync(
      '/usr/bin/openssl',
      ['s_client', '-connect', `127.0.0.1:${node.door.port}`, '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'],
      { input: '', timeout: 2_000 },
    );
    expect(status).not.toBe(0);
  });

  test('tells where it listens, with which certificate, and when that ends', () => {
    const { port } = node.door;
    expect(node.door.finding(Date.now())).toEqual({
      level: 'ok',
      what: 'requests from elsewhere',
      got: `127.0.0.1 port ${port}, certificate sha256 ${node.certificate.fingerprint}, good for 3649 days`,
    });
    expect(node.door.finding(node.certificate.endsMs - 86_400_000).level).toBe('warning');
    expect(node.door.finding(node.certificate.endsMs + 1).level).toBe('problem');
  });

  test('whose port is taken says so', async () => {
    const other = new Node();
    const { RemoteDoor } = await import('../../../src/daemon/remote-door.ts');
    const door = new RemoteDoor({
      ...{ address: '127.0.0.1', port: node.door.port, certificate: node.certificate },
      ...{ admit: () => expect.fail(), inside: { handle: () => undefined, upgrade: () => undefined } },
      refused: () => undefined,
    });
    await expect(door.open()).rejects.toMatchObject({ code: 'host.failed' });
    other.store.close();
  });
});

describe('a certificate', () => {
  test('is made once, closed to others, and kept', async () => {
    const dir = join(node.dir, 'made');
    const listen = { address: '0.0.0.0', port: 1 };
    const first = await openCertificate(realHost, listen, dir);
    expect(first).toEqual(await openCertificate(realHost, listen, dir));
    expect(first.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect([dir, join(dir, 'key.pem')].map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o600]);
    chmodSync(join(dir, 'key.pem'), 0o640);
    await expect(openCertificate(realHost, listen, dir)).rejects.toMatchObject({ code: 'acl.denied' });
  });

  test('of the configuration is used as it is, and what is none is refused without a word of the key', async () => {
    const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(node.dir, 'tls', name)) as [string, string];
    const listen = { address: '127.0.0.1', port: 1, cert, key };
    expect((await openCertificate(realHost, listen, '/nowhere')).fingerprint).toBe(node.certificate.fingerprint);
    const absent = { ...listen, cert: '/nowhere/cert.pem' };
    await expect(openCertificate(realHost, absent, '/nowhere')).rejects.toMatchObject({ code: 'config.invalid' });
    const other = await openCertificate(realHost, { address: '::1', port: 1 }, join(node.dir, 'third'));
    expect(other.fingerprint).not.toBe(node.certificate.fingerprint);
    const mixed = { ...listen, key: join(node.dir, 'third/key.pem') };
    const error = await openCertificate(realHost, mixed, '/nowhere').catch((each: unknown) => each);
    expect(error).toMatchObject({ code: 'config.invalid' });
    const secret = readFileSync(mixed.key, 'utf8').split('\n')[1] ?? '';
    expect(String(error)).not.toContain(secret);
  });

  test('is made by the configuration’s listen, of which all problems are told', () => {
    expect(parseConfig('listen: {address: "::", port: 7480}', 'c').listen).toEqual({ address: '::', port: 7480 });
    for (const bad of ['{address: node, port: 1}', '{address: "::", port: 0}', '{address: "::", port: 1, cert: /c}'])
      expect(() => parseConfig(`listen: ${bad}`, 'c'), bad).toThrow('check c: 1 problem');
  });
});
