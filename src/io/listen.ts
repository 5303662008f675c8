import { randomBytes } from 'node:crypto';
import { chownSync } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { BrigError, messageOf } from '../base/errors.ts';

/** What sockaddr_un holds, without the zero at its end. Source: unix(4); Linux has four more. */
const PATH_BYTES = 103;

export interface Listening {
  /** Of TCP. */
  readonly port: number | undefined;
  /** Nobody new comes in; who is inside stays. */
  close(): void;
  /** Nobody is inside any more either. */
  end(): void;
}

type Where = { readonly path: string; readonly backlog?: number } | { readonly host: string; readonly port: number };

/** A unix socket is its maker's alone. Errors: host.failed, for a path that is too long, too. */
export const bind = (server: Server, where: Where): Promise<void> =>
  new Promise((resolve, reject) => {
    const what = 'path' in where ? where.path : `${where.host} port ${where.port}`;
    if ('path' in where && Buffer.byteLength(what) > PATH_BYTES)
      throw new BrigError('host.failed', `listen ${what}: expected a path of at most ${PATH_BYTES} bytes, got more`);
    server.once('error', (cause) =>
      reject(new BrigError('host.failed', `listen ${what}: ${messageOf(cause)}`, { cause })),
    );
    // Nobody connects between bind and chown: the umask makes it its maker's from the first moment.
    const old = process.umask(0o177);
    server.listen(where, () => resolve());
    process.umask(old);
  });

const toListening = (server: Server, sockets: ReadonlySet<Socket>): Listening => {
  const address = server.address();
  const close = (): void => void server.close();
  return {
    port: address !== null && typeof address === 'object' ? address.port : undefined,
    close,
    end: () => {
      close();
      for (const socket of sockets) socket.destroy();
    },
  };
};

/** Who is inside. */
const guestsOf = (server: Server): ReadonlySet<Socket> => {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
};

/** An old socket goes; what is anything else is somebody's. Errors: usage.invalid. */
const clear = async (path: string): Promise<void> => {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (there.isSocket()) return await unlink(path).catch(() => undefined);
  throw new BrigError('usage.invalid', `listen ${path}: expected nothing there or a socket, got something else`, {
    hint: 'it is left as it is; name another path',
  });
};

/**
 * A unix socket that one user alone connects to, besides root; an old one is replaced.
 * Errors: host.failed when it cannot be made, a path that is too long among it; usage.invalid where something else is.
 */
export const listenAt = async (
  path: string,
  uid: number | undefined,
  onConnect: (socket: Socket) => void,
): Promise<Listening> => {
  const server = createServer({ allowHalfOpen: true }, onConnect);
  const guests = guestsOf(server);
  await clear(path);
  await bind(server, { path });
  if (uid !== undefined) chownSync(path, uid, 0);
  return toListening(server, guests);
};

/** A port of this machine's own, that the kernel chooses. Errors: host.failed. */
export const listenLoopback = async (onConnect: (socket: Socket) => void): Promise<Listening> => {
  const server = createServer(onConnect);
  const guests = guestsOf(server);
  await bind(server, { host: '127.0.0.1', port: 0 });
  return toListening(server, guests);
};

/** A part of a path that nobody guesses. */
export const newToken = (): string => randomBytes(16).toString('hex');
