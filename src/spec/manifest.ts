import { z } from 'zod';
import { LIMITS } from '../base/limits.ts';
import { parseWith } from './document.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, { error: 'expected 64 hexadecimal digits' });
const mode = z.string().regex(/^[0-7]{4}$/, { error: 'expected a mode such as 0555' });
const size = z.int().min(0).max(LIMITS.baseBytes);

/** No `.` or `..`, no empty name, nothing that a terminal or a shell would take for something else. */
const path = z
  .string()
  .max(255)
  .regex(/^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._+~@:-]+)+$/, {
    error: 'expected an absolute path of plain names, without . and ..',
  });

/** Ascending, so that nothing is there twice and the same files have one manifest only. */
const ascending = (items: readonly { readonly path: string }[]): boolean =>
  items.every((item, i) => i === 0 || (items[i - 1]?.path ?? '') < item.path);
const inOrder = { error: 'expected paths in ascending order, each once' };

const file = z.strictObject({ path, mode, bytes: size, sha256 });
const directory = z.strictObject({ path: z.union([z.literal('/'), path]), mode });

const manifest = z
  .strictObject({
    version: z.literal(1),
    /** Of an archive that is each jail's root, or of files of the host that each sandbox shows. */
    platform: z.enum(['freebsd', 'linux']),
    /** Of the archive; where there is none, of the list below. */
    digest: sha256,
    /** Of the archive; where there is none, of all files. */
    bytes: size,
    arch: z.enum(['amd64', 'i386', 'aarch64', 'riscv64']),
    /** For people. */
    release: z.string().regex(/^[\x20-\x7e]{1,64}$/, { error: 'expected up to 64 printable characters' }),
    directories: z.array(directory).max(LIMITS.baseFiles).refine(ascending, inOrder),
    files: z.array(file).min(1).max(LIMITS.baseFiles).refine(ascending, inOrder),
    /** Devices that each sandbox shows; an archive has none. */
    devices: z.array(path).max(64),
  })
  .refine(({ files, directories }) => !files.some((each) => directories.some((other) => other.path === each.path)), {
    error: 'expected each path once, got a file and a directory of one name',
  });

export const signedManifest = z.strictObject({
  manifest,
  signature: z.strictObject({
    algorithm: z.literal('ed25519'),
    /** Fingerprint of the public half. */
    key: z.string().regex(/^[0-9a-f]{16}$/, { error: 'expected 16 hexadecimal digits' }),
    value: z.string().regex(/^[A-Za-z0-9+/]{86}==$/, { error: 'expected 64 bytes of base64' }),
  }),
});

/** What is in a base, by path and digest; nothing of when or where it was built. */
export type Manifest = z.output<typeof manifest>;
export type SignedManifest = z.output<typeof signedManifest>;

/** Errors: image.invalid with every problem at once. */
export const parseManifest = (value: unknown, source: string): Manifest =>
  parseWith(manifest, value, source, 'image.invalid');

/** Errors: image.invalid with every problem at once. */
export const parseSignedManifest = (value: unknown, source: string): SignedManifest =>
  parseWith(signedManifest, value, source, 'image.invalid');
