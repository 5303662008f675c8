import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { fromErrorBody, toErrorBody, type ErrorBody } from '../base/errors.ts';
import { httpStatus } from './protocol.ts';
import { upgradeTo, type Transport, type Upgraded } from './transport.ts';

/** Of a screen: raw bytes of VNC. */
export const UPGRADE_VNC = 'brig-vnc';

/** The answer that makes a connection another protocol's. */
export const switchTo = (protocol: string, headers: Readonly<Record<string, string>> = {}): string => {
  const lines = Object.entries({ connection: 'upgrade', upgrade: protocol, ...headers });
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.map(([key, value]) => `${key}: ${value}\r\n`).join('')}\r\n`;
};

/** Who does not close his side of what was refused is let go. */
const LINGER_MS = 500;

/** Says why, and is rid of it. */
const endRefused = (socket: Duplex, text: string): void => {
  socket.end(text);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  // What he still sends goes nowhere.
  socket.resume();
};

/** The answer on a connection that has no ServerResponse: its upgrade does not come about, or what came was no request. */
export const refuseOn = (
  socket: Duplex,
  error: unknown,
  { status, headers }: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): void => {
  const body = toErrorBody(error);
  const text = `${JSON.stringify({ error: body })}\n`;
  const all = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), connection: 'close' };
  const lines = Object.entries({ ...all, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  endRefused(socket, `HTTP/1.1 ${status ?? httpStatus(body)} Refused\r\n${lines.join('')}\r\n${text}`);
};

const errorOf = async (response: IncomingMessage): Promise<Error> => {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  return fromErrorBody((JSON.parse(text) as { error: ErrorBody }).error);
};

/** A connection of brigd's that is another protocol's from then on. Errors: those of brigd; daemon.unreachable. */
export const upgrade = async (transport: Transport, path: string, protocol: string): Promise<Upgraded> => {
  const upgraded = await upgradeTo(transport, path, protocol);
  if ('socket' in upgraded) return upgraded;
  throw await errorOf(upgraded.refused);
};
