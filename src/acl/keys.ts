import { createHash } from 'node:crypto';
import nacl from 'tweetnacl';
import { BrigError } from '../base/errors.ts';

/** What a key may sign here: the jails' root, and images of disks. */
export const RIGHTS = ['base', 'image'] as const;
export type Right = (typeof RIGHTS)[number];

/** One who signs: the public half of an Ed25519 key. */
export interface PublicKey {
  /** 32 bytes. */
  readonly bytes: Uint8Array;
  readonly rights: readonly Right[];
}

/** A key that can sign. Its seed is in no error, log or answer. */
export interface SigningKey {
  readonly id: string;
  readonly publicBytes: Uint8Array;
  sign(message: Uint8Array): string;
}

const SEED_BYTES = 32;
const PUBLIC_BYTES = 32;
const SIGNATURE_BYTES = 64;

/** A key for people: the first 16 hexadecimal digits of its sha-256. */
export const fingerprintOf = (publicBytes: Uint8Array): string =>
  createHash('sha256').update(publicBytes).digest('hex').slice(0, 16);

/** Exactly these bytes in exactly one spelling; undefined for anything else. */
export const decode = (text: string, bytes: number): Uint8Array | undefined => {
  const decoded = Buffer.from(text, 'base64');
  return decoded.length === bytes && decoded.toString('base64') === text ? new Uint8Array(decoded) : undefined;
};

const invalid = (source: string, expected: string): BrigError =>
  new BrigError('acl.invalid', `read ${source}: not a key: expected ${expected}`);

const isRight = (word: string): word is Right => RIGHTS.some((each) => each === word);

/**
 * Parses a public key's file.
 * Shape:  one line `ed25519 BASE64 RIGHT...`, single blanks between the words.
 * Errors: acl.invalid.
 */
export const parsePublicKey = (text: string, source: string): PublicKey => {
  const [kind, encoded = '', ...words] = text.replace(/\n$/, '').split(' ');
  const bytes = decode(encoded, PUBLIC_BYTES);
  if (kind !== 'ed25519' || !bytes) throw invalid(source, 'one line `ed25519 BASE64 RIGHT...`');
  const rights = words.filter(isRight);
  if (rights.length === 0 || rights.length !== words.length || new Set(rights).size !== rights.length)
    throw invalid(source, `rights of ${RIGHTS.join(', ')}, each once`);
  return { bytes, rights };
};

/** The public half alone, as it is told to a node's administrator. Shape: `ed25519 BASE64` */
export const renderPublicHalf = (publicBytes: Uint8Array): string =>
  `ed25519 ${Buffer.from(publicBytes).toString('base64')}`;

/** Errors: acl.invalid. */
export const parsePublicHalf = (text: string, source: string): Uint8Array => {
  const [kind, encoded = '', ...rest] = text.replace(/\n$/, '').split(' ');
  const bytes = decode(encoded, PUBLIC_BYTES);
  if (kind !== 'ed25519' || !bytes || rest.length > 0) throw invalid(source, '`ed25519 BASE64` of 32 bytes');
  return bytes;
};

export const renderPublicKey = ({ bytes, rights }: PublicKey): string =>
  `ed25519 ${Buffer.from(bytes).toString('base64')} ${rights.join(' ')}\n`;

/** What depends on nothing but its arguments, for the last few of them: the curve takes 20 ms, and every start asks. */
const remembered = <T>(): ((parts: readonly Uint8Array[], make: () => T) => T) => {
  const known = new Map<string, T>();
  return (parts, make) => {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    const id = hash.digest('hex');
    const old = known.get(id);
    if (old !== undefined) return old;
    if (known.size >= REMEMBERED) known.clear();
    const made = make();
    known.set(id, made);
    return made;
  };
};
const REMEMBERED = 64;

const publicHalves = remembered<Uint8Array>();
const publicHalf = (seed: Uint8Array): Uint8Array =>
  publicHalves([seed], () => nacl.sign.keyPair.fromSeed(seed).publicKey);

/**
 * The seed in a secret key's file: one line `ed25519-secret BASE64`.
 * Errors: acl.invalid, which quotes nothing of the file.
 */
export const parseSeed = (text: string, source: string): Uint8Array => {
  const [kind, encoded = '', ...rest] = text.replace(/\n$/, '').split(' ');
  const seed = decode(encoded, SEED_BYTES);
  if (kind !== 'ed25519-secret' || !seed || rest.length > 0) throw invalid(source, 'one line `ed25519-secret BASE64`');
  return seed;
};

/** Parses a secret key's file. Errors: acl.invalid, which quotes nothing of the file. */
export const parseSecretKey = (text: string, source: string): SigningKey => {
  const seed = parseSeed(text, source);
  const publicBytes = publicHalf(seed);
  return {
    id: fingerprintOf(publicBytes),
    publicBytes,
    sign: (message) =>
      Buffer.from(nacl.sign.detached(message, nacl.sign.keyPair.fromSeed(seed).secretKey)).toString('base64'),
  };
};

/** Text of a secret key's file. Units: 32 bytes in. */
export const renderSecretKey = (seed: Uint8Array): string => `ed25519-secret ${Buffer.from(seed).toString('base64')}\n`;

const answers = remembered<boolean>();
/** Both before the message have a fixed length. */
const verify = (publicBytes: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  answers([publicBytes, signature, message], () => nacl.sign.detached.verify(message, signature, publicBytes));

/** False for whatever is no signature, too. Source: RFC 8032. */
export const isSignedBy = (publicBytes: Uint8Array, message: Uint8Array, signature: string): boolean => {
  const bytes = decode(signature, SIGNATURE_BYTES);
  return bytes !== undefined && publicBytes.length === PUBLIC_BYTES && verify(publicBytes, message, bytes);
};
