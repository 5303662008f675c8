import { existsSync, chownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, IncomingMessage, type Server } from 'node:http';
import { connect, createServer as createPlain, type Server as Plain, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, type Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Client } from '../../../src/api/client.ts';
import { tie } from '../../../src/api/tie.ts';
import { refuseOn, UPGRADE_VNC } from '../../../src/api/upgrade.ts';
import { Screens } from '../../../src/api/vnc.ts';
import { acceptWebSocket, webDoor } from '../../../src/api/websocket.ts';
import { LIMITS } from '../../../src/base/limits.ts';
import { listenLoopback } from '../../../src/io/listen.ts';
import { connectAsOwner, connectByDescriptor, connectScreen } from '../../../src/io/screen.ts';

const GREETING = 'RFB 003.008\n';
/** As a guest's process. */
const UID = 39_600;
const isLinuxRoot = process.getuid?.() === 0 && existsSync('/proc/self/fd');

let dir: string;
const servers: (Server | Plain)[] = [];

/** Says who it is, then what it hears. */
const listen = async (path: string, greeting: string): Promise<void> => {
  const server = createPlain((socket) => {
    socket.on('error', () => undefined);
    socket.write(greeting);
    socket.pipe(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
};

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'brig-screen-'));
  await listen(join(dir, 'vnc'), GREETING);
  if (isLinuxRoot) {
    chownSync(dir, UID, UID);
    chownSync(join(dir, 'vnc'), UID, UID);
  }
});

afterEach(() => {
  for (const server of servers) {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  }
  servers.length = 0;
  rmSync(dir, { recursive: true });
});

const read = (stream: Duplex, bytes: number): Promise<string> =>
  new Promise((resolve, reject) => {
    let heard = '';
    stream.on('error', reject);
    stream.on('close', () => reject(new Error(`closed after ${heard}`)));
    stream.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
      if (heard.length >= bytes) resolve(heard);
    });
  });

/** Connects as nc(1) does, where there is none. */
const RELAY = [
  '/usr/bin/perl',
  '-MIO::Socket::UNIX',
  '-e',
  'my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1; sysread($s, my $b, 99); syswrite(STDOUT, $b); sleep 9',
] as const;

describe.skipIf(!isLinuxRoot)('a socket of a guest’s process', () => {
  const place = (uid = UID) => ({ path: join(dir, 'vnc'), uid });

  test('is connected to by its descriptor', async () => {
    const socket = await connectScreen({ ...place(), reach: 'descriptor' });
    expect(await read(socket, GREETING.length)).toBe(GREETING);
    socket.destroy();
  });

  test.skipIf(!existsSync('/usr/bin/perl'))('is connected to by a program of its owner', async () => {
    const stream = await connectAsOwner(place(), RELAY);
    expect(await read(stream, GREETING.length)).toBe(GREETING);
    stream.destroy();
  });

  test.skipIf(!existsSync('/usr/bin/perl'))('that nobody listens at any more is told, by either way', async () => {
    const path = join(dir, 'stale');
    const make = 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die';
    execFileSync('/usr/bin/perl', ['-MIO::Socket::UNIX', '-e', make, path]);
    chownSync(path, UID, UID);
    const wanted = { code: 'host.missing', message: `connect ${path}: nobody listens there` };
    await expect(connectAsOwner({ path, uid: UID }, RELAY)).rejects.toMatchObject(wanted);
    await expect(connectByDescriptor({ path, uid: UID })).rejects.toMatchObject(wanted);
  });

  test('is not said to be deserted when it is the program that is not there', async () => {
    await expect(connectAsOwner(place(), ['/nonexistent/nc', '-U'])).rejects.toMatchObject({
      code: 'host.missing',
      message: `connect ${join(dir, 'vnc')}: expected /nonexistent/nc, got no such program`,
    });
  });

  test('that says nothing is given up, and so is the program', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const connecting = connectAsOwner(place(), ['/bin/sleep', '9', '--']).catch((error: unknown) => error);
    await turn();
    vi.advanceTimersByTime(LIMITS.screenGreetingMs);
    vi.useRealTimers();
    expect(await connecting).toMatchObject({ code: 'host.timeout', message: /expected its greeting within 5 s/ });
  });

  test.each([
    ['a link', () => symlinkSync(join(dir, 'vnc'), join(dir, 'new'))],
    ['a file', () => writeFileSync(join(dir, 'new'), '')],
  ])('that is %s is no way to anything of the host', async (_, make) => {
    make();
    chownSync(dir, UID, UID);
    const at = { path: join(dir, 'new'), uid: UID };
    for (const connecting of [connectByDescriptor(at), connectAsOwner(at, RELAY)])
      await expect(connecting).rejects.toMatchObject({ code: 'host.mismatch' });
  });

  test('that is another user’s is refused, and one that is not there is told', async () => {
    await expect(connectByDescriptor(place(UID + 1))).rejects.toThrow(
      `a socket of uid ${UID + 1}, got one of uid ${UID}`,
    );
    await expect(connectByDescriptor({ path: join(dir, 'none'), uid: UID })).rejects.toMatchObject({
      code: 'host.missing',
    });
  });

  // What the owner could win with a race against the check.
  test.skipIf(!existsSync('/usr/bin/perl'))('leads its owner’s program no further than himself', async () => {
    await listen(join(dir, 'root'), 'ROOT');
    const stream = await connectAsOwner(place(), [
      RELAY[0],
      RELAY[1],
      RELAY[2],
      RELAY[3].replace('exit 1', 'do { print "DENIED $<"; exit 1 }').replace('$ARGV[0]', '"root"'),
    ]);
    expect(await read(stream, 6)).toBe(`DENIED ${UID}`);
    stream.destroy();
  });
});

