import type { LockView, SecretView } from '../engine/secrets.ts';

type Ask = <T>(method: string, path: string, body?: unknown) => Promise<T>;

const pathOf = (name: string, owner: string | undefined): string =>
  `/secrets/${encodeURIComponent(name)}${owner === undefined ? '' : `?owner=${encodeURIComponent(owner)}`}`;

/** Secrets of a brigd: names come back, and never a value. */
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
