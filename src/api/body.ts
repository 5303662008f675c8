import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { unauthenticated } from '../acl/signatures.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/**
 * A body as it comes, which fails at its end when it is not the one that was signed; whoever reads all of it before he
 * parses any of it parses what was signed. One of a document's size has to come in time.
 * Units: base64 of sha-256. Errors: acl.denied, api.invalid, api.busy.
 */
export const signedBody = async function* (body: Readable, digest: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let bytes = 0;
  const late = setTimeout(
    () => body.destroy(new BrigError('api.busy', 'read request: expected its body sooner', { retry: 'later' })),
    LIMITS.bodyTimeoutMs,
  );
  try {
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes > LIMITS.requestBytes)
        throw new BrigError('api.invalid', `read request: expected at most ${LIMITS.requestBytes} bytes, got more`);
      hash.update(chunk as Buffer);
      yield chunk as Buffer;
    }
  } finally {
    clearTimeout(late);
  }
  if (hash.digest('base64') !== digest) throw unauthenticated('expected the body that was signed, got another');
};