describe('a screen over the API', () => {
  const told: string[] = [];
  let screens: Screens;
  /** To the screen. */
  let connections: Socket[];
  let connected: Promise<unknown>;

  beforeEach(async () => {
    told.length = 0;
    connections = [];
    connected = Promise.resolve();
    screens = new Screens({
      find: (vm) => (vm === 'web' ? { path: join(dir, 'vnc'), uid: 0, reach: 'descriptor' } : undefined),
      connect: async ({ path }) => {
        await connected;
        const socket = connect(path);
        connections.push(socket);
        return socket;
      },
      now: () => 0,
      onSession: (change, { vm, who, bytesIn, bytesOut }) =>
        void told.push(`${change} ${vm} ${who} ${bytesIn}/${bytesOut}`),
    });
    const server = createServer();
    server.on('upgrade', (request, socket: Duplex, head: Buffer) => {
      const name = request.url?.split('/')[3] ?? '';
      screens
        .attach({ name, who: 'user:ann', request, socket, head })
        .catch((error: unknown) => refuseOn(socket, error));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(join(dir, 'api'), resolve));
  });

  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  test('is for one client at a time, and its session is told', async () => {
    const client = new Client(join(dir, 'api'));
    const first = await client.vnc('web');
    expect(await read(first, GREETING.length)).toBe(GREETING);
    await expect(client.vnc('web')).rejects.toMatchObject({ code: 'console.taken' });
    first.write('hi');
    await read(first, 2);
    first.destroy();
    await until(() => told.length === 2);
    expect(told).toEqual(['begin web user:ann 0/0', `end web user:ann 2/${GREETING.length + 2}`]);
    const second = await client.vnc('web');
    second.destroy();
    await until(() => told.length === 4);
    await expect(client.vnc('db')).rejects.toMatchObject({ code: 'vm.blocked' });
  });

  test('comes in a websocket too, in binary frames only', async () => {
    const ws = new WebSocket(`ws+unix://${join(dir, 'api')}:/v1/vms/web/vnc`, ['binary']);
    const [data, isBinary] = await new Promise<[Buffer, boolean]>((resolve) =>
      ws.once('message', (data, isBinary) => resolve([data as Buffer, isBinary])),
    );
    expect([data.toString(), isBinary, ws.protocol]).toEqual([GREETING, true, 'binary']);
    ws.send('text');
    expect(await new Promise((resolve) => ws.once('close', resolve))).toBe(1003);
    await until(() => told.length === 2);
  });

  test.each([UPGRADE_VNC, 'websocket'])(
    'leaves its place to others when its client leaves early: by %s',
    async (upgrade) => {
      const key = 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n';
      const slow = Promise.withResolvers<string>();
      connected = slow.promise;
      const asked = vi.spyOn(screens, 'attach');
      const socket = connect(join(dir, 'api'));
      socket.on('error', () => undefined);
      socket.write(
        `GET /v1/vms/web/vnc HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: ${upgrade}\r\n${key}\r\n`,
      );
      await until(() => asked.mock.calls.length === 1);
      const came = asked.mock.calls[0]?.[0].socket;
      // As over TLS, where the end of one side is that of both.
      socket.destroy();
      came?.destroy();
      await until(() => came?.closed === true);
      slow.resolve('at last');
      await expect(asked.mock.results[0]?.value).rejects.toMatchObject({ code: 'saga.cancelled' });
      await until(() => connections[0]?.destroyed === true);
      const next = await new Client(join(dir, 'api')).vnc('web');
      expect(await read(next, GREETING.length)).toBe(GREETING);
      next.destroy();
      await until(() => told.length === 2);
    },
  );

  test('is let go by a client who was gone when it came, by either way', async () => {
    const [client, screen] = [new PassThrough(), new PassThrough()];
    client.destroy();
    await once(client, 'close');
    tie(client, screen);
    expect(screen.destroyed).toBe(true);
    const [viewer, ended] = [new PassThrough(), new PassThrough()];
    ended.destroy();
    await once(ended, 'close');
    tie(viewer, ended);
    expect(viewer.destroyed).toBe(true);
    const request = new IncomingMessage(new Socket());
    request.method = 'GET';
    request.headers = {
      ...{ upgrade: 'websocket', 'sec-websocket-version': '13' },
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    };
    await expect(acceptWebSocket(request, client, Buffer.alloc(0))).rejects.toThrow('no websocket');
  });

  test('that is asked for by a request that is no websocket leaves its place free', async () => {
    const socket = connect(join(dir, 'api'));
    socket.on('error', () => undefined).resume();
    socket.write('GET /v1/vms/web/vnc HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    const client = await new Client(join(dir, 'api')).vnc('web');
    client.destroy();
    await until(() => told.length === 2);
  });
});

describe('a door for a websocket', () => {
  test.each([
    ['/token', undefined, true],
    ['/token', 'http://localhost:6080', true],
    ['/token', 'https://evil.example', false],
    ['/token', 'http://localhost.evil.example', false],
    ['/other', undefined, false],
  ])('for path %s from origin %s opens: %s', async (path, origin, opens) => {
    let clients = 0;
    const listening = await listenLoopback(
      webDoor('/token', (client) => {
        clients++;
        client.end(GREETING);
      }),
    );
    const ws = new WebSocket(`ws://127.0.0.1:${listening.port}${path}`, ['binary'], origin ? { origin } : {});
    const said = await new Promise<string>((resolve) => {
      ws.on('message', (data: Buffer) => resolve(data.toString()));
      ws.on('error', ({ message }) => resolve(message));
    });
    expect([said, clients]).toEqual(opens ? [GREETING, 1] : ['Unexpected server response: 404', 0]);
    ws.terminate();
    listening.close();
  });
});
