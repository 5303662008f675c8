import type { ArchiveEntry, ArchiveListing } from '../base/host.ts';

/**
 * What the model's `pack` writes in place of a compressed tar: a line for each entry, so that a changed byte is a changed
 * entry, and an archive that was cut short has no end.
 * Shape:  `file 555 163840 SHA256 /bin/sh`, last `end`
 */
export const renderArchive = (entries: readonly ArchiveEntry[]): string =>
  [
    ...entries.map(({ kind, mode, bytes, sha256, path }) => [kind, mode.toString(8), bytes, sha256, path].join(' ')),
    'end\n',
  ].join('\n');

const parseEntry = (line: string): ArchiveEntry | undefined => {
  const match = /^(file|directory) ([0-7]{1,4}) (\d+) ([0-9a-f]{64}) (\/\S*)$/.exec(line);
  if (!match) return undefined;
  const [, kind, mode = '', bytes, sha256 = '', path = ''] = match;
  return {
    path,
    kind: kind === 'file' ? 'file' : 'directory',
    mode: Number.parseInt(mode, 8),
    bytes: Number(bytes),
    sha256,
  };
};

/** Undefined: never was an archive of the model's. */
export const parseArchive = (text: string): ArchiveListing | undefined => {
  const lines = text.split('\n');
  const entries: ArchiveEntry[] = [];
  for (const line of lines) {
    if (line === 'end') return { entries };
    const entry = parseEntry(line);
    if (!entry) break;
    entries.push(entry);
  }
  return entries.length === 0 ? undefined : { entries, trouble: 'unexpected end of file' };
};
