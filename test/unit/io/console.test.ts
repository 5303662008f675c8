import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { attachConsole, sendHistory } from '../../../src/api/console.ts';
import { Client } from '../../../src/api/client.ts';
import { refuseOn } from '../../../src/api/upgrade.ts';
import { BrigError, toErrorBody } from '../../../src/base/errors.ts';
import { LIMITS } from '../../../src/base/limits.ts';
import { ConsoleSockets, type Access } from '../../../src/daemon/console-sockets.ts';
import { Consoles } from '../../../src/engine/consoles.ts';
import { BoundedLog } from '../../../src/io/bounded-log.ts';
import { realHost } from '../../../src/io/host.ts';
import { recordingIn } from '../../../src/io/recording.ts';

const LOG_BYTES = 64 * 2 ** 10;

let dir: string;
let consoles: Consoles;
let server: Server;
const children: ChildProcess[] = [];
const sockets: Socket[] = [];

const newConsoles = (record?: ReturnType<typeof recordingIn>): Consoles =>
  new Consoles({
    ...{ host: realHost, record },
    paths: () => ({ conIn: join(dir, 'con.in'), conOut: join(dir, 'con.out') }),
    history: () => new BoundedLog(join(dir, 'console.log'), LOG_BYTES),
    replayBytes: 4096,
  });

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'brig-console-'));
  execFileSync('mkfifo', [join(dir, 'con.in'), join(dir, 'con.out')]);
  consoles = newConsoles();
  await consoles.open('web');
  server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    void sendHistory(consoles, 'web', Number(url.searchParams.get('bytes') ?? Infinity), response);
  });
  server.on('upgrade', (request, socket, head) => {
    if (head.length > 0) socket.unshift(head);
    const { searchParams: query } = new URL(request.url ?? '', 'http://x');
    const how = {
      steal: query.get('steal') === '1',
      view: query.get('view') === '1',
      ...(query.has('replay') ? { replay: Number(query.get('replay')) } : {}),
    };
    const call = { consoles, name: 'web', who: 'user:ann', mayWrite: true, how, socket };
    void attachConsole(call).catch((error: unknown) => refuseOn(socket, error));
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'api'), resolve));
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const socket of sockets) socket.destroy();
  children.length = sockets.length = 0;
  await consoles.closeAll();
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true });
});

const kept = async (bytes: number): Promise<string> => {
  let text = '';
  for await (const piece of consoles.history('web', bytes)) text += piece.toString();
  return text;
};

const client = (): Client => new Client(join(dir, 'api'));

const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (let i = 0; i < 800 && !holds(); i++) await sleep(5);
  expect(holds(), what).toBe(true);
};

/** A guest that says so much and no more, or never stops. */
const guest = (script: string): ChildProcess => {
  const child = spawn('/bin/sh', ['-c', script], { cwd: dir, stdio: 'ignore' });
  children.push(child);
  return child;
};

const hear = (socket: NodeJS.ReadableStream): (() => string) => {
  let heard = '';
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  socket.on('error', () => undefined);
  return () => heard;
};

