import type { Answer, Asked, GrantView } from '../engine/access.ts';
import type { AccessKeyView } from '../engine/keys.ts';
import type { QuotaView } from '../engine/quota.ts';
import type { Outcome } from '../engine/request.ts';
import type { KeyRequest } from './keys.ts';

type Ask = <T>(method: string, path: string, body?: unknown) => Promise<T>;

/** Who may do what: rules, quotas, and keys of people elsewhere. */
export class AccessClient {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** Rules that concern the caller; all for an administrator. */
  grants(): Promise<GrantView[]> {
    return this.#ask('GET', '/access/grants');
  }

  grant(asked: Asked): Promise<Outcome> {
    return this.#ask('POST', '/access/grants', asked);
  }

  revoke(asked: Asked): Promise<Outcome> {
    return this.#ask('POST', '/access/revoke', asked);
  }

  test(principal: string, verb: string, object: string): Promise<Answer> {
    return this.#ask('GET', `/access/test?${new URLSearchParams({ principal, verb, object }).toString()}`);
  }

  quotas(): Promise<QuotaView[]> {
    return this.#ask('GET', '/quotas');
  }

  /** Keys of people elsewhere. */
  keys(): Promise<AccessKeyView[]> {
    return this.#ask('GET', '/access/keys');
  }

  addKey(name: string, key: KeyRequest): Promise<AccessKeyView> {
    return this.#ask('PUT', `/access/keys/${encodeURIComponent(name)}`, key);
  }

  /** `name`: of the key, or its fingerprint. */
  revokeKey(name: string): Promise<AccessKeyView> {
    return this.#ask('DELETE', `/access/keys/${encodeURIComponent(name)}`);
  }
}
