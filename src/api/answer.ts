import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { BrigError, toErrorBody } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { httpStatus } from './protocol.ts';

/** Once it is over; at once when its client was gone before. */
export const onClosed = (stream: ServerResponse | Duplex, work: () => void): void => {
  if (stream.closed || stream.destroyed) work();
  else stream.once('close', work);
};

/** Whoever does not read what he asked for is let go: an answer is not kept for ever. */
const bound = (response: ServerResponse): void => {
  if (response.writableLength === 0) return;
  const timer = setTimeout(() => response.destroy(), LIMITS.answerTimeoutMs).unref();
  response.once('close', () => clearTimeout(timer));
};

export const sendText = (
  response: ServerResponse,
  status: number,
  body: Buffer | string,
  type = 'application/json',
): void => {
  const text = typeof body === 'string' ? Buffer.from(body) : body;
  response.writeHead(status, { 'content-type': type, 'content-length': text.length });
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
  if (!response.req.complete) {
    // What is still to come is not read: its sender has some time to hear why.
    response.setHeader('connection', 'close');
    response.once('finish', () => setTimeout(() => response.req.destroy(), LINGER_MS).unref());
  }
  sendJson(response, httpStatus(body), { error: body });
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

const tooLate = (): BrigError =>
  new BrigError('api.invalid', `read request: expected its body within ${LIMITS.bodyTimeoutMs / 1000} s, got less`);

/** The bytes of a body; what is too much stays unread. Errors: api.invalid for one that is too large, or does not come. */
const readBytes = async (source: AsyncIterable<Buffer>, request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(() => request.destroy(tooLate()), LIMITS.bodyTimeoutMs).unref();
  try {
    // Without the end that for-of makes of a stream: whoever sent too much is still to be told.
    const iterator = source[Symbol.asyncIterator]();
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      bytes += next.value.length;
      if (bytes > LIMITS.requestBytes)
        throw new BrigError('api.invalid', `read request: expected at most ${LIMITS.requestBytes} bytes, got more`);
      chunks.push(next.value);
    }
  } catch (error) {
    if (error instanceof BrigError) throw error;
    throw new BrigError('api.invalid', 'read request: expected its body, got the end of its connection', {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
};

/** Of lists and objects in each other: documents have some six. */
const DEPTH = 64;

/** Whether brackets nest deeper than any document's: what recurses over it would not come back. */
const isDeep = (text: string): boolean => {
  let [depth, isText] = [0, false];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') isText = !isText;
    else if (isText && char === '\\') i++;
    else if (!isText && (char === '[' || char === '{') && ++depth > DEPTH) return true;
    else if (!isText && (char === ']' || char === '}')) depth--;
  }
  return false;
};

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Reads a body once, however often it is asked for. Errors: api.invalid. */
export const bodyReader = (
  source: AsyncIterable<Buffer>,
  request: IncomingMessage,
): { bytes: () => Promise<Buffer>; body: () => Promise<unknown> } => {
  let bytes: Promise<Buffer> | undefined;
  const read = (): Promise<Buffer> => (bytes ??= readBytes(source, request));
  return {
    bytes: read,
    body: async () => {
      const all = await read();
      try {
        const text = UTF8.decode(all);
        if (!isDeep(text)) return JSON.parse(text) as unknown;
      } catch {
        throw new BrigError('api.invalid', 'read request: expected JSON, got something else');
      }
      throw new BrigError('api.invalid', `read request: expected JSON of at most ${DEPTH} levels, got more`);
    },
  };
};
