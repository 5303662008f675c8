import { createHash } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { extract as extractTar, pack as packTar, type Header } from 'tar-stream';
import type { Access, ArchiveEntry, ArchiveListing, PackEntry } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { replace } from './files.ts';

/** Header, content and padding of one entry, without the archive's end. Nothing of the host's clock or users is in it. */
const toTar = async (entry: PackEntry): Promise<Buffer> => {
  const stream = packTar();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk) => chunks.push(chunk as Buffer));
  const content = entry.from === undefined ? undefined : await readFile(entry.from);
  const header = {
    name: nameOf(entry),
    mode: entry.mode,
    mtime: new Date(0),
    uid: 0,
    gid: 0,
    uname: 'root',
    gname: 'wheel',
  };
  const done = new Promise<void>((resolve, reject) => {
    const finish = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (content) stream.entry({ ...header, type: 'file' }, content, finish);
    else stream.entry({ ...header, type: 'directory' }, finish);
  });
  await done;
  await new Promise((resolve) => setImmediate(resolve));
  stream.destroy();
  return Buffer.concat(chunks);
};

/** Names as `tar -C DIR .` writes them: what tarfs(5) was seen to mount. */
const nameOf = (entry: PackEntry): string =>
  `.${entry.path}${entry.from === undefined && entry.path !== '/' ? '/' : ''}`;

/** The other way round; a name that `pack` does not write stays as it is, and fits no manifest. */
const pathOf = (name: string, kind: ArchiveEntry['kind']): string => {
  if (!name.startsWith('./')) return name;
  const path = name.slice(1);
  return kind === 'directory' && path !== '/' && path.endsWith('/') ? path.slice(0, -1) : path;
};

/** Two empty blocks end a tar. Source: tar(5). */
const END = Buffer.alloc(1024);

/** Written out, so that a zstd with another default gives the same bytes. */
const LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 0 } };

/** A frame for each entry, so that tarfs(5) can read one file without unpacking those before it. */
export const pack = async (entries: readonly PackEntry[], to: string, access: Access): Promise<void> => {
  try {
    const frames: Buffer[] = [];
    for (const entry of entries) frames.push(zstdCompressSync(await toTar(entry), LEVEL));
    frames.push(zstdCompressSync(END, LEVEL));
    await replace(to, access, (temporary) => writeFile(temporary, Buffer.concat(frames), { mode: 0o600, flag: 'wx' }));
  } catch (error) {
    throw new BrigError('host.failed', `pack ${to}: ${messageOf(error)}`, { cause: error });
  }
};

/** What Node answers with `info`, which its types do not know. */
interface Unpacked {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

/** The tar, a frame at a time; never more than all files of a root may have together. */
function* framesOf(packed: Buffer): Generator<Buffer> {
  let left = LIMITS.baseBytes;
  for (let rest = packed; rest.length > 0;) {
    const options = { info: true, maxOutputLength: Math.max(1, left) };
    const { buffer, engine } = zstdDecompressSync(rest, options) as unknown as Unpacked;
    left -= buffer.length;
    yield buffer;
    rest = rest.subarray(engine.bytesWritten);
  }
}

const kindOf = (type: Header['type']): ArchiveEntry['kind'] =>
  type === 'file' || type === 'directory' ? type : 'other';

/** The one entry of a frame. */
const readEntry = async (frame: Buffer): Promise<ArchiveEntry> => {
  const stream = extractTar();
  const entries: ArchiveEntry[] = [];
  stream.write(frame);
  stream.end(END);
  for await (const entry of stream) {
    const { name, mode, type } = entry.header;
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of entry) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
    const kind = kindOf(type);
    entries.push({ path: pathOf(name, kind), kind, mode: mode & 0o7777, bytes, sha256: hash.digest('hex') });
  }
  const [first] = entries;
  if (!first || entries.length > 1) throw new Error(`expected one entry in a frame, got ${entries.length}`);
  return first;
};

/** Every entry with its digest, up to where it cannot be read any further. Errors: host.failed when it is not there. */
export const readArchive = async (path: string): Promise<ArchiveListing> => {
  const entries: ArchiveEntry[] = [];
  const packed = await load(path);
  let ended = false;
  try {
    for (const frame of framesOf(packed)) {
      if (ended) throw new Error('something comes after its end');
      if (frame.equals(END)) ended = true;
      else entries.push(await readEntry(frame));
      if (entries.length > 2 * LIMITS.baseFiles) throw new Error(`more than ${2 * LIMITS.baseFiles} entries`);
    }
    return ended ? { entries } : { entries, trouble: 'its end is missing' };
  } catch (error) {
    return { entries, trouble: messageOf(error) };
  }
};

const load = async (path: string): Promise<Buffer> => {
  try {
    const { size } = await stat(path);
    if (size > LIMITS.baseBytes) throw new Error(`expected at most ${LIMITS.baseBytes} bytes, got ${size}`);
    return await readFile(path);
  } catch (error) {
    throw new BrigError('host.failed', `unpack ${path}: ${messageOf(error)}`, { cause: error });
  }
};
