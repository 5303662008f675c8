import type { LockView, SecretView } from '../engine/secrets.ts';

type Ask = <T>(method: string, path: string, body?: unknown) => Promise<T>;

const pathOf = (name: string, owner: string | undefined, verb = ''): string =>
  `/secrets/${encodeURIComponent(name)}${verb}${owner === undefined ? '' : `?owner=${encodeURIComponent(owner)}`}`;

/** Secrets of a brigd: names come back; a value to root of its host alone. */
export class SecretClient {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** Of one owner; without one those that the caller may see. The node's own have an empty owner. */
  list(owner?: string): Promise<SecretView[]> {
    return this.#ask('GET', `/secrets${owner === undefined ? '' : `?owner=${encodeURIComponent(owner)}`}`);
  }

  /** Without an owner it is the caller's. */
  set(name: string, value: Uint8Array, owner?: string): Promise<SecretView> {
    const base64 = Buffer.from(value).toString('base64');
    return this.#ask('PUT', pathOf(name, owner), { base64 });
  }

  /** For whoever uses it at once, and wipes it. Errors: acl.denied for everybody but root; secret.unknown; secret.locked. */
  async open(name: string, owner?: string): Promise<Buffer> {
    const { base64 } = await this.#ask<{ base64: string }>('POST', pathOf(name, owner, '/open'));
    return Buffer.from(base64, 'base64');
  }

  remove(name: string, owner?: string): Promise<{ removed: string }> {
    return this.#ask('DELETE', pathOf(name, owner));
  }

  /** The new passphrase, where there is one. */
  rotate(passphrase?: string): Promise<{ secrets: number; master: string }> {
    return this.#ask('POST', '/secrets/rotate-master', passphrase === undefined ? {} : { passphrase });
  }

  lock(): Promise<LockView> {
    return this.#ask('GET', '/secrets/lock');
  }

  unlock(passphrase?: string): Promise<LockView> {
    return this.#ask('POST', '/secrets/unlock', passphrase === undefined ? {} : { passphrase });
  }
}
