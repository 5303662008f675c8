import { createHash } from 'node:crypto';
import { BrigError } from '../base/errors.ts';
import type { Store } from '../store/store.ts';
import { sendText } from './answer.ts';
import type { Call, Route } from './route.ts';
import type { Remember } from './server.ts';

const KEY = /^[\x21-\x7e]{1,128}$/;

/**
 * Changes that come again under the same Idempotency-Key are done once: the second is answered what the first was.
 * What failed may be tried again.
 */
export class Repeats {
  readonly #answers: Store['answers'];
  readonly #now: () => number;

  constructor({ answers }: Pick<Store, 'answers'>, now: () => number) {
    this.#answers = answers;
    this.#now = now;
  }

  /** Errors: api.invalid for a key that was used for something else; api.busy while the first is under way. */
  async once(call: Call, route: Route, work: (remember: Remember) => Promise<void>): Promise<void> {
    const key = call.request.headers['idempotency-key'];
    // What a digest of a body would let somebody guess is not kept.
    if (typeof key !== 'string' || route.method === 'GET' || route.isSecret) return await work(() => undefined);
    if (!KEY.test(key))
      throw new BrigError('api.invalid', 'read Idempotency-Key: expected 1 to 128 visible characters, got others');
    const { id } = call.who;
    const request = await this.#digest(call);
    if (this.#isAnswered(call, key, request)) return;
    if (!this.#begin(call, key, request)) return await work(() => undefined);
    try {
      await work((status, text) => silently(() => this.#answers.end(id, key, status, text)));
    } finally {
      silently(() => this.#answers.forgetOpen(id, key));
    }
  }

  /** A full disk must not keep root from mending it: what he does then is not remembered. */
  #begin({ who }: Call, key: string, request: string): boolean {
    try {
      this.#answers.begin(who.id, key, request, this.#now());
      return true;
    } catch (error) {
      if (who.isRoot) return false;
      throw error;
    }
  }

  #isAnswered({ who, response }: Call, key: string, request: string): boolean {
    const known = this.#answers.find(who.id, key);
    if (!known) return false;
    if (known.request !== request)
      throw new BrigError(
        'api.invalid',
        'read Idempotency-Key: expected a new one for another request, got a used one',
      );
    if (known.status === undefined)
      throw new BrigError('api.busy', 'repeat: the first request of this Idempotency-Key is under way', {
        retry: 'later',
      });
    response.setHeader('idempotent-replayed', 'true');
    sendText(response, known.status, known.body);
    return true;
  }

  async #digest(call: Call): Promise<string> {
    const { request } = call;
    return createHash('sha256')
      .update(`${request.method} ${request.url}\n`)
      .update(await call.bytes())
      .digest('hex');
  }
}

/** What was done is done, and is answered so, whether that can be written down or not. */
const silently = (write: () => void): void => {
  try {
    write();
  } catch {
    // The disk is full.
  }
};
