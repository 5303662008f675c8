import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { isIPv6, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Admitted } from '../acl/authenticator.ts';
import { StartUnknown } from '../acl/authenticator.ts';
import type { Principal } from '../acl/principal.ts';
import { START_HEADER, unauthenticated, type Head } from '../acl/signatures.ts';
import { signedBody } from '../api/body.ts';
import { endRefused } from '../api/upgrade.ts';
import { BrigError, toErrorBody } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { bind } from '../io/listen.ts';
import type { Finding } from '../platform/platform.ts';
import type { Certificate } from './certificate.ts';
import { SERVER } from './door.ts';

/** Who calls, and his request's body: read from here alone, it is the one that was signed. */
export interface Caller {
  readonly principal: Principal;
  /** Fails at its end with acl.denied when it is another than was signed. */
  readonly body: AsyncIterable<Buffer>;
}

/** What is behind a door. */
export interface Inside {
  handle(request: IncomingMessage, response: ServerResponse, caller: Caller): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, caller: Caller): void;
}

export interface RemoteDoorOptions {
  readonly address: string;
  readonly port: number;
  readonly certificate: Certificate;
  /** Who signed this. Errors: acl.denied, api.busy. */
  readonly admit: (head: Head, node: string, from: string) => Admitted;
  readonly inside: Inside;
  /** Told of each request that nobody signed. */
  readonly refused: (head: Head, from: string, error: unknown) => void;
  /** Those of LIMITS by default. */
  readonly bounds?: Partial<Bounds>;
}

interface Bounds {
  readonly connections: number;
  readonly perAddress: number;
  readonly handshakeMs: number;
  readonly headMs: number;
  readonly checkMs: number;
}

const BOUNDS: Bounds = {
  connections: LIMITS.remoteConnections,
  perAddress: LIMITS.remoteConnectionsPerAddress,
  handshakeMs: LIMITS.remoteHandshakeMs,
  headMs: LIMITS.headersTimeoutMs,
  checkMs: LIMITS.headersCheckMs,
};

/** An IPv4 peer of a socket for both families is an IPv4 peer. */
const addressOf = (socket: { readonly remoteAddress?: string | undefined }): string =>
  (socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '');

/** Whoever has a /64 has all its addresses. */
const blockOf = (address: string): string => {
  if (!isIPv6(address)) return address;
  const [before = '', after = ''] = (address.split('%')[0] ?? '').split('::');
  const [first, last] = [before, after].map((part) => (part === '' ? [] : part.split(':')));
  const zeros = Array.from({ length: Math.max(0, 8 - (first?.length ?? 0) - (last?.length ?? 0)) }, () => '0');
  return [...(first ?? []), ...zeros, ...(last ?? [])].slice(0, 4).join(':');
};

const statusOf = (error: unknown): number => {
  if (!(error instanceof BrigError)) return 500;
  return error.code === 'api.busy' ? 429 : 401;
};

/** Headers and text of a refusal, after which the connection ends. */
const refusalOf = (error: unknown): { status: number; headers: Record<string, string | number>; text: string } => {
  const text = `${JSON.stringify({ error: toErrorBody(error) })}\n`;
  const start = error instanceof StartUnknown ? { [START_HEADER]: error.start } : {};
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    connection: 'close',
  };
  return { status: statusOf(error), headers: { ...headers, ...start }, text };
};

/** Where clients from elsewhere come in: TLS, and nobody whose request no known key signed. */
export class RemoteDoor {
  readonly #o: RemoteDoorOptions;
  readonly #bounds: Bounds;
  readonly #server: Server;
  /** Connections by the address that they come from. */
  readonly #addresses = new Map<string, number>();
  /** Connections by who sent a request on them. */
  readonly #callers = new Map<string, Set<Duplex>>();

