import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { sendError } from '../api/answer.ts';
import { refuseOn } from '../api/upgrade.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/** Half a request holds its connection for a moment only; an operation, a console or a stream lasts as long as it lasts. */
export const SERVER = {
  maxHeaderSize: LIMITS.headerBytes,
  headersTimeout: LIMITS.headersTimeoutMs,
  requestTimeout: 0,
  keepAliveTimeout: LIMITS.keepAliveMs,
  connectionsCheckingInterval: LIMITS.headersCheckMs,
  // Checked here, or node:http would answer and tell nobody.
  requireHostHeader: false,
} as const;

/** Who is behind a server. */
export interface Comers {
  request(request: IncomingMessage, response: ServerResponse): void;
  /** He does not wait for answers: what else he sent is dropped with his connection. */
  pipelined(socket: Socket): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** What came was no request: it is answered, and this is told of it. */
  unreadable(socket: Socket, error: BrigError): void;
}

const unreadable = (expected: string): BrigError => new BrigError('api.invalid', `read request: expected ${expected}`);

/** Status and what was expected, by the codes of node:http and its parser. */
const EXPECTED: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, `its headers within ${LIMITS.headersTimeoutMs / 1_000} s, got less`],
  HPE_HEADER_OVERFLOW: [431, `at most ${LIMITS.headerBytes} bytes of headers, got more`],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'chunks without extensions, got many'],
};

/** Nothing was asked: its client is gone. */
const isGone = ({ code }: NodeJS.ErrnoException): boolean => /^(ECONN|EPIPE|ERR_SSL|ERR_STREAM)/.test(code ?? '');

/** Whatever comes in at a server, so that nothing is answered that nobody is told of. */
export const serve = (server: Server, comers: Comers): void => {
  const waiting = new WeakMap<Socket, number>();
  const last = new WeakMap<Socket, ServerResponse>();
  const request = (asked: IncomingMessage, response: ServerResponse): void => {
    const { socket } = asked;
    const ahead = waiting.get(socket) ?? 0;
    if (socket.destroyed) return;
    // Nobody sends so many by mistake.
    if (ahead >= LIMITS.requestsPipelined) return comers.pipelined(socket);
    waiting.set(socket, ahead + 1);
    last.set(socket, response);
    response.once('close', () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
    if (asked.headers.host !== undefined || asked.httpVersion !== '1.1') return comers.request(asked, response);
    const error = unreadable('a Host, got none');
    comers.unreadable(socket, error);
    response.setHeader('connection', 'close');
    sendError(response, error);
  };
  server.on('request', request);
  // An expectation that nobody here knows is none. Source: RFC 9110, 10.1.1.
  server.on('checkExpectation', request);
  const upgrade = (asked: IncomingMessage, socket: Duplex, head: Buffer): void => comers.upgrade(asked, socket, head);
  server.on('upgrade', upgrade);
  server.on('connect', upgrade);
  server.on('clientError', (cause: NodeJS.ErrnoException, socket: Socket) => {
    if (isGone(cause)) return void socket.destroy();
    const [status, expected] = EXPECTED[cause.code ?? ''] ?? [400, `HTTP/1.1, got something else (${cause.code})`];
    const error = unreadable(expected);
    const before = last.get(socket);
    // Of the body of a request that was told of already, or something of its own; in the log without what came.
    const isBody = before?.req.complete === false;
    if (!isBody) comers.unreadable(socket, error);
    // Nothing is written into an answer that is under way, nor is anything answered twice.
    const isFree = isBody ? !before.headersSent : (waiting.get(socket) ?? 0) === 0;
    if (socket.writable && isFree) refuseOn(socket, error, { status });
    else socket.destroy();
  });
};
