import type { DiskPort, Host } from '../base/host.ts';
import type { ImageManifest, SignedImage } from '../spec/image.ts';

/** A disk on its way in: its size is known when it is finished. */
export interface DiskSink {
  /** Places are multiples of a chunk, and come in any order. */
  write(at: number, data: Uint8Array): Promise<void>;
  /** Durable when it resolves. Units: bytes of the whole disk. */
  finish(bytes: number): Promise<void>;
  /** Whatever is open is closed, as it is. */
  abandon(): Promise<void>;
}

/** Where a VM's disk is taken from: a snapshot to clone, or a file to copy or to lay over. */
export type Origin = { readonly zvol: string } | { readonly file: string };

/**
 * How the disks of images are kept, by the image's digest. A name that begins with `new-` is on its way.
 * Nothing of it is anybody's disk before `settle`.
 */
export interface ImageDisks {
  readonly kind: 'zfs' | 'files';
  /** Makes what it needs on this node. */
  prepare(host: Host): Promise<void>;
  /** Digests and names on their way. */
  list(host: Host): Promise<string[]>;
  begin(host: Host, id: string): Promise<void>;
  /** `bytes`: of the whole disk, where that is known. */
  create(host: Host, id: string, disk: number, bytes?: number): Promise<DiskSink>;
  /** From now on they are this image's, and nobody changes them. */
  settle(host: Host, id: string, digest: string, disks: number): Promise<void>;
  open(host: Host, digest: string, disk: number): Promise<DiskPort>;
  origin(digest: string, disk: number): Origin;
  /** Whether all disks are there, without reading them. */
  isWhole(host: Host, digest: string, manifest: ImageManifest): Promise<boolean>;
  /** Absent is success. Errors: image.inUse when something was made of it that brig does not know. */
  remove(host: Host, id: string, disks: number): Promise<void>;
}

/** One image as `brig image list` gives it. Shape is stable: keys are added, never changed. */
export interface ImageView {
  readonly digest: string;
  readonly name?: string;
  readonly version?: string;
  readonly arch?: string;
  readonly os?: string;
  readonly firmware?: string;
  readonly cloudInit?: boolean;
  /** Sizes of its disks. Units: bytes. */
  readonly disks?: readonly number[];
  /** What its importer had to trust; `signature`: nothing but the key. */
  readonly verified?: 'signature' | 'sha256' | 'built' | 'none';
  readonly source?: string;
  /** Fingerprint of the key that signed it. */
  readonly key?: string;
  /** VMs may be made of it. */
  readonly usable: boolean;
  /** Why not. */
  readonly problem?: string;
  readonly importedMs?: number;
  /** VMs that were made of it. */
  readonly users: number;
}

export interface ImageReport {
  readonly digest: string;
  readonly ok: boolean;
  readonly bytes: number;
  readonly problems: readonly string[];
}

/** What `brig image gc` found about one image, or one that never came to be. */
export interface GcLine {
  readonly digest: string;
  readonly name: string;
  readonly bytes: number;
  readonly keep: boolean;
  readonly why: string;
}

/** A piece of a disk on its way: bytes, or as many zeros. Each but the last is whole chunks; bytes are at most one. */
export type Piece = { readonly data: Buffer } | { readonly zeros: number };

/** One that comes in: what it says of itself, then its disks one after the other. */
export interface Incoming {
  readonly offer: unknown;
  disks(): AsyncIterable<AsyncIterable<Piece>>;
  /** What only became known at the end. Errors: whatever the sender said is wrong. */
  end(): Promise<{ readonly sha256?: string }>;
}

/** A key that may sign here. */
export interface KeyView {
  readonly id: string;
  readonly name: string;
  readonly rights: readonly string[];
}

/** Who may sign what here. */
export interface Trusting {
  list(host: Host): Promise<KeyView[]>;
  /** `line`: the text of the key's public file. Errors: acl.invalid, acl.denied. */
  add(host: Host, name: string, line: unknown): Promise<KeyView>;
  /** By name or fingerprint. Errors: acl.invalid. */
  revoke(host: Host, name: string): Promise<KeyView>;
}

/** An image, found by its digest, any beginning of it that no other has, NAME or NAME:VERSION. */
export interface Images {
  list(host: Host): Promise<ImageView[]>;
  show(host: Host, ref: string): Promise<SignedImage>;
  /** Errors: image.invalid, image.exists, acl.denied; nothing is left of it then. */
  take(host: Host, incoming: Incoming, signal?: AbortSignal): Promise<ImageView>;
  verify(host: Host, ref: string): Promise<ImageReport>;
  sign(host: Host, ref: string, keyPath?: string): Promise<ImageView>;
  read(host: Host, ref: string, disk: number): AsyncIterable<Piece>;
  /** Errors: image.inUse. */
  remove(host: Host, ref: string): Promise<{ readonly removed: string }>;
  gc(host: Host, isDry: boolean): Promise<GcLine[]>;
}
