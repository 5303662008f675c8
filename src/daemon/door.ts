import { existsSync } from 'node:fs';
import { chmod, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { Api } from '../api/server.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new BrigError('host.failed', `listen ${path}: ${messageOf(cause)}`, { cause })),
    );
    // Nobody connects between bind and chmod: the umask makes it root's from the first moment.
    const old = process.umask(0o177);
    server.listen({ path, backlog: LIMITS.connectionsQueued }, () => resolve());
    process.umask(old);
  });

/** Where clients come in. The state directory's lock is held by then, so a socket that is there is a dead brigd's. */
export class Door {
  readonly #api: Pick<Api<unknown>, 'handle' | 'upgrade'>;
  readonly #path: string;
  readonly #servers = new Set<Server>();

  constructor(api: Pick<Api<unknown>, 'handle' | 'upgrade'>, path: string) {
    this.#api = api;
    this.#path = path;
  }

  /** Somebody removed a socket that nobody can connect to any more. */
  get isLost(): boolean {
    return this.#servers.size > 0 && !existsSync(this.#path);
  }

  /** Again when it was lost: who is inside stays. */
  async open(): Promise<void> {
    for (const each of this.#servers) each.close(() => this.#servers.delete(each));
    const server = createServer(this.#api.handle);
    server.on('upgrade', this.#api.upgrade);
    // A console or an event stream lasts as long as it lasts.
    server.requestTimeout = 0;
    await unlink(this.#path).catch(() => undefined);
    await listen(server, this.#path);
    this.#servers.add(server);
    await chmod(this.#path, 0o600);
  }

  /** Nobody new comes in. */
  close(): void {
    for (const each of this.#servers) each.close();
  }

  async end(): Promise<void> {
    for (const each of this.#servers) each.closeAllConnections();
    await unlink(this.#path).catch(() => undefined);
  }
}
