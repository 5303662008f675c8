import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ROOT } from '../../../src/acl/principal.ts';
import { sendJson } from '../../../src/api/answer.ts';
import { LIMITS } from '../../../src/base/limits.ts';
import { Door } from '../../../src/daemon/door.ts';
import { exchange } from '../../fuzz/wire.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-door-'));
const path = join(dir, 'sock');
/** Whoever is told of something: what came in by the API, or what was refused before it. */
const told: string[] = [];
let door: Door;

const open = async (connections?: number): Promise<void> => {
  door = new Door({
    api: {
      handle: (request, response) => {
        told.push(`request ${request.method} ${request.url}`);
        sendJson(response, 200, {});
      },
      upgrade: (request, socket) => {
        told.push(`upgrade ${request.method} ${request.url}`);
        socket.end('HTTP/1.1 404 Refused\r\ncontent-length: 0\r\n\r\n');
      },
    },
    ...{ path, uid: process.getuid?.() ?? 0, who: () => ROOT },
    ...(connections === undefined ? {} : { connections }),
    refused: (who, error) => void told.push(`refused ${who.id} ${error.code}: ${error.message}`),
  });
  await door.open();
};

beforeEach(() => void (told.length = 0));
afterEach(async () => {
  await door.end();
  rmSync(path, { force: true });
});

const GET = 'GET /v1/vms HTTP/1.1\r\nHost: x\r\n';

test.each([
  ['no words of HTTP', 'hello\r\n\r\n', 400, /^refused root api.invalid: .*expected HTTP\/1.1/],
  ['an unknown method', 'STEAL /v1/vms HTTP/1.1\r\nHost: x\r\n\r\n', 400, /^refused/],
  ['no host', 'GET /v1/vms HTTP/1.1\r\n\r\n', 400, /^refused root api.invalid: .*expected a Host, got none/],
  ['two lengths', `${GET}Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello`, 400, /^refused/],
  ['a length and chunks', `${GET}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400, /^refused/],
  ['a header without an end', `${GET}X: y`, 400, /^refused/],
  ['headers without measure', `${GET}X: ${'y'.repeat(LIMITS.headerBytes)}\r\n\r\n`, 431, /^refused .*bytes of headers/],
  ['a proxy’s method', 'CONNECT other:443 HTTP/1.1\r\nHost: x\r\n\r\n', 404, /^upgrade CONNECT/],
  ['an expectation', `${GET}Expect: wonders\r\nConnection: close\r\n\r\n`, 200, /^request GET/],
  ['the version without a host', 'GET /v1/vms HTTP/1.0\r\n\r\n', 200, /^request GET/],
])('a request with %s is answered, and somebody is told of it once', async (_, text, status, expected) => {
  await open();
  const answer = await exchange(path, Buffer.from(text), true);
  expect([answer.status, told]).toEqual([status, [expect.stringMatching(expected)]]);
  if (status >= 400 && status !== 404)
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'api.invalid' } });
});

test('what follows a request that is being answered is told without what it says, and not answered into it', async () => {
  await open();
  const answer = await exchange(path, Buffer.from(`${GET}\r\npassword=secret\r\n\r\n`), true);
  expect(answer.status).toBe(200);
  expect(told.join()).not.toContain('secret');
  expect(told).toEqual(['request GET /v1/vms', expect.stringMatching(/^refused root api.invalid/)]);
});

test('who sends on without an answer is let go, whatever it is', async () => {
  await open();
  for (const text of [`${GET}\r\n`, 'GET /v1/vms HTTP/1.1\r\n\r\n']) {
    told.length = 0;
    await exchange(path, Buffer.from(text.repeat(3_000)), true);
    expect(told.length).toBeLessThanOrEqual(LIMITS.requestsPipelined);
  }
});

const again = (): Promise<boolean> =>
  new Promise((resolve) => {
    const socket: Socket = connect({ path }, () => socket.end());
    socket
      .on('error', () => resolve(false))
      .on('close', (isError) => isError || resolve(true))
      .resume();
  });

test('who connects without end and asks nothing is not heard for a while, and that is told once', async () => {
  await open(LIMITS.connectionsPerUser);
  let count = 0;
  while (await again()) if (++count > 10 * LIMITS.connectionsBurst) break;
  expect(count).toBeGreaterThanOrEqual(LIMITS.connectionsBurst);
  expect(count).toBeLessThan(10 * LIMITS.connectionsBurst);
  expect(told).toEqual([expect.stringMatching(/^refused root api.busy: not heard/)]);
  await expect.poll(again, { timeout: 3 * LIMITS.deafMs }).toBe(true);
});
