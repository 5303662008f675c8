import type { GcLine } from '../platform/images.ts';
import type { ImageManifest, SignedImage } from '../spec/image.ts';

/** An image as it is in the store. */
export interface Entry {
  readonly digest: string;
  readonly signed?: SignedImage;
  readonly problem?: string;
  readonly importedMs?: number;
}

export const refOf = ({ name, version }: Pick<ImageManifest, 'name' | 'version'>): string => `${name}:${version}`;

export const bytesOf = (signed: SignedImage | undefined): number =>
  signed?.manifest.disks.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;

const newestOf = (entries: readonly Entry[]): ReadonlyMap<string, Entry> => {
  const newest = new Map<string, Entry>();
  for (const entry of entries) {
    const name = entry.signed?.manifest.name;
    if (name !== undefined && (entry.importedMs ?? 0) >= (newest.get(name)?.importedMs ?? 0)) newest.set(name, entry);
  }
  return newest;
};

const judgeOne = ({ digest, signed }: Entry, users: number, newest: Entry | undefined): GcLine => {
  const line = { digest, name: signed ? refOf(signed.manifest) : '-', bytes: bytesOf(signed) };
  if (users > 0) return { ...line, keep: true, why: `${users} VM${users === 1 ? ' was' : 's were'} made of it` };
  if (!signed) return { ...line, keep: false, why: 'it has no manifest, and no VM was made of it' };
  const { name } = signed.manifest;
  return newest?.digest === digest
    ? { ...line, keep: true, why: `the last ${name} that came` }
    : { ...line, keep: false, why: `a later ${name} came, and no VM was made of this one` };
};

/** What a collection keeps and what it frees: all that no VM was made of, but the last of each name. */
export const judge = (
  entries: readonly Entry[],
  leftovers: readonly string[],
  users: (digest: string) => number,
): GcLine[] => {
  const newest = newestOf(entries);
  return [
    ...entries.map((entry) => judgeOne(entry, users(entry.digest), newest.get(entry.signed?.manifest.name ?? ''))),
    ...leftovers.map((digest) => ({ digest, name: '-', bytes: 0, keep: false, why: 'an import that was cut short' })),
  ];
};
