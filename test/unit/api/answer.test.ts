import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { sendPieces, sendText } from '../../../src/api/answer.ts';
import { sendDisk } from '../../../src/api/images.ts';
import { IMAGE, LIMITS } from '../../../src/base/limits.ts';
import type { Piece } from '../../../src/platform/images.ts';

let dir: string;
let server: Server;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-answer-'));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true });
});

/** An answer, and a client of it that has read its head and nothing more. */
const ask = async (
  answer: (response: ServerResponse) => unknown,
): Promise<{ client: IncomingMessage; response: ServerResponse; done: Promise<unknown> }> => {
  const asked = Promise.withResolvers<[ServerResponse, Promise<unknown>]>();
  server = createServer((_, response) => asked.resolve([response, Promise.resolve(answer(response))]));
  await new Promise<void>((resolve) => server.listen(join(dir, 'api'), resolve));
  const [client] = (await once(get({ socketPath: join(dir, 'api'), path: '/' }), 'response')) as [IncomingMessage];
  client.on('error', () => undefined);
  const [response, done] = await asked.promise;
  return { client, response, done };
};

/** Until both sides have done what they can. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await turn();
};

const BODY = Buffer.alloc(20 * LIMITS.answerPieceBytes, 'x');
const pieces = function* (): Generator<Buffer> {
  for (let i = 0; i < 20; i++) yield BODY.subarray(0, LIMITS.answerPieceBytes);
};

test.each([
  ['a text', (response: ServerResponse) => sendText(response, 200, BODY, 'text/plain')],
  ['pieces', (response: ServerResponse) => sendPieces(response, pieces())],
])(
  'an answer of %s is for whoever goes on reading it, however long that takes, and for nobody else',
  async (_, send) => {
    const { client, response } = await ask(send);
    let bytes = 0;
    for (; bytes < BODY.length / 2; await settle()) {
      for (let more = LIMITS.answerPieceBytes; more > 0;) {
        const chunk = client.read() as Buffer | null;
        bytes += chunk?.length ?? 0;
        more -= chunk?.length ?? 0;
        if (chunk === null) await turn();
      }
      await settle();
      vi.advanceTimersByTime(0.8 * LIMITS.answerTimeoutMs);
    }
    expect(response.destroyed).toBe(false);
    vi.advanceTimersByTime(LIMITS.answerTimeoutMs);
    expect(response.destroyed).toBe(true);
  },
);

test('an answer whose pieces end in an error has no end that looks like one', async () => {
  const { client, done } = await ask((response) =>
    sendPieces(
      response,
      (async function* () {
        yield Buffer.from('half');
        await settle();
        throw new Error('no disk');
      })(),
    ).catch((error: unknown) => String(error)),
  );
  await new Promise((resolve) => client.resume().on('close', resolve));
  expect([client.complete, await done]).toEqual([false, 'Error: no disk']);
});

test('a disk whose client leaves while its last piece is on its way is over', async () => {
  const { client, response, done } = await ask((response) =>
    sendDisk(
      (async function* (): AsyncGenerator<Piece> {
        yield { data: Buffer.alloc(IMAGE.chunkBytes) };
        await turn();
      })(),
      response,
    ),
  );
  await settle();
  expect(response.writableNeedDrain).toBe(true);
  client.destroy();
  vi.useRealTimers();
  await done;
  expect(response.closed).toBe(true);
});
