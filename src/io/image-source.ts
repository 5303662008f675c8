import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, chown, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { BrigError, messageOf } from '../base/errors.ts';
import { Inbox, Rooms } from '../base/inbox.ts';
import { IMAGE } from '../base/limits.ts';
import { escapeControls } from '../base/units.ts';
import { download } from './fetch.ts';
import { asNobody, filter, type FilterProgram } from './filter.ts';
import { isTar, unpackImage, type ArchiveContent } from './image-archive.ts';

/** What `brig image import` was given, opened as far as it takes to tell what it is. */
export type Source =
  | { readonly kind: 'archive'; readonly content: ArchiveContent }
  | { readonly kind: 'disk'; readonly data: AsyncIterable<Buffer> };

export interface Opened {
  readonly source: Source;
  /** For people. */
  readonly name: string;
  /** Of the whole as it came, once it was read to its end. */
  sha256(): string;
  /** Whatever it needed on the side goes. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** `-` for stdin, an https URL, a file or a directory. */
  readonly from: string;
  /** What the URL's server wants to see. */
  readonly token?: string | undefined;
  /** A disk that is larger is refused. Units: bytes. */
  readonly maxBytes: number;
  /** Told what was read so far, of how much. */
  readonly onRead: (done: number, total: number | undefined) => void;
}

const PIECE_BYTES = 2 ** 18;
/** Enough for the magic numbers below, and for a tar's header. */
const HEAD_BYTES = 4096;

const bad = (name: string, reason: string): BrigError => new BrigError('image.invalid', `import ${name}: ${reason}`);

const FILTERS: readonly (readonly [RegExp, FilterProgram])[] = [
  [/^\x1f\x8b/, { program: '/usr/bin/gzip', args: ['-dc'], package: 'gzip' }],
  [/^\xfd7zXZ\x00/, { program: '/usr/bin/xz', args: ['-dc', '--memlimit-decompress=1GiB'], package: 'xz-utils' }],
  [
    /^(\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)/,
    { program: '/usr/bin/zstd', args: ['-dcq', '--memory=1024MB'], package: 'zstd' },
  ],
  [/^BZh[1-9]/, { program: '/usr/bin/bzip2', args: ['-dc'], package: 'bzip2' }],
];

const filterFor = (head: Buffer): FilterProgram | undefined =>
  FILTERS.find(([magic]) => magic.test(head.toString('latin1', 0, 16)))?.[1];

/** Formats of other hypervisors by their first bytes. Source: qemu's docs/interop. */
const FORMATS: readonly (readonly [RegExp, string])[] = [
  [/^QFI\xfb/, 'qcow2'],
  [/^KDMV/, 'vmdk'],
  [/^# Disk DescriptorFile/, 'vmdk'],
  [/^vhdxfile/, 'vhdx'],
  [/^conectix/, 'vpc'],
];

const formatOf = (head: Buffer, name: string): string | undefined =>
  FORMATS.find(([magic]) => magic.test(head.toString('latin1', 0, 32)))?.[1] ??
  (/\.vhd$/i.test(name) ? 'vpc' : undefined);

/** A disk that is only what differs from another file would show that file to the guest. */
const refuseOthers = (name: string, head: Buffer, format: string): void => {
  const isOther =
    (format === 'qcow2' &&
      (head.readBigUInt64BE(8) !== 0n || (head.readUInt32BE(4) >= 3 && (head.readBigUInt64BE(72) & 4n) !== 0n))) ||
    (format === 'vmdk' && (head.toString('latin1', 0, 4) !== 'KDMV' || head.readBigUInt64LE(16) === 0n));
  if (isOther)
    throw bad(name, `this ${format} needs another file: give it whole, for example by qemu-img convert -O raw`);
};

/** A file from front to back. */
const readFileThrough = async function* (path: string): AsyncGenerator<Buffer> {
  const file = await open(path);
  const rooms = new Rooms(PIECE_BYTES, 6);
  try {
    for (;;) {
      const room = rooms.next(PIECE_BYTES);
      const { bytesRead } = await file.read(room, 0, room.length);
      if (bytesRead === 0) return;
      yield room.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
};

const counted = async function* (
  source: AsyncIterable<Uint8Array>,
  hash: { update(data: Uint8Array): unknown },
  tell: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    hash.update(chunk);
    tell((bytes += chunk.length));
    yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
  }
};

const bounded = async function* (source: AsyncIterable<Buffer>, name: string, most: number): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > most) throw bad(name, `expected a disk of at most ${most} bytes, got more: --max-size allows it`);
    yield chunk;
  }
};

