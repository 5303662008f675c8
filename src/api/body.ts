import { createHash } from 'node:crypto';
import { unauthenticated } from '../acl/signatures.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

type Body = AsyncIterable<Buffer>;

/**
 * A stream piece by piece, left as it is by whoever reads no further: he that sent too much is still to be told.
 * Errors: what `unless` is rejected with, as soon as it is.
 */
const pieces = (body: Body, unless?: Promise<never>): Body => ({
  [Symbol.asyncIterator]: () => {
    const iterator = body[Symbol.asyncIterator]();
    return { next: () => (unless ? Promise.race([iterator.next(), unless]) : iterator.next()) };
  },
});

/**
 * A body as it comes, which fails at its end when it is not the one that was signed; whoever reads all of it before he
 * parses any of it parses what was signed. Units: base64 of sha-256. Errors: acl.denied.
 */
export const signedBody = async function* (body: Body, digest: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of pieces(body)) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('base64') !== digest) throw unauthenticated('expected the body that was signed, got another');
};

const tooLate = (): BrigError =>
  new BrigError('api.invalid', `read request: expected its body within ${LIMITS.bodyTimeoutMs / 1000} s, got less`);

/** The bytes of a body; what is too much stays unread. Errors: api.invalid for one that is too large, or does not come. */
const readBytes = async (source: Body): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => undefined);
  const timer = setTimeout(() => late.reject(tooLate()), LIMITS.bodyTimeoutMs).unref();
  try {
    for await (const chunk of pieces(source, late.promise)) {
      bytes += chunk.length;
      if (bytes > LIMITS.requestBytes)
        throw new BrigError('api.invalid', `read request: expected at most ${LIMITS.requestBytes} bytes, got more`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof BrigError) throw error;
    throw new BrigError('api.invalid', 'read request: expected its body, got the end of its connection', {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
};

/** Of lists and objects in each other: documents have some six. */
const DEPTH = 64;

/** Whether it nests deeper, or has more parts, than any document: what looks at each of them would not come back. */
const isExcessive = (text: string): boolean => {
  let [depth, parts, isText] = [0, 0, false];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') isText = !isText;
    else if (isText && char === '\\') i++;
    else if (!isText && char === ',' && ++parts > LIMITS.requestParts) return true;
    else if (!isText && (char === '[' || char === '{') && ++depth > DEPTH) return true;
    else if (!isText && (char === ']' || char === '}')) depth--;
  }
  return false;
};

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Reads a body once, however often it is asked for. Errors: api.invalid. */
export const bodyReader = (source: Body): { bytes: () => Promise<Buffer>; body: () => Promise<unknown> } => {
  let bytes: Promise<Buffer> | undefined;
  const read = (): Promise<Buffer> => (bytes ??= readBytes(source));
  return {
    bytes: read,
    body: async () => {
      const all = await read();
      try {
        const text = UTF8.decode(all);
        if (!isExcessive(text)) return JSON.parse(text) as unknown;
      } catch {
        throw new BrigError('api.invalid', 'read request: expected JSON, got something else');
      }
      throw new BrigError(
        'api.invalid',
        `read request: expected JSON of at most ${DEPTH} levels and ${LIMITS.requestParts} values, got more`,
      );
    },
  };
};
