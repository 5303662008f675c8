import { setTimeout as sleep } from 'node:timers/promises';
import { BrigError, messageOf } from '../base/errors.ts';

/** Bytes of a URL. */
export interface Download {
  /** Undefined where the server does not say. */
  readonly bytes?: number;
  readonly data: AsyncIterable<Uint8Array>;
}

const ATTEMPTS = 5;
const PAUSE_MS = 500;

const failed = (url: string, reason: string): BrigError => new BrigError('host.failed', `fetch ${url}: ${reason}`);

const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause === undefined ? messageOf(error) : messageOf(cause);
};

/** What tells one version of a resource from the next. */
const tagOf = (response: Response): string | undefined => {
  const tag = response.headers.get('etag');
  return tag !== null && !tag.startsWith('W/') ? tag : (response.headers.get('last-modified') ?? undefined);
};

/** Where a server is asked for a URL, and what its owner wants to see first. */
export interface Wanted {
  readonly url: string;
  /** A token, or what the header says whole. Sent to the URL's own host alone. Shape: `ghp_...`, `Basic YTpi` */
  readonly token?: string;
}

/** Source: RFC 6750, 2.1; of other schemes somebody writes the name himself. */
const authorizationOf = (token: string): string => (/^[A-Za-z]+ /.test(token) ? token : `Bearer ${token}`);

const ask = async ({ url, token }: Wanted, from: number, tag: string | undefined): Promise<Response> => {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (token !== undefined) headers.authorization = authorizationOf(token);
  if (from > 0 && tag !== undefined) Object.assign(headers, { range: `bytes=${from}-`, 'if-range': tag });
  const response = await fetch(url, { headers, redirect: 'follow' });
  // A redirect must not lead out of TLS.
  if (new URL(response.url).protocol !== 'https:')
    throw failed(url, `it leads to ${response.url}, which is no https URL`);
  if (!response.ok) throw failed(url, `the server answered ${response.status} ${response.statusText}`);
  if (from > 0 && response.status !== 206)
    throw failed(url, 'the connection broke, and the server cannot go on where it did');
  return response;
};

/** Goes on where a connection broke. Errors: host.failed with the server's or the system's reason. */
export const download = async (wanted: Wanted): Promise<Download> => {
  const { url } = wanted;
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:') throw failed(url, 'expected an https URL, got another');
  const first = await ask(wanted, 0, undefined).catch((error: unknown) => {
    throw error instanceof BrigError ? error : failed(url, reasonOf(error));
  });
  const length = first.headers.get('content-length');
  const bytes = length === null ? undefined : Number(length);
  const tag = tagOf(first);

  const data = async function* (): AsyncGenerator<Uint8Array> {
    let done = 0;
    let response = first;
    for (let attempt = 1; ; attempt++) {
      try {
        const before = done;
        for await (const chunk of response.body ?? []) {
          done += (chunk as Uint8Array).length;
          yield chunk as Uint8Array;
          if (done - before > 2 ** 20) attempt = 1;
        }
        if (bytes === undefined || done === bytes) return;
        throw new Error(`it ended after ${done} of ${bytes} bytes`);
      } catch (error) {
        if (error instanceof BrigError || attempt >= ATTEMPTS || tag === undefined)
          throw error instanceof BrigError ? error : failed(url, reasonOf(error));
        await sleep(PAUSE_MS * attempt);
        response = await ask(wanted, done, tag).catch((again: unknown) => {
          if (again instanceof BrigError) throw again;
          return Response.error();
        });
      }
    }
  };
  return { ...(bytes === undefined ? {} : { bytes }), data: data() };
};