const isUrl = (from: string): boolean => /^[a-z]+:\/\//i.test(from);

const openStream = async (
  from: string,
  token: string | undefined,
): Promise<{ name: string; bytes?: number; data: AsyncIterable<Uint8Array> }> => {
  if (from === '-') return { name: 'stdin', data: process.stdin };
  if (isUrl(from)) return { name: from, ...(await download({ url: from, ...(token === undefined ? {} : { token }) })) };
  const found = await stat(from).catch((error: unknown) => {
    throw bad(from, messageOf(error).split(', ')[0] ?? '');
  });
  if (!found.isFile() && !found.isFIFO())
    throw bad(from, 'expected a file, a directory, a URL or -, got something else');
  return {
    name: basename(from),
    ...(found.isFile() ? { bytes: found.size } : {}),
    data: readFileThrough(from),
  };
};

/** A place of its own that only nobody and root enter. */
const makeRoom = async (): Promise<string> => {
  // A disk may be larger than a /tmp in memory.
  const room = await mkdtemp(join(process.env.TMPDIR ?? '/var/tmp', 'brig-import-'));
  const nobody = asNobody();
  if (nobody) await chown(room, nobody.uid, nobody.gid);
  await chmod(room, 0o700);
  return room;
};

const QEMU_IMG = ['/usr/local/bin/qemu-img', '/usr/bin/qemu-img'] as const;
const CONVERT_TIMEOUT_MS = 4 * 3_600_000;

/** Of `qemu-img check`: leaked clusters hurt nobody; not every format can be checked. Source: qemu-img(1). */
const HARMLESS = [0, 3, 63];

const qemuImg = async (name: string, args: readonly string[], good: readonly number[] = [0]): Promise<string> => {
  for (const program of QEMU_IMG) {
    const { exitCode, code, stdout, stderr } = await execa(program, args, {
      ...asNobody(),
      reject: false,
      extendEnv: false,
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      cwd: '/',
      timeout: CONVERT_TIMEOUT_MS,
    });
    if (code === 'ENOENT') continue;
    if (exitCode !== undefined && good.includes(exitCode)) return stdout;
    const said = stderr.trim().split('\n').at(-1) || stdout.trim().split('\n')[0] || 'no message';
    throw bad(name, `qemu-img ${args[0]}: ${escapeControls(said)}`);
  }
  throw new BrigError('host.missing', `import ${name}: needs qemu-img`, {
    hint: 'install qemu-tools (FreeBSD) or qemu-utils (Debian), or give a raw disk',
  });
};

/** A VHD ends with its footer; qemu-img(1) cannot check one. */
const checkFooter = async (name: string, path: string): Promise<void> => {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const { buffer } = await file.read(Buffer.alloc(8), 0, 8, Math.max(0, size - 512));
    if (buffer.toString('latin1') !== 'conectix') throw bad(name, 'this vhd is cut short: its footer is missing');
  } finally {
    await file.close();
  }
};