  constructor(options: RemoteDoorOptions) {
    this.#o = options;
    this.#bounds = { ...BOUNDS, ...options.bounds };
    const { certificate } = options;
    this.#server = createServer({
      ...{ cert: certificate.cert, key: certificate.key, minVersion: 'TLSv1.2', honorCipherOrder: true },
      ...{ ...SERVER, handshakeTimeout: this.#bounds.handshakeMs, keepAliveTimeout: LIMITS.remoteIdleMs },
      ...{ headersTimeout: this.#bounds.headMs, connectionsCheckingInterval: this.#bounds.checkMs },
      ...{ insecureHTTPParser: false, requireHostHeader: true },
      ...{ keepAlive: true, keepAliveInitialDelay: LIMITS.remoteProbeMs },
    });
    this.#server.maxConnections = this.#bounds.connections;
    this.#server.on('connection', (socket: Socket) => this.#count(socket));
    this.#server.on('request', (request, response) => this.#request(request, response));
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  async open(): Promise<void> {
    await bind(this.#server, { host: this.#o.address, port: this.#o.port });
  }

  /** Of its certificate: sha256. */
  get fingerprint(): string {
    return this.#o.certificate.fingerprint;
  }

  /** The port that it listens on. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : this.#o.port;
  }

  get connections(): number {
    return [...this.#addresses.values()].reduce((sum, count) => sum + count, 0);
  }

  /** For doctor. */
  finding(nowMs: number): Finding {
    const { address, certificate } = this.#o;
    const days = Math.floor((certificate.endsMs - nowMs) / 86_400_000);
    const got = `${address} port ${this.port}, certificate sha256 ${certificate.fingerprint}, good for ${days} days`;
    const what = 'requests from elsewhere';
    if (days >= 14) return { level: 'ok', what, got };
    return {
      level: days < 0 ? 'problem' : 'warning',
      what,
      got,
      mend: 'a new certificate, then service brigd restart',
    };
  }

  /** All that a principal has open ends now. */
  drop(principalId: string): void {
    for (const socket of this.#callers.get(principalId) ?? []) socket.destroy();
  }

  /** Nobody new comes in. */
  close(): void {
    this.#server.close();
  }

  end(): void {
    this.#server.closeAllConnections();
    for (const sockets of this.#callers.values()) for (const socket of sockets) socket.destroy();
  }

  #count(socket: Socket): void {
    const block = blockOf(addressOf(socket));
    const count = (this.#addresses.get(block) ?? 0) + 1;
    this.#addresses.set(block, count);
    socket.once('close', () => {
      const left = (this.#addresses.get(block) ?? 1) - 1;
      if (left === 0) this.#addresses.delete(block);
      else this.#addresses.set(block, left);
    });
    if (count > this.#bounds.perAddress) socket.destroy();
  }

  #admit(request: IncomingMessage, socket: Duplex): Caller {
    const { method = '', url = '', rawHeaders, httpVersion } = request;
    const head: Head = { method, target: url, rawHeaders };
    const from = addressOf(request.socket);
    try {
      if (httpVersion !== '1.1') throw unauthenticated('expected HTTP/1.1, got another version');
      const { principal, digest } = this.#o.admit(head, this.#o.certificate.fingerprint, from);
      this.#remember(principal.id, socket);
      return { principal, body: digest === undefined ? request : signedBody(request, digest) };
    } catch (error) {
      this.#o.refused(head, from, error);
      throw error;
    }
  }

  #remember(principalId: string, socket: Duplex): void {
    const sockets = this.#callers.get(principalId) ?? new Set<Duplex>();
    if (sockets.has(socket)) return;
    this.#callers.set(principalId, sockets.add(socket));
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0 && this.#callers.get(principalId) === sockets) this.#callers.delete(principalId);
    });
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    let caller: Caller;
    try {
      caller = this.#admit(request, request.socket);
    } catch (error) {
      const { status, headers, text } = refusalOf(error);
      response.writeHead(status, headers);
      response.end(text);
      return;
    }
    this.#o.inside.handle(request, response, caller);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    let caller: Caller;
    try {
      caller = this.#admit(request, socket);
    } catch (error) {
      const { status, headers, text } = refusalOf(error);
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      endRefused(socket, `HTTP/1.1 ${status} Refused\r\n${lines.join('')}\r\n${text}`);
      return;
    }
    this.#o.inside.upgrade(request, socket, head, caller);
  }
}
