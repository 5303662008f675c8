import { createHash, scrypt } from 'node:crypto';
import nacl from 'tweetnacl';
import { BrigError } from '../base/errors.ts';
import { renderRef, type SecretRef } from '../base/secret.ts';
import { decode } from './keys.ts';

/** What all secrets are sealed under. Its bytes are in no error, log or answer. */
export interface MasterKey {
  /** The first 16 hexadecimal digits of a sha-256; says nothing of the key. */
  readonly id: string;
  readonly bytes: Uint8Array;
}

type Whose = Pick<SecretRef, 'owner' | 'name'>;
type Random = (bytes: number) => Uint8Array;

const { keyLength: KEY_BYTES, nonceLength: NONCE_BYTES } = nacl.secretbox;

const toMasterKey = (bytes: Uint8Array): MasterKey => ({
  id: createHash('sha256').update('brig master key\0').update(bytes).digest('hex').slice(0, 16),
  bytes,
});

export const newMasterKey = (random: Random): MasterKey => toMasterKey(random(KEY_BYTES));

/** As good as JavaScript can: copies that the engine made meanwhile are out of reach. */
export const wipe = (...buffers: readonly Uint8Array[]): void => {
  for (const buffer of buffers) buffer.fill(0);
};

/** Shape: format 1, length of owner, owner, length of name, name, value; lengths are one byte. */
const pack = ({ owner, name }: Whose, value: Uint8Array): Buffer => {
  const words = [owner, name].flatMap((word) => [Buffer.from([Buffer.byteLength(word)]), Buffer.from(word)]);
  return Buffer.concat([Buffer.from([1]), ...words, value]);
};

/** The value under a new nonce, with whose it is inside. Shape: nonce, box. */
export const seal = ({ bytes }: MasterKey, whose: Whose, value: Uint8Array, random: Random): Uint8Array => {
  const nonce = random(NONCE_BYTES);
  const message = pack(whose, value);
  const box = nacl.secretbox(message, nonce, bytes);
  wipe(message);
  return Buffer.concat([nonce, box]);
};

/** The value, when it was sealed under this key for this owner and name. Errors: store.failed. */
export const open = ({ bytes, id }: MasterKey, whose: Whose, sealed: Uint8Array): Uint8Array => {
  const message = nacl.secretbox.open(sealed.slice(NONCE_BYTES), sealed.slice(0, NONCE_BYTES), bytes);
  const head = pack(whose, new Uint8Array());
  const isOwn = message !== null && head.equals(message.subarray(0, head.length));
  const value = isOwn ? message.slice(head.length) : undefined;
  if (message) wipe(message);
  if (value) return value;
  throw new BrigError('store.failed', `open ${renderRef(whose)}: not what was sealed for it under master ${id}`, {
    hint: 'somebody changed the store: set the secret again',
  });
};

const invalid = (source: string, expected: string): BrigError =>
  new BrigError('acl.invalid', `read ${source}: not a master key: expected ${expected}`);

/**
 * Parses what a master key's file or program says: the first one seals, those after it only open.
 * Shape:  lines `master-secret BASE64`.
 * Errors: acl.invalid, which quotes nothing of the text.
 */
export const parseMasterKeys = (text: string, source: string): MasterKey[] => {
  const lines = text.replace(/\n$/, '').split('\n');
  return lines.map((line) => {
    const [kind, encoded = '', ...rest] = line.split(' ');
    const bytes = decode(encoded, KEY_BYTES);
    if (kind !== 'master-secret' || !bytes || rest.length > 0) throw invalid(source, 'lines `master-secret BASE64`');
    return toMasterKey(bytes);
  });
};

export const renderMasterKey = ({ bytes }: MasterKey): string =>
  `master-secret ${Buffer.from(bytes).toString('base64')}\n`;

/** How a passphrase becomes a key, and which one. */
export interface Derivation {
  readonly cost: number;
  readonly blocks: number;
  readonly parallel: number;
  readonly salt: Uint8Array;
  readonly id: string;
}

/** 32 MiB and some 0.3 s. Source: OWASP's Password Storage Cheat Sheet, scrypt. */
const COSTS = { cost: 2 ** 15, blocks: 8, parallel: 3 } as const;
const SALT_BYTES = 16;

const derive = (passphrase: string, { cost: N, blocks: r, parallel: p, salt }: Omit<Derivation, 'id'>) =>
  new Promise<MasterKey>((resolve, reject) =>
    scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, { N, r, p, maxmem: 256 * N * r }, (error, bytes) =>
      error ? reject(error) : resolve(toMasterKey(new Uint8Array(bytes))),
    ),
  );

/** A key of a passphrase under a new salt. */
export const newDerivation = async (
  passphrase: string,
  random: Random,
): Promise<{ readonly key: MasterKey; readonly derivation: Derivation }> => {
  const how = { ...COSTS, salt: random(SALT_BYTES) };
  const key = await derive(passphrase, how);
  return { key, derivation: { ...how, id: key.id } };
};

/** Undefined for another passphrase. */
export const deriveMasterKey = async (passphrase: string, how: Derivation): Promise<MasterKey | undefined> => {
  const key = await derive(passphrase, how);
  return key.id === how.id ? key : undefined;
};

/** Shape: one line `scrypt N R P SALT ID`. */
export const renderDerivation = ({ cost, blocks, parallel, salt, id }: Derivation): string =>
  `scrypt ${cost} ${blocks} ${parallel} ${Buffer.from(salt).toString('base64')} ${id}\n`;

/** A file that somebody changed must not cost gigabytes. Errors: acl.invalid. */
export const parseDerivation = (text: string, source: string): Derivation => {
  const match = /^scrypt (\d{1,7}) (\d{1,2}) (\d{1,2}) (\S+) ([0-9a-f]{16})\n?$/.exec(text);
  const salt = decode(match?.[4] ?? '', SALT_BYTES);
  const [cost, blocks, parallel] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3])];
  const isSound = cost >= 2 && cost <= 2 ** 20 && (cost & (cost - 1)) === 0 && blocks >= 1 && blocks <= 8;
  if (!match || !salt || !isSound || parallel < 1) throw invalid(source, 'one line `scrypt N R P SALT ID`');
  return { cost, blocks, parallel, salt, id: match[5] ?? '' };
};
