import { existsSync } from 'node:fs';
import { chown, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Principal } from '../acl/principal.ts';
import type { Api } from '../api/server.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { Pace } from '../engine/pace.ts';
import { bind } from '../io/listen.ts';
import { serve, SERVER } from './http.ts';
import { NOBODY, type Refused } from './refusals.ts';

export type DoorApi = Pick<Api<unknown>, 'handle' | 'upgrade'>;

export interface DoorOptions {
  readonly api: DoorApi;
  readonly path: string;
  /** Whose socket it is: the kernel lets nobody else connect, root aside. */
  readonly uid: number;
  /** Who comes in here, as he is now; undefined: nobody any more. */
  readonly who: () => Principal | undefined;
  readonly connections?: number;
  /** Told of what is refused before anybody asks what it is. */
  readonly refused: (who: Refused, error: BrigError) => void;
}

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
    const { api, connections } = this.#o;
    const server = createServer(SERVER);
    serve(server, {
      pipelined: (socket) => (connections === undefined ? socket.destroy() : this.#deafen(server)),
      request: (request, response) => {
        const principal = this.#admit(request.socket);
        if (principal) api.handle(request, response, principal);
      },
      upgrade: (request, socket, head) => {
        const principal = this.#admit(socket);
        if (principal) api.upgrade(request, socket, head, principal);
      },
      unreadable: (_, error) => this.#refuse(error),
    });
    server.on('connection', (socket) => {
      this.#inside.add(socket);
      socket.once('close', () => this.#inside.delete(socket));
    });
    if (connections !== undefined) this.#bound(server, connections);
    return server;
  }

  /** So many at once, and no more of them in a row than anybody needs. */
  #bound(server: Server, connections: number): void {
    const now = (): number => performance.now();
    const pace = new Pace(LIMITS.connectionsPerSecond, LIMITS.connectionsBurst, now());
    const count = (): void => {
      if (!pace.take(1, now())) this.#deafen(server);
    };
    server.maxConnections = connections;
    server.on('connection', count).on('drop', count);
  }

  #refuse(error: BrigError): void {
    this.#o.refused(this.#o.who() ?? NOBODY, error);
  }

  #admit(socket: Duplex): Principal | undefined {
    const principal = this.#o.who();
    if (principal) return principal;
    this.#refuse(new BrigError('acl.denied', `answer uid ${this.#o.uid}: denied: it is nobody any more`));
    socket.destroy();
    return undefined;
  }

  /** Nobody listens for a while: the kernel refuses who comes, at no cost of brigd's. Consoles and screens go on. */
  #deafen(server: Server): void {
    if (this.#isDeaf) return;
    this.#isDeaf = true;
    this.#refuse(new BrigError('api.busy', `not heard for ${LIMITS.deafMs / 1_000} s: too much came`));
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
