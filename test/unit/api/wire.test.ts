import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Client } from '../../../src/api/client.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

let dir: string;
let server: Server;
let handlers: Handler[];
const keys: unknown[] = [];

/** A brigd that answers one request after the other as a test says. */
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'brig-wire-'));
  keys.length = 0;
  server = createServer((request, response) => {
    keys.push(request.headers['idempotency-key']);
    const handler = handlers.shift();
    if (handler) handler(request, response);
    else request.socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'sock'), resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

const client = (): Client => new Client(join(dir, 'sock'));
const dropped: Handler = ({ socket }) => socket.destroy();
const cut: Handler = (_, response) => {
  response.write('{"type":"begin","id":"one"}\n', () => response.destroy());
};
const done: Handler = (_, response) => response.end('{"type":"result","result":{"changed":true}}\n');
const failed: Handler = (_, response) =>
  response.end('{"type":"error","error":{"code":"vm.blocked","message":"no"}}\n');

test.each([
  ['before its answer began', dropped],
  ['in the middle of its answer', cut],
])('a start that broke %s is asked for once more, under the same key', async (_, broken) => {
  handlers = [broken, done];
  expect(await client().operate('start', 'web')).toEqual({ changed: true });
  expect(keys.length).toBe(2);
  expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
  expect(keys[1]).toBe(keys[0]);
});

test('once more is once: then it is told as it is', async () => {
  handlers = [cut, cut, done];
  await expect(client().operate('stop', 'web')).rejects.toMatchObject({ code: 'daemon.unreachable' });
  expect(keys.length).toBe(2);
});

test('what brigd says the second time is what is told', async () => {
  handlers = [cut, failed];
  await expect(client().operate('start', 'web')).rejects.toMatchObject({ code: 'vm.blocked' });
});

test('what would be there twice is not asked for again', async () => {
  const changes: (() => Promise<unknown>)[] = [
    () => client().operate('restart', 'web'),
    () => client().create({ name: 'web' }),
    () => client().snapshot('web'),
    () => client().destroy('web', false),
    () => client().resize('web', 0, 1),
    () => client().editNetwork('lan', {}),
  ];
  for (const change of changes) {
    keys.length = 0;
    handlers = [cut, done];
    await expect(change()).rejects.toMatchObject({ code: 'daemon.unreachable' });
    expect(keys.length).toBe(1);
  }
});

test('what brigd refuses is not asked for again', async () => {
  handlers = [failed, done];
  await expect(client().operate('start', 'web')).rejects.toMatchObject({ code: 'vm.blocked' });
  expect(keys.length).toBe(1);
});

test('two changes have two keys, and what is only read has none', async () => {
  handlers = [done, done, (_, response) => response.end('[]')];
  await client().operate('start', 'web');
  await client().operate('start', 'web');
  await client().list();
  expect(new Set(keys).size).toBe(3);
  expect(keys[2]).toBeUndefined();
});

test('a node where no brigd is is told at once', async () => {
  await expect(new Client(join(dir, 'none')).operate('start', 'web')).rejects.toMatchObject({
    code: 'daemon.unreachable',
    hint: 'service brigd start, or brigd in the foreground',
  });
});

/** Rows that came, and how it ended. */
const read = async (rows: AsyncIterable<{ seq: number }>): Promise<{ seqs: number[]; error?: unknown }> => {
  const seqs: number[] = [];
  try {
    for await (const { seq } of rows) seqs.push(seq);
    return { seqs };
  } catch (error) {
    return { seqs, error };
  }
};

describe.each([
  ['events', () => client().events({})],
  ['the audit log', () => client().auditLog({})],
])('a list of %s', (_, rows) => {
  test('ends with its answer', async () => {
    handlers = [(_request, response) => response.end('{"seq":1}\n{"seq":2}\n')];
    expect(await read(rows())).toEqual({ seqs: [1, 2] });
  });

  test('that is cut off is no success', async () => {
    handlers = [(_request, response) => void response.write('{"seq":1}\n{"se', () => response.destroy())];
    expect(await read(rows())).toMatchObject({ seqs: [1], error: { code: 'daemon.unreachable' } });
  });

  test('that brigd refuses is its error, and no row', async () => {
    handlers = [
      (_request, response) => response.writeHead(403).end('{"error":{"code":"acl.denied","message":"no"}}\n'),
    ];
    expect(await read(rows())).toMatchObject({ seqs: [], error: { code: 'acl.denied', message: 'no' } });
  });
});
