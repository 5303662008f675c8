import type { Host } from '../base/host.ts';
import type { SignedManifest } from '../spec/manifest.ts';

/** One base as `brig base list` gives it. Shape is stable: keys are added, never changed. */
export interface BaseView {
  /** sha-256 of its archive, or of its list of files; hexadecimal. */
  readonly digest: string;
  /** Starts use it. */
  readonly current: boolean;
  /** When its file was made, milliseconds since the epoch. */
  readonly builtMs?: number;
  readonly files?: number;
  readonly bytes?: number;
  readonly arch?: string;
  readonly release?: string;
  /** Fingerprint of the key that signed it. */
  readonly key?: string;
  /** VMs that run on it. */
  readonly usedBy: readonly string[];
  readonly verified: boolean;
  /** Why it is not. */
  readonly problem?: string;
}

/** What reading all of a base found. */
export interface BaseReport {
  readonly digest: string;
  readonly ok: boolean;
  readonly files: number;
  readonly problems: readonly string[];
}

/**
 * What every VM's root is made of, signed and by digest. Running VMs keep theirs.
 * A base is named by its digest, any beginning of it that no other has, or `current`.
 */
export interface Bases {
  /** Makes one of this host's files and makes it current. `keyPath`: signed by that key instead of the host's own. */
  build(host: Host, keyPath?: string): Promise<BaseView>;
  list(host: Host): Promise<BaseView[]>;
  show(host: Host, name: string): Promise<SignedManifest>;
  /** Reads everything anew. */
  verify(host: Host, name: string): Promise<BaseReport>;
  /** Errors: image.inUse for the current one, and for one that VMs run on. */
  remove(host: Host, name: string): Promise<{ readonly removed: string }>;
}
