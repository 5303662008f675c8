import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { BrigError } from '../base/errors.ts';

/** One request. */
export interface Ask {
  readonly method: string;
  /** Shape: `/v1/vms?label=a` */
  readonly path: string;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** How requests come to a brigd. */
export interface Transport {
  /** For people. */
  readonly where: string;
  /** Another node's: what is on its disks is not what is on these. */
  readonly isElsewhere: boolean;
  /** A connection of its own for each: one kept for later may be closed in the moment in which it is used again. */
  open(ask: Ask): Promise<ClientRequest>;
  /** Whether this answer only asks for the same request once more. */
  isOnceMore(response: IncomingMessage): boolean;
  explain(error: Error): BrigError;
  /** Where nothing of a request can be sent again: sends another one first. */
  prepare(): Promise<void>;
}

/** brigd of this node, by a socket that says who calls. */
export class LocalTransport implements Transport {
  readonly where: string;
  readonly isElsewhere = false;

  constructor(socketPath: string) {
    this.where = socketPath;
  }

  open({ method, path, headers }: Ask): Promise<ClientRequest> {
    const all = { host: 'brigd', ...headers };
    return Promise.resolve(httpRequest({ socketPath: this.where, method, path, headers: all, agent: false }));
  }

  isOnceMore(): boolean {
    return false;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  explain(error: NodeJS.ErrnoException): BrigError {
    if (error instanceof BrigError) return error;
    if (error.code === 'EACCES' || error.code === 'EPERM')
      return new BrigError('host.denied', `connect ${this.where}: permission denied`, {
        ...{ hint: 'be root, or a user whom root granted something', cause: error },
      });
    const isGone = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
    const reason = isGone ? 'brigd is not running' : error.message;
    return new BrigError('daemon.unreachable', `connect ${this.where}: ${reason}`, {
      ...{ hint: 'service brigd start, or brigd in the foreground', cause: error },
    });
  }
}

const sent = async (transport: Transport, ask: Ask): Promise<IncomingMessage> => {
  const request = await transport.open(ask);
  return await new Promise((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
    request.end(ask.body);
  });
};

/** The answer's head. Errors: those of the connection, as they come. */
export const answerTo = async (transport: Transport, ask: Ask): Promise<IncomingMessage> => {
  const response = await sent(transport, ask);
  if (!transport.isOnceMore(response)) return response;
  response.destroy();
  return await sent(transport, ask);
};

/** More connect at once than the kernel queues: EAGAIN on Linux; FreeBSD says what it says of a dead brigd's socket. */
const isQueueFull = ({ code, syscall }: NodeJS.ErrnoException): boolean =>
  syscall === 'connect' && (code === 'EAGAIN' || code === 'ECONNREFUSED');
const CONNECT_AGAIN_MS = [20, 40, 80, 160, 200];

/** The answer's head, asked for again while too many connect at once. Errors: daemon.unreachable, host.denied. */
export const patiently = async (transport: Transport, ask: Ask): Promise<IncomingMessage> => {
  for (const waitMs of CONNECT_AGAIN_MS)
    try {
      return await answerTo(transport, ask);
    } catch (error) {
      if (!isQueueFull(error as NodeJS.ErrnoException)) throw transport.explain(error as Error);
      await sleep(waitMs);
    }
  return await answerTo(transport, ask).catch((error: unknown) => {
    throw transport.explain(error as Error);
  });
};

export interface Upgraded {
  readonly socket: Duplex;
  readonly headers: IncomingMessage['headers'];
}

type Answered = Upgraded | { readonly refused: IncomingMessage };

const asked = async (transport: Transport, ask: Ask): Promise<Answered> => {
  const request = await transport.open(ask);
  return await new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('upgrade', ({ headers }, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      resolve({ socket, headers });
    });
    request.on('response', (refused) => resolve({ refused }));
    request.end();
  });
};

/** A connection that becomes one of raw bytes, or the answer that refuses. Errors: daemon.unreachable, host.denied. */
export const upgradeTo = async (transport: Transport, path: string, protocol: string): Promise<Answered> => {
  const ask: Ask = { method: 'GET', path, headers: { connection: 'upgrade', upgrade: protocol } };
  try {
    const first = await asked(transport, ask);
    if ('socket' in first || !transport.isOnceMore(first.refused)) return first;
    first.refused.destroy();
    return await asked(transport, ask);
  } catch (error) {
    throw transport.explain(error as Error);
  }
};
