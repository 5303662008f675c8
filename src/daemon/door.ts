import { existsSync } from 'node:fs';
import { chown, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Principal } from '../acl/principal.ts';
import type { Api } from '../api/server.ts';
import { LIMITS } from '../base/limits.ts';
import { bind } from '../io/listen.ts';

export type DoorApi = Pick<Api<unknown>, 'handle' | 'upgrade'>;

export interface DoorOptions {
  readonly api: DoorApi;
  readonly path: string;
  /** Whose socket it is: the kernel lets nobody else connect, root aside. */
  readonly uid: number;
  /** Who comes in here, as he is now; undefined: nobody any more. */
  readonly who: () => Principal | undefined;
  readonly connections?: number;
}

/** Half a request holds its connection for a moment only; an operation, a console or a stream lasts as long as it lasts. */
export const SERVER = {
  maxHeaderSize: LIMITS.headerBytes,
  headersTimeout: LIMITS.headersTimeoutMs,
  requestTimeout: 0,
  keepAliveTimeout: LIMITS.keepAliveMs,
  connectionsCheckingInterval: LIMITS.headersCheckMs,
} as const;

/** Of this process: two who are hung up on at once must not leave it at none. */
const STACK_LIMIT = Error.stackTraceLimit;

/**
 * Hangs up on everybody here. node:http makes an error for each request that it has read, hundreds in one piece, and
 * their stacks would cost more than all the rest.
 */
const hangUp = (server: Server): void => {
  Error.stackTraceLimit = 0;
  server.closeAllConnections();
  // Their ends are told after what is under way now.
  setImmediate(() => (Error.stackTraceLimit = STACK_LIMIT));
};

/** Where one user's clients come in. The state directory's lock is held by then, so a socket that is there is a dead brigd's. */
export class Door {
  readonly #o: DoorOptions;
  readonly #servers = new Set<Server>();
  /** It shall be listened at. */
  #isOpen = false;
  #isDeaf = false;
  /** Consoles and screens among them, which are no connections of HTTP any more. */
  readonly #inside = new Set<Socket>();

  constructor(options: DoorOptions) {
    this.#o = options;
  }

  /** Somebody removed a socket that nobody can connect to any more. */
  get isLost(): boolean {
    return this.#isOpen && !this.#isDeaf && !existsSync(this.#o.path);
  }

  #serve(): Server {
    const { api, who, connections } = this.#o;
    /** Of each connection, as long as they have no answer. */
    const waiting = new WeakMap<Socket, number>();
    const server = createServer(SERVER, (request, response) => {
      const { socket } = request;
      const ahead = waiting.get(socket) ?? 0;
      if (socket.destroyed) return;
      // Nobody sends so many by mistake.
      if (ahead >= LIMITS.requestsPipelined && connections !== undefined) return this.#deafen(server);
      waiting.set(socket, ahead + 1);
      response.once('close', () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
      const principal = who();
      if (principal) api.handle(request, response, principal);
      else request.socket.destroy();
    });
    server.on('upgrade', (request, socket, head) => {
      const principal = who();
      if (principal) api.upgrade(request, socket, head, principal);
      else socket.destroy();
    });
    server.on('connection', (socket) => {
      this.#inside.add(socket);
      socket.once('close', () => this.#inside.delete(socket));
    });
    if (connections !== undefined) {
      server.maxConnections = connections;
      let dropped = 0;
      server.on('drop', () => ++dropped > LIMITS.connectionsDropped && this.#deafen(server));
    }
    return server;
  }

  /** Nobody listens for a while: the kernel refuses who comes, at no cost of brigd's. Consoles and screens go on. */
  #deafen(server: Server): void {
    if (this.#isDeaf) return;
    this.#isDeaf = true;
    for (const each of this.#servers) each.close();
    hangUp(server);
    setTimeout(() => {
      this.#isDeaf = false;
      // Who does not come up is lost, and made anew by the next pass.
      if (this.#isOpen) this.open().catch(() => undefined);
    }, LIMITS.deafMs).unref();
  }

  /** Again when it was lost: who is inside stays. */
  async open(): Promise<void> {
    const { path, uid } = this.#o;
    this.#isOpen = true;
    for (const each of this.#servers) each.close(() => this.#servers.delete(each));
    const server = this.#serve();
    await unlink(path).catch(() => undefined);
    await bind(server, { path, backlog: LIMITS.connectionsQueued });
    this.#servers.add(server);
    if (uid !== process.getuid?.()) await chown(path, uid, 0);
  }

  /** Nobody new comes in. */
  close(): void {
    this.#isOpen = false;
    for (const each of this.#servers) each.close();
  }

  /** Whoever is inside goes, too. */
  async end(): Promise<void> {
    this.close();
    for (const socket of this.#inside) socket.destroy();
    await unlink(this.#o.path).catch(() => undefined);
  }
}
