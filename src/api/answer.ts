import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { toErrorBody } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { httpStatus } from './protocol.ts';

/** Once it is over; at once when its client was gone before. */
export const onClosed = (stream: ServerResponse | Duplex, work: () => void): void => {
  if (stream.closed || stream.destroyed) work();
  else stream.once('close', work);
};

/** Resolves when there is room for more, or its reader is gone: who was gone before says so no more. */
export const write = (response: ServerResponse, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    if (response.closed || response.write(bytes)) return resolve();
    const go = (): void => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });

/** Whoever does not read what he asked for is let go: an answer is not kept for ever. */
const bound = (response: ServerResponse): void => {
  if (response.writableLength === 0) return;
  const timer = setTimeout(() => response.destroy(), LIMITS.answerTimeoutMs).unref();
  response.once('close', () => clearTimeout(timer));
};

/** A body piece by piece, each with time of its own: a slow reader is no stuck one. Errors: those of the pieces. */
export const sendPieces = async (
  response: ServerResponse,
  pieces: AsyncIterable<Buffer, unknown> | Iterable<Buffer, unknown>,
): Promise<void> => {
  try {
    for await (const piece of pieces) {
      const timer = setTimeout(() => response.destroy(), LIMITS.answerTimeoutMs).unref();
      await write(response, piece);
      clearTimeout(timer);
      if (response.closed) return;
    }
  } catch (error) {
    // What is missing is not taken for the end.
    response.destroy();
    throw error;
  }
  response.end();
  bound(response);
};

const piecesOf = function* (bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += LIMITS.answerPieceBytes)
    yield bytes.subarray(at, at + LIMITS.answerPieceBytes);
};

export const sendText = (
  response: ServerResponse,
  status: number,
  body: Buffer | string,
  type = 'application/json',
): void => {
  const text = typeof body === 'string' ? Buffer.from(body) : body;
  response.writeHead(status, { 'content-type': type, 'content-length': text.length });
  if (text.length > LIMITS.answerPieceBytes) return void sendPieces(response, piecesOf(text));
  response.end(text);
  bound(response);
};

export const sendJson = (response: ServerResponse, status: number, body: unknown): void =>
  sendText(response, status, `${JSON.stringify(body)}\n`);

const LINGER_MS = 500;

/** An error as its answer; nothing more is read from who sent it. */
export const sendError = (response: ServerResponse, error: unknown): void => {
  const body = toErrorBody(error);
  if (body.code === 'api.busy') response.setHeader('retry-after', '1');
  response.once('finish', () => letGo(response.req));
  sendJson(response, httpStatus(body), { error: body });
};

/** What is still to come of a body is not read, for it may have no end: its sender has some time to hear why. */
const letGo = (request: IncomingMessage): void => {
  if (request.complete) return;
  request.socket.pause();
  setTimeout(() => request.destroy(), LINGER_MS).unref();
};

/** Lines for as long as somebody reads them; who lags behind too far is let go. */
export const lineWriter = (response: ServerResponse, type = 'application/x-ndjson') => ({
  /** With nothing to say yet, too. */
  begin: (): void => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' });
  },
  send: (text: string): void => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' });
    if (response.writableLength > LIMITS.streamLagBytes) response.destroy();
    else response.write(text);
  },
});

/** Resolves when what was written is on its way, or its reader is gone. */
export const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    if (response.writableLength < LIMITS.streamLagBytes / 2 || response.destroyed) return resolve();
    const go = (): void => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