/** By way of a file, for such a format is not read from front to back. */
const convert = async function* (
  data: AsyncIterable<Buffer>,
  name: string,
  format: string,
  maxBytes: number,
): AsyncGenerator<Buffer> {
  const room = await makeRoom();
  try {
    const [given, raw] = [join(room, 'given'), join(room, 'raw')];
    await pipeline(data, createWriteStream(given, { mode: 0o644 }));
    if (format === 'vpc') await checkFooter(name, given);
    await qemuImg(name, ['check', '-q', '-f', format, given], HARMLESS);
    const info = JSON.parse(await qemuImg(name, ['info', '--output=json', '-f', format, given])) as Record<
      string,
      unknown
    >;
    if (info['backing-filename'] !== undefined || info['full-backing-filename'] !== undefined)
      throw bad(name, `this ${format} needs another file: give it whole`);
    const size = Number(info['virtual-size']);
    if (!(size > 0 && size <= maxBytes))
      throw bad(name, `expected a disk of at most ${maxBytes} bytes, got ${size}: --max-size allows it`);
    await qemuImg(name, ['convert', '-f', format, '-O', 'raw', given, raw]);
    await rm(given);
    yield* readFileThrough(raw);
  } finally {
    await rm(room, { recursive: true, force: true });
  }
};

const openDirectory = async (directory: string, onRead: OpenOptions['onRead']): Promise<Opened> => {
  const manifestPath = join(directory, 'manifest.json');
  const file = await open(manifestPath).catch((error: unknown) => {
    throw bad(directory, `expected an unpacked archive with manifest.json: ${messageOf(error).split(', ')[0]}`);
  });
  try {
    if ((await file.stat()).size > IMAGE.manifestBytes) throw bad(directory, 'its manifest.json is too large');
    const manifest = await file.readFile('utf8');
    const hash = createHash('sha256').update(manifest);
    let done = 0;
    const content: ArchiveContent = {
      manifest,
      disks: async function* () {
        for (let index = 0; ; index++) {
          const path = join(directory, `disk${index}.raw`);
          const found = await stat(path).catch(() => undefined);
          if (!found) return;
          const before = done;
          const data = readFileThrough(path);
          yield { bytes: found.size, data: counted(data, hash, (bytes) => onRead((done = before + bytes), undefined)) };
        }
      },
    };
    const name = basename(resolve(directory));
    return {
      source: { kind: 'archive', content },
      name,
      sha256: () => hash.digest('hex'),
      close: () => Promise.resolve(),
    };
  } finally {
    await file.close();
  }
};

/** Opens what there is to import. Errors: image.invalid, host.missing with the package, host.failed. */
export const openSource = async ({ from, token, maxBytes, onRead }: OpenOptions): Promise<Opened> => {
  if (from !== '-' && (await stat(from).catch(() => undefined))?.isDirectory())
    return await openDirectory(from, onRead);
  const { name, bytes, data } = await openStream(from, token);
  const hash = createHash('sha256');
  const inboxes = [new Inbox(counted(data, hash, (done) => onRead(done, bytes)))];
  const last = (): Inbox => inboxes.at(-1) as Inbox;
  const program = filterFor(await last().peek(HEAD_BYTES));
  if (program) inboxes.push(new Inbox(filter(last().rest(), program)));
  const head = Buffer.concat([await last().peek(HEAD_BYTES), Buffer.alloc(HEAD_BYTES)], HEAD_BYTES);
  if ((await last().peek(1)).length === 0) throw bad(name, 'it is empty');
  const opened = {
    name,
    sha256: () => hash.digest('hex'),
    close: async () => {
      for (const inbox of inboxes.reverse()) await inbox.close().catch(() => undefined);
    },
  };
  if (isTar(head)) return { ...opened, source: { kind: 'archive', content: await unpackImage(last()) } };
  const inner = name.replace(/\.(gz|xz|zst|bz2)$/i, '');
  const format = formatOf(head, inner);
  if (format !== undefined) refuseOthers(name, head, format);
  const plain = format === undefined ? last().rest() : convert(last().rest(), name, format, maxBytes);
  return { ...opened, source: { kind: 'disk', data: bounded(plain, name, maxBytes) } };
};
