import { z } from 'zod';
import { IMAGE } from '../base/limits.ts';
import { parseWith } from './document.ts';
import { expected } from './fields.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, expected('64 hexadecimal digits'));
const text = (most: number) =>
  z.string().regex(new RegExp(`^[\\x20-\\x7e]{1,${most}}$`), expected(`1 to ${most} printable characters`));

/** Safe in a path, a URL and a terminal. */
export const IMAGE_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const imageName = z.string().regex(IMAGE_NAME, expected('a name of [a-z0-9._-], at most 63 characters'));
/** As an upstream numbers what it publishes. */
const version = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+~-]{0,62}$/, expected('a version of [A-Za-z0-9._+~-], at most 63 characters'));

/** What a disk needs to boot. */
const firmware = z.enum(['uefi', 'test', 'none']);

/**
 * One disk by its content.
 * Units: bytes; `sha256` of all of them, `chunks` of each chunk of IMAGE.chunkBytes, the last may be shorter.
 */
const disk = z
  .strictObject({
    bytes: z.int().min(1).max(IMAGE.diskBytes),
    sha256,
    chunks: z.array(sha256).min(1),
  })
  .refine(({ bytes, chunks }) => chunks.length === Math.ceil(bytes / IMAGE.chunkBytes), {
    path: ['chunks'],
    ...expected('a digest for each chunk of the disk'),
  });

/** Where it came from, and what its importer had to trust. */
const provenance = z.strictObject({
  /** A file's name, a URL or a VM; for people. */
  source: text(300),
  /** Of the file as it came. */
  sha256: sha256.optional(),
  /** sha256: of the file, by somebody who said what it must be; built: made here; none: --insecure. */
  verified: z.enum(['sha256', 'built', 'none']),
});

const size = z.union([z.string().regex(/^\d{1,15}[KMGT]?$/), z.int().min(1)], expected('a size such as 512M'));
const fragment = z.strictObject({
  cpus: z.int().min(1).max(256).optional(),
  memory: size.optional(),
  devices: z
    .strictObject({
      'virtio-rnd': z.boolean().optional(),
      fbuf: z.strictObject({ width: z.int().optional(), height: z.int().optional() }).optional(),
      tpm: z.boolean().optional(),
    })
    .optional(),
});

/** What its builder says of an image. */
export const imageAbout = {
  name: imageName,
  version,
  arch: z.enum(['amd64', 'i386', 'aarch64', 'riscv64']).default('amd64'),
  os: text(64).optional(),
  firmware: firmware.default('uefi'),
  /** Whether the guest reads a NoCloud seed. */
  cloudInit: z.boolean().default(false),
  /** What a VM document that names the image need not say; nothing that reaches the host. */
  spec: fragment.default({}),
};

const manifest = z.strictObject({
  format: z.literal(1),
  ...imageAbout,
  disks: z.array(disk).min(1).max(IMAGE.disks),
  provenance,
});

export const signedImage = z.strictObject({
  manifest,
  signature: z
    .strictObject({
      algorithm: z.literal('ed25519'),
      /** Fingerprint of the public half. */
      key: z.string().regex(/^[0-9a-f]{16}$/, expected('16 hexadecimal digits')),
      value: z.string().regex(/^[A-Za-z0-9+/]{86}==$/, expected('64 bytes of base64')),
    })
    .optional(),
});

export type ImageManifest = z.output<typeof manifest>;
export type SignedImage = z.output<typeof signedImage>;
export type ImageDisk = z.output<typeof disk>;
export type Provenance = z.output<typeof provenance>;

/** Errors: image.invalid with every problem at once. */
export const parseImageManifest = (value: unknown, source: string): ImageManifest =>
  parseWith(manifest, value, source, 'image.invalid');

/** Errors: image.invalid with every problem at once. */
export const parseSignedImage = (value: unknown, source: string): SignedImage =>
  parseWith(signedImage, value, source, 'image.invalid');

const offer = z.union([
  /** An archive's manifest as it was read. */
  z.strictObject({
    manifest: z.string().max(IMAGE.manifestBytes),
    /** What the sender checked itself: the digest of the whole archive. */
    provenance: provenance.optional(),
  }),
  z.strictObject({ about: z.strictObject(imageAbout), provenance }),
]);

/** What somebody wants to bring in, before its disks. */
export type ImageOffer = z.output<typeof offer>;
export type ImageOfferInput = z.input<typeof offer>;

/** Errors: image.invalid. */
export const parseImageOffer = (value: unknown): ImageOffer => parseWith(offer, value, 'image', 'image.invalid');

const document = z.strictObject({ ...imageAbout, disks: z.array(z.string().min(1)).min(1).max(IMAGE.disks) });

/** An image to build of local disks: paths are relative to the document. Errors: image.invalid. */
export type ImageDocument = z.output<typeof document>;
export const parseImageDocument = (value: unknown, source: string): ImageDocument =>
  parseWith(document, value, source, 'image.invalid');

/** Keys in one order, whatever order they came in. */
export const ordered = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, ordered(each)]),
  );
};

/** The text of a manifest's file: the same for the same manifest and key. */
export const renderImage = ({ manifest, signature }: SignedImage): string =>
  `${JSON.stringify({ manifest: ordered(manifest), ...(signature ? { signature: ordered(signature) } : {}) }, null, 1)}\n`;
