import { createHash } from 'node:crypto';
import { isSignedBy, type SigningKey } from '../acl/keys.ts';
import type { Trust } from '../acl/trust.ts';
import { BrigError } from '../base/errors.ts';
import { ordered, parseSignedImage, renderImage, type ImageManifest, type SignedImage } from '../spec/image.ts';

/** Before what is signed, so that a signature of something else never fits. */
const CONTEXT = 'brig image manifest 1\n';

/** What an image is called everywhere: sha-256 of its manifest, and so of all its disks. */
export const imageDigest = (manifest: ImageManifest): string =>
  createHash('sha256')
    .update(JSON.stringify(ordered(manifest)))
    .digest('hex');

const messageOf = (manifest: ImageManifest): Uint8Array => Buffer.from(CONTEXT + imageDigest(manifest));

export const signImage = (manifest: ImageManifest, key: SigningKey): SignedImage => ({
  manifest,
  signature: { algorithm: 'ed25519', key: key.id, value: key.sign(messageOf(manifest)) },
});

/**
 * Parses the text of a manifest's file. Any other spelling of the same is refused: a key that is there twice,
 * or a number in other digits, could mean another thing to another reader.
 * Errors: image.invalid.
 */
export const parseImageText = (text: string, source: string): SignedImage => {
  const value = ((): unknown => {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new BrigError('image.invalid', `read ${source}: expected JSON, got something else`);
    }
  })();
  const signed = parseSignedImage(value, source);
  if (renderImage(signed) !== text)
    throw new BrigError('image.invalid', `read ${source}: expected the spelling that brig writes, got another`);
  return signed;
};

/** Why nobody here vouches for an image; undefined: somebody does. */
export const distrust = ({ manifest, signature }: SignedImage, { keys, revoked }: Trust): string | undefined => {
  if (!signature) return 'nobody signed it';
  if (revoked.has(signature.key)) return `signed by key ${signature.key}, which was revoked here`;
  const key = keys.find(({ id }) => id === signature.key);
  if (!key) return `signed by key ${signature.key}, which is not trusted here`;
  if (!key.rights.includes('image')) return `signed by key ${signature.key}, which may not sign images here`;
  return isSignedBy(key.bytes, messageOf(manifest), signature.value)
    ? undefined
    : `the signature of key ${signature.key} does not fit its manifest`;
};
