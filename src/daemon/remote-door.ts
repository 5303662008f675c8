import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Admitted } from '../acl/authenticator.ts';
import { StartUnknown } from '../acl/authenticator.ts';
import type { Principal } from '../acl/principal.ts';
import { START_HEADER, unauthenticated, type Head } from '../acl/signatures.ts';
import { sendError } from '../api/answer.ts';
import { signedBody } from '../api/body.ts';
import { refuseOn } from '../api/upgrade.ts';
import { LIMITS } from '../base/limits.ts';
import { bind } from '../io/listen.ts';
import type { Finding } from '../platform/platform.ts';
import { Addresses, addressOf } from './addresses.ts';
import type { Certificate } from './certificate.ts';
import { serve, SERVER } from './http.ts';
import type { Refused } from './refusals.ts';

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
  /** Told of each request that nobody signed, and of what is none. */
  readonly refused: (who: Refused, error: unknown, what?: string) => void;
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

/** For who does not know which brigd he speaks to. */
const headersOf = (error: unknown): Record<string, string> =>
  error instanceof StartUnknown ? { [START_HEADER]: error.start } : {};

/** Where clients from elsewhere come in: TLS, and nobody whose request no known key signed. */
export class RemoteDoor {
  readonly #o: RemoteDoorOptions;
  readonly #bounds: Bounds;
  readonly #server: Server;
  readonly #addresses: Addresses;
  /** Connections by who sent a request on them. */
  readonly #callers = new Map<string, Set<Duplex>>();

  constructor(options: RemoteDoorOptions) {
    this.#o = options;
    this.#bounds = { ...BOUNDS, ...options.bounds };
    this.#addresses = new Addresses(this.#bounds.perAddress);
    const { certificate } = options;
    this.#server = createServer({
      ...{ cert: certificate.cert, key: certificate.key, minVersion: 'TLSv1.2', honorCipherOrder: true },
      ...{ ...SERVER, handshakeTimeout: this.#bounds.handshakeMs, keepAliveTimeout: LIMITS.remoteIdleMs },
      ...{ headersTimeout: this.#bounds.headMs, connectionsCheckingInterval: this.#bounds.checkMs },
      ...{ keepAlive: true, keepAliveInitialDelay: LIMITS.remoteProbeMs },
    });
    this.#server.maxConnections = this.#bounds.connections;
    this.#server.on('connection', (socket: Socket) => this.#addresses.enter(socket) || socket.destroy());
    serve(this.#server, {
      pipelined: (socket) => socket.destroy(),
      request: (request, response) => this.#request(request, response),
      upgrade: (request, socket, head) => this.#upgrade(request, socket, head),
      unreadable: (socket, error) => this.#o.refused({ id: 'nobody', from: addressOf(socket) }, error),
    });
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
    return this.#addresses.open;
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
      this.#o.refused({ id: 'nobody', from }, error, `${method} ${url}`);
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
      for (const [name, value] of Object.entries(headersOf(error))) response.setHeader(name, value);
      response.setHeader('connection', 'close');
      return sendError(response, error);
    }
    this.#o.inside.handle(request, response, caller);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    let caller: Caller;
    try {
      caller = this.#admit(request, socket);
    } catch (error) {
      return refuseOn(socket, error, { headers: headersOf(error) });
    }
    this.#o.inside.upgrade(request, socket, head, caller);
  }
}
