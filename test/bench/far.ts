import { createInterface } from 'node:readline';
import { createServer, connect, type Socket } from 'node:net';
import type { ConsolePort, Host } from '../../src/base/host.ts';
import { BrigError, fromErrorBody, toErrorBody, type ErrorBody } from '../../src/base/errors.ts';
import { openConsole } from '../../src/io/console.ts';

/** What travels: an answer for a question of that id, or none for a change in a directory that is watched. */
interface Message {
  readonly id: number;
  readonly name?: string;
  readonly args?: unknown[];
  readonly value?: unknown;
  readonly error?: ErrorBody;
}

const BYTES = '$base64';

/** A Buffer says of itself what JSON is to make of it before anybody is asked. */
const encode = (_: string, value: unknown): unknown =>
  value instanceof Uint8Array ? { [BYTES]: Buffer.from(value).toString('base64') } : value;

const decode = (_: string, value: unknown): unknown => {
  if (typeof value !== 'object' || value === null) return value;
  if (BYTES in value) return Buffer.from(String(value[BYTES]), 'base64');
  return 'type' in value && value.type === 'Buffer' && 'data' in value ? Buffer.from(value.data as number[]) : value;
};

const send = (socket: Socket, message: Message): void => void socket.write(`${JSON.stringify(message, encode)}\n`);

const receive = (socket: Socket, listener: (message: Message) => void): void => {
  const lines = createInterface({ input: socket });
  lines.on('line', (line) => listener(JSON.parse(line, decode) as Message));
  // The one over there may end while answers are on their way.
  for (const each of [lines, socket]) each.on('error', () => undefined);
};

/** Serves a host of this process to another one. */
export const serveHost = async (host: Host, path: string): Promise<() => void> => {
  const answer = async (socket: Socket, { id, name = '', args = [] }: Message): Promise<void> => {
    if (name === 'watch') return void host.watch(String(args[0]), () => send(socket, { id }));
    try {
      const work = (host as unknown as Record<string, (...args: unknown[]) => unknown>)[name];
      send(socket, { id, name, value: await work?.(...args.map((each) => each ?? undefined)) });
    } catch (error) {
      send(socket, { id, name, error: toErrorBody(error) });
    }
  };
  const server = createServer((socket) => receive(socket, (message) => void answer(socket, message)));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return () => server.close();
};

/** The host that another process serves; consoles are real FIFOs of `fifo`, so that they cost what they cost. */
export const farHost = (path: string, fifo: (vmPath: string) => string): Host => {
  const socket = connect(path);
  const waiting = new Map<number, (message: Message) => void>();
  const watching = new Map<number, () => void>();
  let ids = 0;
  receive(socket, (message) => {
    watching.get(message.id)?.();
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  const ask =
    (name: string) =>
    (...args: unknown[]): Promise<unknown> =>
      new Promise((resolve, reject) => {
        waiting.set(++ids, ({ value, error }) => (error ? reject(fromErrorBody(error)) : resolve(value)));
        send(socket, { id: ids, name, args });
      });
  const local: Partial<Host> = {
    console: (_, outPath): Promise<ConsolePort> => Promise.resolve(openConsole('/nowhere', fifo(outPath))),
    watch: (directory, onChange) => {
      watching.set(++ids, onChange);
      send(socket, { id: ids, name: 'watch', args: [directory] });
      return { close: () => undefined };
    },
    now: () => Date.now(),
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref()),
    random: () => {
      throw new BrigError('host.missing', 'random: not over there');
    },
  };
  return new Proxy(local, { get: (own, name) => own[name as keyof Host] ?? ask(String(name)) }) as Host;
};
