import type { Host } from '../base/host.ts';
import type { Manifest } from '../spec/manifest.ts';

/** What tells an archive that VMs mount from a list of the host's own files that VMs see. */
export interface BaseKind {
  readonly platform: Manifest['platform'];
  /** For people. */
  readonly what: string;
  /** End of the name of its file. */
  readonly suffix: string;
  /** Makes a base's file at this path, and says what is in it. */
  make(host: Host, to: string): Promise<Manifest>;
  /** This host's architecture in the words of a manifest. */
  arch(host: Host): Promise<string>;
  /** Whether it has what this brig needs: an older brig may have built another. */
  fits(host: Host, file: string, manifest: Manifest): Promise<boolean>;
  /** Whatever must stay as it is: its file, and all that it refers to. */
  parts(file: string, manifest: Manifest): readonly string[];
  /** How what is there differs from what was signed. `deep`: everything is read, whatever the digest of the whole. */
  differences(host: Host, file: string, manifest: Manifest, deep: boolean): Promise<string[]>;
  /** Names of running VMs by the file they run on. */
  users(host: Host): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Why another should be built although this one is whole; undefined: no reason. */
  outdated(host: Host, manifest: Manifest): Promise<string | undefined>;
}
