import type { ArchiveEntry, ArchiveListing, FileDigest } from '../base/host.ts';
import { escapeControls } from '../base/units.ts';
import type { Manifest } from '../spec/manifest.ts';
import { renderMode } from './base-manifest.ts';

type SignedFile = Manifest['files'][number];

/** Enough of a digest to tell two apart by eye. */
export const shorten = (digest: string): string => digest.slice(0, 12);

/** How a file differs from what was signed; empty: in nothing. */
export const compareFile = (signed: SignedFile, found: Pick<FileDigest, 'sha256' | 'mode'> | undefined): string[] => {
  const { path, sha256, mode } = signed;
  if (!found) return [`${path} is not there`];
  if (found.sha256 !== sha256)
    return [
      `${path} is not the one that was signed (expected sha-256 ${shorten(sha256)}..., got ${shorten(found.sha256)}...)`,
    ];
  return renderMode(found.mode) === mode
    ? []
    : [`${path} has another mode than was signed (expected ${mode}, got ${renderMode(found.mode)})`];
};

const compareDirectory = (path: string, mode: string, found: ArchiveEntry): string[] =>
  renderMode(found.mode) === mode
    ? []
    : [`${path} has another mode than was signed (expected ${mode}, got ${renderMode(found.mode)})`];

const compareEntry = (manifest: Manifest, found: ArchiveEntry): string[] => {
  const shown = escapeControls(found.path);
  const file = manifest.files.find(({ path }) => path === found.path);
  if (file) return found.kind === 'file' ? compareFile(file, found) : [`${shown} is not a file, as was signed`];
  const directory = manifest.directories.find(({ path }) => path === found.path);
  if (!directory) return [`${shown} is not in what was signed`];
  return found.kind === 'directory'
    ? compareDirectory(shown, directory.mode, found)
    : [`${shown} is not a directory, as was signed`];
};

const twice = (paths: readonly string[]): string[] =>
  [...new Set(paths.filter((path, i) => paths.indexOf(path) < i))].map(
    (path) => `${escapeControls(path)} is there twice`,
  );

/** Every difference between an archive and what was signed; what cannot be read is named by what should be there. */
export const compareArchive = (manifest: Manifest, { entries, trouble }: ArchiveListing): string[] => {
  const found = entries.map(({ path }) => path);
  const missing = [...manifest.directories, ...manifest.files]
    .map(({ path }) => path)
    .filter((path) => !found.includes(path))
    .sort();
  const differences = [...entries.flatMap((entry) => compareEntry(manifest, entry)), ...twice(found)];
  if (trouble === undefined) return [...differences, ...missing.map((path) => `${path} is not there`)];
  const [first] = missing;
  return [...differences, `${first === undefined ? 'it' : `${first} and what follows`} cannot be read: ${trouble}`];
};
