import { randomBytes } from 'node:crypto';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { Nonces } from './nonces.ts';
import type { Verifier } from './ed25519.ts';
import type { Principal } from './principal.ts';
import { readClaim, unauthenticated, type Claim, type Head } from './signatures.ts';

/** A key that a node knows, whether or not it still counts. */
export interface KnownKey extends Verifier {
  readonly name: string;
  /** The user whose rights it has beside its own. */
  readonly owner: string | undefined;
  readonly expiresMs: number | undefined;
  readonly revokedMs: number | undefined;
}

/** Who sent a request, and what its body has to be. */
export interface Admitted {
  readonly principal: Principal;
  /** sha-256, base64; undefined: there is no body, or it is an upload's. */
  readonly digest: string | undefined;
}

export interface AuthenticatorOptions {
  readonly find: (keyId: string) => KnownKey | undefined;
  readonly now: () => number;
  readonly nonces?: Nonces;
}

/** Whole seconds, as signatures have them. */
const seconds = (ms: number): string => `${Math.round(Math.abs(ms) / 1000)} s`;

/** Who a key is: its own rules count, and those of its owner. */
export const principalOf = ({ name, owner }: Pick<KnownKey, 'name' | 'owner'>, from: string): Principal => ({
  id: `key:${name}`,
  isRoot: false,
  subjects: [`key:${name}`, ...(owner === undefined ? [] : [`user:${owner}`])],
  ...(owner === undefined ? {} : { owner }),
  from,
});

/** A request that its sender may send again, signed with this start's word. */
export class StartUnknown extends BrigError {
  readonly start: string;

  constructor(start: string) {
    super('acl.denied', 'check signature: this brigd has just started and knows no nonces of before', {
      details: { authenticate: true },
      retry: 'later',
      hint: 'sign again with the header brig-start of this answer',
    });
    this.start = start;
  }
}

const unknownKey = (keyId: string): BrigError =>
  new BrigError('acl.denied', `check signature: no key ${keyId} here`, {
    details: { authenticate: true, unknownKey: keyId },
    hint: 'brig key add NAME KEY on the node',
  });

/** Tells who signed a request. Errors: acl.denied with `details.authenticate` (401); api.busy. */
export class Authenticator {
  readonly #o: AuthenticatorOptions;
  readonly #nonces: Nonces;
  /** In whatever was signed for this start: nobody knew it before. */
  readonly #start = randomBytes(16).toString('base64url');
  /** What was made up to then may have been used with an earlier brigd, by a client whose clock is fast. */
  readonly #freshMs: number;

  constructor(options: AuthenticatorOptions) {
    this.#o = options;
    this.#nonces = options.nonces ?? new Nonces();
    this.#freshMs = options.now() + LIMITS.clockSkewMs;
  }

  /** `node`: sha-256 of the certificate that the peer saw; `from`: its address. */
  admit(head: Head, node: string, from: string): Admitted {
    const claim = readClaim(head, node);
    this.#checkTime(claim);
    const key = this.#o.find(claim.keyId);
    if (!key) throw unknownKey(claim.keyId);
    if (!key.verify(claim.base, claim.signature))
      throw unauthenticated(`expected what key ${claim.keyId} signs, got something else`);
    this.#checkKey(key);
    this.#checkStart(claim);
    if (!this.#nonces.use(claim.keyId, claim.nonce, claim.createdMs, this.#o.now()))
      throw unauthenticated('expected a nonce that was not used, got one that was');
    return { principal: principalOf(key, from), digest: claim.digest };
  }

  #checkTime({ createdMs, expiresMs }: Claim): void {
    const nowMs = this.#o.now();
    const aheadMs = createdMs - nowMs;
    if (Math.abs(aheadMs) > LIMITS.clockSkewMs)
      throw unauthenticated(
        `expected a time within ${seconds(LIMITS.clockSkewMs)} of this node's, got one ${seconds(aheadMs)} ${aheadMs > 0 ? 'ahead' : 'behind'}`,
        'set the clock of the client or of the node: ntpd(8)',
      );
    if (expiresMs !== undefined && expiresMs <= nowMs)
      throw unauthenticated(`expected one that still counts, got one that ended ${seconds(nowMs - expiresMs)} ago`);
  }

  /** After the signature: only who has the key learns what became of it. */
  #checkKey({ name, expiresMs, revokedMs }: KnownKey): void {
    if (revokedMs !== undefined) throw unauthenticated(`key ${name} was revoked`);
    if (expiresMs !== undefined && expiresMs <= this.#o.now()) throw unauthenticated(`key ${name} has expired`);
  }

  /** Nonces live in memory: one of an earlier brigd is known by its time, or by the word that it cannot have. */
  #checkStart({ createdMs, start }: Claim): void {
    if (start !== undefined ? start !== this.#start : createdMs <= this.#freshMs) throw new StartUnknown(this.#start);
    if (createdMs <= this.#nonces.forgottenMs)
      throw unauthenticated('expected one that is newer than what was forgotten, got an older one', 'sign again');
  }
}