describe('a console over the API', () => {
  test('says who writes and how much of it is history, and carries bytes both ways', async () => {
    guest('printf before >con.out');
    await until('the history', () => consoles.sessions().length === 0);
    while ((await kept(100)) === '') await sleep(5);
    const ann = await client().console('web');
    expect([ann.mode, ann.writer, ann.historyBytes]).toEqual(['write', 'user:ann', 6]);
    const heard = hear(ann.stream);
    guest('head -c 5 con.in >con.out');
    ann.stream.write('typed');
    await until('the echo', () => heard() === 'beforetyped');
    const bob = await client().console('web', { view: true, replayBytes: 2 });
    expect([bob.mode, bob.writer, bob.historyBytes]).toEqual(['read', 'user:ann', 2]);
    ann.stream.destroy();
    bob.stream.destroy();
    await until('the end of both', () => consoles.sessions().length === 0);
  });

  test('is recorded where the host says so, with what was typed, for root alone', async () => {
    await consoles.closeAll();
    const recordings = join(dir, 'recordings');
    consoles = newConsoles(recordingIn(recordings, () => Date.now()));
    await consoles.open('web');
    const ann = await client().console('web');
    const heard = hear(ann.stream);
    guest('head -c 5 con.in >con.out');
    ann.stream.write('typed');
    await until('the echo', () => heard().includes('typed'));
    ann.stream.destroy();
    await until('its end', () => consoles.sessions().length === 0);
    const [name = '', ...more] = readdirSync(recordings);
    expect([name, more]).toEqual([expect.stringMatching(/^web-\d{4}-.*-user:ann-1\.cast$/), []]);
    const path = join(recordings, name);
    await until('all of it', () => readFileSync(path, 'utf8').split('\n').length === 4);
    const [head = '', ...lines] = readFileSync(path, 'utf8').trim().split('\n');
    expect(JSON.parse(head)).toMatchObject({ version: 2, title: 'user:ann' });
    expect(lines.map((line) => (JSON.parse(line) as unknown[]).slice(1))).toEqual([
      ['i', 'typed'],
      ['o', 'typed'],
    ]);
    expect([statSync(path).mode & 0o777, statSync(recordings).mode & 0o777]).toEqual([0o600, 0o700]);
  });

  test('keeps the last words of a guest that is gone, however fast they came', async () => {
    guest(
      'for i in 1 2 3 4 5 6 7 8 9; do head -c 500000 /dev/zero; done >con.out; printf "THE END" >con.out; touch gone',
    );
    await until('the end of the guest', () => existsSync(join(dir, 'gone')));
    await consoles.close('web');
    expect(await kept(7)).toBe('THE END');
  });

  test('tells all that was said until it is asked, though it waits for its turn, and goes on with that', async () => {
    guest('head -c 400000 /dev/zero >con.out; printf "THE END" >con.out; touch said');
    await until('the guest to have said it', () => existsSync(join(dir, 'said')));
    expect(await kept(7)).toBe('THE END');
    guest('printf more >con.out; touch more');
    await until('the guest to have said more', () => existsSync(join(dir, 'more')));
    expect(await kept(11)).toBe('THE ENDmore');
    const closing = consoles.close('web');
    expect(await kept(4)).toBe('more');
    await closing;
  });

  test('of a VM that does not run is refused', async () => {
    await consoles.close('web');
    await expect(client().console('web')).rejects.toMatchObject({ code: 'vm.blocked' });
  });

  test('gives a reader who takes it every byte of a flood', async () => {
    const { stream } = await client().console('web', { replayBytes: 0 });
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    guest('head -c 30000000 /dev/zero >con.out');
    await until('all of it', () => bytes >= 30_000_000);
    expect(bytes).toBe(30_000_000);
    stream.destroy();
  });

  test('with a reader who is stuck holds up neither the guest nor others, and keeps little for him', async () => {
    const stuck = await client().console('web', { replayBytes: 0 });
    const quick = await client().console('web', { replayBytes: 0 });
    let bytes = 0;
    quick.stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    const note = Buffer.byteLength('\r\n[brig: user:ann writes; you read; --steal takes over]\r\n');
    guest('head -c 20000000 /dev/zero >con.out');
    await until('all of it', () => bytes >= 20_000_000 + note);
    const [one, other] = consoles.sessions();
    expect([bytes, other?.bytesOut]).toEqual([20_000_000 + note, 20_000_000]);
    expect(one?.bytesOut).toBeLessThan(LIMITS.consoleLagBytes + 2 ** 20);
    const heard = hear(stuck.stream);
    await until('what he is told', () => heard().endsWith('you read too slowly]\r\n'));
    expect(heard()).toContain(` bytes left out`);
    for (const { stream } of [stuck, quick]) stream.destroy();
  });

  test('answers with what is kept when its VM is stopped, too', async () => {
    guest('printf last-words >con.out');
    while ((await kept(100)) === '') await sleep(5);
    await consoles.close('web');
    expect((await client().consoleHistory('web')).toString()).toBe('last-words');
    expect((await client().consoleHistory('web', 5)).toString()).toBe('words');
  });

  test.skipIf(!existsSync('/proc/self/fd'))(
    'sends what is kept at no more cost than a piece while nobody reads it, and lets go of its files with its reader',
    async () => {
      const bytes = 32 * 2 ** 20;
      writeFileSync(join(dir, 'console.log'), Buffer.alloc(bytes, 'x'));
      vi.spyOn(consoles, 'history').mockImplementation((_, most) =>
        new BoundedLog(join(dir, 'console.log'), 2 * bytes).pieces(most),
      );
      const files = (): number => readdirSync('/proc/self/fd').length;
      const before = [process.memoryUsage().external, files()] as const;
      const stuck = await Promise.all(
        Array.from({ length: 5 }, async () => {
          const socket = connect(join(dir, 'api'));
          sockets.push(socket);
          socket.write('GET /v1/vms/web/console/history HTTP/1.1\r\nhost: x\r\n\r\n');
          await once(socket, 'readable');
          return socket;
        }),
      );
      await sleep(300);
      expect(process.memoryUsage().external - before[0]).toBeLessThan(bytes / 4);
      for (const socket of stuck) socket.destroy();
      await until('the files', () => files() <= before[1] + 1);
      // Who takes it, however slowly he begins, gets it all.
      expect((await client().consoleHistory('web')).length).toBe(bytes);
    },
  );
});

