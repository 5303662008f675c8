import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { fingerprintOf, parseSeed } from './keys.ts';

/**
 * Ed25519 of OpenSSL: what every request costs, a hundredth of what it costs in JavaScript.
 * Source: RFC 8410, section 7: an octet string in an octet string, and a bit string.
 */
const SECRET_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** Who signs requests. What it signs with is in no error, log or answer. */
export interface Signer {
  readonly id: string;
  readonly publicBytes: Uint8Array;
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}

/** One whose signatures are checked. */
export interface Verifier {
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

const publicHalf = (secret: KeyObject): Uint8Array => {
  const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' });
  return new Uint8Array(spki.subarray(PUBLIC_PREFIX.length));
};

/** Units: a seed of 32 bytes. */
export const signerOf = (seed: Uint8Array): Signer => {
  const secret = createPrivateKey({ key: Buffer.concat([SECRET_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const publicBytes = publicHalf(secret);
  return {
    id: fingerprintOf(publicBytes),
    publicBytes,
    sign: (message) => new Uint8Array(sign(null, message, secret)),
  };
};

/** Parses a secret key's file. Errors: acl.invalid, which quotes nothing of the file. */
export const parseSigner = (text: string, source: string): Signer => signerOf(parseSeed(text, source));

/** Units: 32 bytes. Nothing counts as signed by bytes that are no key. */
export const verifierOf = (publicBytes: Uint8Array): Verifier => {
  const key = createPublicKey({ key: Buffer.concat([PUBLIC_PREFIX, publicBytes]), format: 'der', type: 'spki' });
  return { verify: (message, signature) => verify(null, message, key, signature) };
};
