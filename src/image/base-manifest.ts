import { createHash } from 'node:crypto';
import { isSignedBy, type SigningKey } from '../acl/keys.ts';
import { BrigError } from '../base/errors.ts';
import { parseManifest, parseSignedManifest, type Manifest, type SignedManifest } from '../spec/manifest.ts';

/** Before what is signed, so that a signature of something else never fits. */
const CONTEXT = 'brig base manifest 1\n';

/** Keys in one order, whatever order they came in. */
const ordered = (manifest: Manifest): Manifest => {
  const { version, platform, arch, release, digest, bytes, directories, files, devices } = manifest;
  return {
    version,
    platform,
    arch,
    release,
    digest,
    bytes,
    directories: directories.map(({ path, mode }) => ({ path, mode })),
    files: files.map(({ path, mode, bytes: size, sha256 }) => ({ path, mode, bytes: size, sha256 })),
    devices: [...devices],
  };
};

/** The one encoding of a manifest that is signed. */
const messageOf = (manifest: Manifest): Uint8Array => Buffer.from(CONTEXT + JSON.stringify(ordered(manifest)));

/** Digest of a base without an archive: of what it lists. */
export const listDigest = ({
  directories,
  files,
  devices,
}: Pick<Manifest, 'directories' | 'files' | 'devices'>): string =>
  createHash('sha256').update(JSON.stringify({ directories, files, devices })).digest('hex');

/** A mode as manifests have it. */
export const renderMode = (mode: number): string => mode.toString(8).padStart(4, '0');

/** The text of a manifest's file: the same for the same manifest and key. */
const render = ({ manifest, signature }: SignedManifest): string => {
  const { algorithm, key, value } = signature;
  return `${JSON.stringify({ manifest: ordered(manifest), signature: { algorithm, key, value } }, null, 1)}\n`;
};

/** Errors: image.invalid when it is no manifest: then nobody may sign it. */
export const signManifest = (manifest: Manifest, key: SigningKey): string => {
  const checked = parseManifest(manifest, 'manifest');
  const signature = { algorithm: 'ed25519' as const, key: key.id, value: key.sign(messageOf(checked)) };
  return render({ manifest: checked, signature });
};

const toValue = (text: string, source: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new BrigError('image.invalid', `read ${source}: expected JSON, got something else`);
  }
};

/**
 * Parses the text of a manifest's file. Any other spelling of the same is refused: a key that is there twice,
 * or a number in other digits, could mean another thing to another reader.
 * Errors: image.invalid.
 */
export const parseSigned = (text: string, source: string): SignedManifest => {
  const value = toValue(text, source);
  if (typeof value === 'object' && value !== null && !('signature' in value))
    throw new BrigError('image.invalid', `unsigned: ${source} has no signature`);
  const signed = parseSignedManifest(value, source);
  if (render(signed) !== text)
    throw new BrigError('image.invalid', `read ${source}: expected the spelling that brig writes, got another`);
  return signed;
};

/** Whether this public key made the signature. */
export const isSigned = ({ manifest, signature }: SignedManifest, publicBytes: Uint8Array): boolean =>
  isSignedBy(publicBytes, messageOf(manifest), signature.value);