describe('a flood with no reader', () => {
  test('is read at the bound, and its history is a few writes', async () => {
    guest('exec cat /dev/zero >con.out');
    const log = join(dir, 'console.log');
    const inodes = new Set<number>();
    let reads = 0;
    const started = Date.now();
    while (Date.now() - started < 1_000) {
      if (existsSync(log)) inodes.add(statSync(log).ino);
      reads++;
      await sleep(5);
    }
    const seconds = (Date.now() - started) / 1000;
    expect(reads).toBeGreaterThan(10);
    // Half of the log each time, at most 256 KiB a second.
    expect(inodes.size).toBeLessThanOrEqual(2 + (seconds * LIMITS.consoleLogLeastPerSecond) / (LOG_BYTES / 2));
    const kept = ['console.log', 'console.log.old'].reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
    expect(kept).toBeLessThanOrEqual(LOG_BYTES);
  });
});

/** The user whose sockets they are; root, as whom this runs, is another. */
const UID = 39_500;

describe('a socket of a console', () => {
  let access: Access | undefined = { who: 'user:ann', mayWrite: true };
  let refused: string[];
  const open = async (): Promise<ConsoleSockets> => {
    const all = new ConsoleSockets({
      ...{ dir: join(dir, 'consoles'), consoles, mayStill: () => access },
      refused: (uid, vm, error) => void refused.push(`${uid} ${vm} ${toErrorBody(error).code}`),
    });
    await all.restore();
    return all;
  };
  const join1 = (path: string): { socket: Socket; heard: () => string } => {
    const socket = connect(path);
    sockets.push(socket);
    return { socket, heard: hear(socket) };
  };

  beforeEach(() => {
    access = { who: 'user:ann', mayWrite: true };
    refused = [];
  });

  test.skipIf(process.getuid?.() !== 0)('is its user’s alone, in directories of root’s', async () => {
    const all = await open();
    const path = await all.open('web', UID);
    const [socket, own, top] = [path, join(path, '..'), join(path, '../..')].map((each) => statSync(each));
    expect([socket?.uid, (socket?.mode ?? 0) & 0o777]).toEqual([UID, 0o600]);
    for (const at of [own, top]) expect([at?.uid, (at?.mode ?? 0) & 0o777]).toEqual([0, 0o711]);
    expect(statSync(join(dir, 'consoles/open.json')).mode & 0o777).toBe(0o600);
    await all.close();
  });

  test.skipIf(process.getuid?.() !== 0)('carries bytes both ways, and is under the rules of one writer', async () => {
    const all = await open();
    const path = await all.open('web', UID);
    expect(await all.open('web', UID)).toBe(path);
    const first = join1(path);
    await until('the session', () => consoles.sessions().length === 1);
    const second = join1(path);
    await until('the note', () => second.heard().includes('user:ann writes; you read'));
    guest('head -c 2 con.in >con.out');
    second.socket.write('no');
    first.socket.write('ok');
    await until('the echo', () => first.heard() === 'ok' && second.heard().endsWith('ok'));
    expect(consoles.sessions().map(({ via, mode }) => [via, mode])).toEqual([
      ['socket', 'write'],
      ['socket', 'read'],
    ]);
    await all.close();
  });

  test.skipIf(process.getuid?.() !== 0)('gives a script that has nothing more to say its answer', async () => {
    const all = await open();
    const { socket, heard } = join1(await all.open('web', UID));
    guest('head -c 2 con.in >/dev/null; printf answer >con.out');
    socket.end('ls');
    await until('the answer', () => heard() === 'answer');
    await until('the end', () => consoles.sessions().length === 0);
    await all.close();
  });

  test.skipIf(process.getuid?.() !== 0)('lets nobody in who may not any more, and no crowd', async () => {
    const all = await open();
    const path = await all.open('web', UID);
    const crowd = Array.from({ length: LIMITS.consoleSocketConnections + 3 }, () => join1(path));
    await until('who is too many', () => crowd.filter(({ socket }) => socket.closed).length === 3);
    expect(refused.splice(0)).toEqual(Array(3).fill(`${UID} web api.busy`));
    access = undefined;
    const late = join1(path);
    await until('its end', () => late.socket.closed);
    expect(refused.splice(0)).toEqual([`${UID} web acl.denied`]);
    all.review();
    await until('everybody’s end', () => crowd.every(({ socket }) => socket.closed));
    expect(existsSync(path)).toBe(false);
    await expect(all.open('web', UID)).rejects.toMatchObject({ code: 'acl.denied' });
    await all.close();
  });

  test.skipIf(process.getuid?.() !== 0)('tells of whom the console itself refuses', async () => {
    const all = await open();
    const path = await all.open('web', UID);
    vi.spyOn(consoles, 'attach').mockRejectedValueOnce(new BrigError('api.busy', 'attach web: too many'));
    const { socket } = join1(path);
    await until('its end', () => socket.closed);
    expect(refused).toEqual([`${UID} web api.busy`]);
    await all.close();
  });

  test.skipIf(process.getuid?.() !== 0)('lets go who may do less, and not who never could', async () => {
    const all = await open();
    const path = await all.open('web', UID);
    const writer = join1(path);
    await until('the writer', () => consoles.sessions().length === 1);
    access = { who: 'user:ann', mayWrite: false };
    const reader = join1(path);
    await until('the reader', () => consoles.sessions().length === 2);
    all.review();
    await until('the writer’s end', () => writer.socket.closed);
    expect([reader.socket.closed, existsSync(path)]).toEqual([false, true]);
    access = { who: 'user:bob', mayWrite: true };
    all.review();
    await until('the end of another’s socket', () => reader.socket.closed && !existsSync(path));
    await all.close();
  });

  test.skipIf(process.getuid?.() !== 0)('is there again for the next brigd, where it still may be', async () => {
    const first = await open();
    const path = await first.open('web', UID);
    await first.close();
    await consoles.closeAll();
    expect(existsSync(path)).toBe(false);
    writeFileSync(join(dir, 'consoles', 'stale'), '');
    consoles = newConsoles();
    await consoles.open('web');
    const second = await open();
    expect(existsSync(path)).toBe(true);
    expect(readdirSync(join(dir, 'consoles')).sort()).toEqual([String(UID), 'open.json']);
    await second.close();
    access = undefined;
    const third = await open();
    expect(existsSync(path)).toBe(false);
    await third.close();
  });

  test.skipIf(process.getuid?.() !== 0)('goes with its VM', async () => {
    const all = await open();
    const path = await all.open('web', UID);
    const { socket } = join1(path);
    await until('the session', () => consoles.sessions().length === 1);
    await consoles.close('web');
    await until('the end', () => socket.closed && !existsSync(path));
    await expect(all.open('web', UID)).rejects.toMatchObject({ code: 'vm.blocked' });
    await all.close();
  });
});
