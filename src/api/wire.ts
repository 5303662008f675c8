import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { BrigError, fromErrorBody, type ErrorBody } from '../base/errors.ts';
import type { EventRow } from '../store/rows.ts';
import { PREFIX, type Line } from './protocol.ts';
import { patiently, type Transport } from './transport.ts';

/** Told while an operation goes on. */
export interface OperationListener {
  begin?(id: string): void;
  event?(event: EventRow): void;
}

/** What a request brings beside its path. */
export interface Extra {
  readonly body?: unknown;
  /** The tag of what was read: another one by now is an error. */
  readonly ifMatch?: string | undefined;
  /**
   * Done again it comes to what it came to before: asked for once more when brigd goes away in the middle, for a brigd
   * that began anew has forgotten the key of what it did not end. A restart, a create or a snapshot may be there twice.
   */
  readonly isRepeatable?: boolean;
}

export const readAll = async (response: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
};

/** Ends when brigd goes away, too: whoever waits for an answer tells it by its absence. */
const linesOf = async function* (response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  response.setEncoding('utf8');
  try {
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
};

/** For a brigd that is started again. */
const AGAIN_MS = 1_000;

const isUnreachable = (error: unknown): boolean => error instanceof BrigError && error.code === 'daemon.unreachable';

/** The connection was there, and broke: what was asked for may be done, or not. */
const isLost = (error: unknown): boolean =>
  isUnreachable(error) &&
  /^(ECONNRESET|EPIPE)$/.test(String(((error as Error).cause as { code?: unknown } | undefined)?.code));

const headersOf = (method: string, { body, ifMatch }: Extra): Record<string, string> => ({
  ...(method === 'GET' ? {} : { 'idempotency-key': randomUUID() }),
  ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
  ...(body === undefined ? {} : { 'content-type': 'application/json' }),
});

/** Requests and their answers, however they come to a brigd. Errors: those of brigd; daemon.unreachable; host.denied. */
export class Wire {
  readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Every change has a key of its own: two of them are two, however often each is sent. */
  async send(
    method: string,
    path: string,
    extra: Extra = {},
    headers: Readonly<Record<string, string>> = headersOf(method, extra),
  ): Promise<IncomingMessage> {
    const body = extra.body === undefined ? {} : { body: JSON.stringify(extra.body) };
    return await patiently(this.transport, { method, path: `${PREFIX}${path}`, headers, ...body });
  }

  async json<T>(method: string, path: string, extra?: Extra): Promise<T> {
    return (await this.tagged(method, path, extra)).value as T;
  }

  /** With the tag of what is there, and the path of the next page. */
  async tagged(
    method: string,
    path: string,
    extra?: Extra,
  ): Promise<{ readonly value: unknown; readonly etag?: string; readonly next?: string }> {
    const response = await this.send(method, path, extra);
    const value = JSON.parse(await readAll(response)) as { error?: ErrorBody };
    if (response.statusCode !== 200 && value.error) throw fromErrorBody(value.error);
    const { etag, link } = response.headers;
    const next = /^<\/v1([^>]*)>; rel="next"$/.exec(String(link))?.[1];
    return { value, ...(etag === undefined ? {} : { etag }), ...(next === undefined ? {} : { next }) };
  }

  /** A list whose rows come one after the other. Errors: daemon.unreachable when it is cut off before its end. */
  async *rows<T extends { readonly seq: number }>(path: string): AsyncGenerator<T> {
    const response = await this.send('GET', path);
    for await (const text of linesOf(response)) {
      const line = JSON.parse(text) as T & { error?: ErrorBody };
      if (line.error) throw fromErrorBody(line.error);
      yield line;
    }
    if (response.complete) return;
    throw new BrigError('daemon.unreachable', `GET ${path}: brigd went away before the end`, {
      hint: 'what came is whole; what follows it comes with --after',
    });
  }

  /** The result of an operation. */
  async lines<T>(method: string, path: string, listener: OperationListener, extra: Extra = {}): Promise<T> {
    const headers = headersOf(method, extra);
    const ask = (): Promise<T> => this.#follow(method, path, listener, extra, headers);
    try {
      return await ask();
    } catch (error) {
      if (!extra.isRepeatable || !isLost(error)) throw error;
      await sleep(AGAIN_MS);
      return await ask().catch((second: unknown) => {
        throw isUnreachable(second) ? error : second;
      });
    }
  }

  async #follow<T>(
    method: string,
    path: string,
    listener: OperationListener,
    extra: Extra,
    headers: Readonly<Record<string, string>>,
  ): Promise<T> {
    const response = await this.send(method, path, extra, headers);
    for await (const text of linesOf(response)) {
      const line = JSON.parse(text) as Line & { error?: ErrorBody };
      if (line.error) throw fromErrorBody(line.error);
      if (line.type === 'begin') listener.begin?.(line.id);
      else if (line.type === 'event') listener.event?.(line.event);
      else if (line.type === 'result') return line.result as T;
    }
    throw new BrigError('daemon.unreachable', `${method} ${path}: brigd went away`, {
      hint: 'when it is back it finishes or undoes what it was doing; see brig list',
      cause: { code: 'ECONNRESET' },
    });
  }
}
