import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Frame } from '../../api/frames.ts';
import { BrigError, messageOf } from '../../base/errors.ts';
import { Inbox, Rooms } from '../../base/inbox.ts';
import { IMAGE } from '../../base/limits.ts';
import { referredName } from '../../base/secret.ts';
import { parseBytes } from '../../base/units.ts';
import { openSource, type Opened } from '../../io/image-source.ts';
import type { ImageView } from '../../platform/images.ts';
import type { ImageOfferInput, Provenance } from '../../spec/image.ts';
import type { Call, Values } from '../command.ts';
import { asText, given } from '../document.ts';
import { Transfer } from '../transfer.ts';

const usage = (reason: string, hint: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: ${reason}`, { hint });

/** Pieces of whole chunks; a chunk of zeros is told, not sent. */
const toPieces = async function* (data: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  const zeros = Buffer.alloc(IMAGE.chunkBytes);
  const inbox = new Inbox(data);
  const rooms = new Rooms(IMAGE.chunkBytes);
  for (;;) {
    const room = rooms.next(IMAGE.chunkBytes);
    const chunk = room.subarray(0, await inbox.takeInto(room));
    if (chunk.length === 0) return;
    yield zeros.subarray(0, chunk.length).equals(chunk) ? { zeros: chunk.length } : { data: chunk };
  }
};

const diskFrames = async function* (data: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  yield* toPieces(data);
  yield { end: 'disk' };
};

const maxBytesOf = (values: Values): number => {
  const size = asText(values['max-size']);
  const bytes = size === undefined ? IMAGE.importBytes : parseBytes(size);
  if (bytes === undefined || bytes > IMAGE.diskBytes) throw usage(`expected --max-size of at most 1T, got ${size}`, '');
  return bytes;
};

/** What the importer vouches for. */
const provenanceOf = (values: Values, source: string): Provenance | undefined => {
  const sha256 = asText(values.sha256)?.toLowerCase();
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
    throw usage(`expected --sha256 of 64 hexadecimal digits, got ${sha256}`, 'the digest of the file as it comes');
  const shown = source.replaceAll(/[^\x20-\x7e]/g, '?').slice(-300);
  if (sha256 !== undefined) return { source: shown, sha256, verified: 'sha256' };
  return values.insecure === true ? { source: shown, verified: 'none' } : undefined;
};

const checkDigest = (opened: Opened, provenance: Provenance | undefined): string => {
  const got = opened.sha256();
  if (provenance?.sha256 !== undefined && provenance.sha256 !== got)
    throw new BrigError('image.invalid', `import ${opened.name}: expected sha-256 ${provenance.sha256}, got ${got}`);
  return got;
};

const about = (values: Values): { name: string; version: string } & Record<string, unknown> => {
  const [name, version] = [asText(values.name), asText(values.version)];
  if (name === undefined || version === undefined)
    throw usage('expected --name and --version for a disk, got neither or one', 'an archive brings its own');
  const { arch, os, firmware } = values;
  return { name, version, ...given({ arch, os, firmware }), cloudInit: values['cloud-init'] === true };
};

/** Frames of an archive or of one disk. */
const framesOf = async function* (opened: Opened, values: Values): AsyncGenerator<Frame> {
  const provenance = provenanceOf(values, opened.name);
  const { source } = opened;
  if (source.kind === 'archive') {
    const { manifest, disks } = source.content;
    yield { json: { manifest, ...(provenance ? { provenance } : {}) } satisfies ImageOfferInput };
    for await (const { data } of disks()) yield* diskFrames(data);
  } else {
    if (!provenance)
      throw usage(
        'expected --sha256 or --insecure for a disk that nobody signed, got neither',
        'what is taken --insecure is marked for ever',
      );
    yield { json: { about: about(values), provenance } };
    yield* diskFrames(source.data);
  }
  yield { json: { sha256: checkDigest(opened, provenance) } };
  yield { end: 'all' };
};

/** Whoever interrupts it: brigd hears of no end, and keeps nothing. */
const interruptible = async <T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  const controller = new AbortController();
  const stop = (): void =>
    controller.abort(new BrigError('saga.cancelled', `${what}: interrupted; nothing is left of it`));
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
};

/** A header's value, and no more than one. */
const TOKEN = /^[\x21-\x7e]([\x20-\x7e]{0,4094}[\x21-\x7e])?$/;

/** What the secret of --token says. Errors: usage.invalid, without anything of a value. */
const tokenOf = async ({ client, values }: Call, from: string): Promise<string | undefined> => {
  const token = asText(values.token);
  if (token === undefined) return undefined;
  const name = referredName(token);
  if (name === undefined)
    throw usage(
      'expected --token secret:NAME, got something else',
      'what is among the arguments, everybody on the host sees; brig secret set NAME',
    );
  if (!/^https:/i.test(from)) throw usage('expected an https URL with --token, got another source', '');
  const value = await client.secrets.open(name);
  const said = value.toString('latin1').trimEnd();
  value.fill(0);
  if (TOKEN.test(said)) return said;
  throw usage(`expected one line of printable ASCII in ${token}, got something else`, `brig secret set ${name}`);
};

export const importImage = async (call: Call, from: string): Promise<ImageView> => {
  const { client, values } = call;
  const transfer = new Transfer(`import ${from}`);
  const onRead = (done: number, total: number | undefined): void => transfer.tell(done, total);
  const maxBytes = maxBytesOf(values);
  const opened = await openSource({ from, token: await tokenOf(call, from), maxBytes, onRead });
  try {
    return await interruptible(`import ${from}`, (signal) => client.takeImage(framesOf(opened, values), signal));
  } finally {
    transfer.end();
    await opened.close();
  }
};

/** Frames of an image whose disks are local files, plain or packed. */
const buildFrames = async function* (path: string, values: Values, transfer: Transfer): AsyncGenerator<Frame> {
  const [{ parseImageDocument }, { parseText }] = await Promise.all([
    import('../../spec/image.ts'),
    import('../../spec/document.ts'),
  ]);
  const { disks, ...rest } = parseImageDocument(parseText(await readFile(path, 'utf8'), path), path);
  yield {
    json: { about: rest, provenance: { source: 'brig image build', verified: 'built' } } satisfies ImageOfferInput,
  };
  for (const disk of disks) {
    const from = resolve(dirname(path), disk);
    const onRead = (done: number, total: number | undefined): void => transfer.tell(done, total);
    const opened = await openSource({ from, maxBytes: maxBytesOf(values), onRead });
    try {
      if (opened.source.kind === 'archive')
        throw new BrigError('image.invalid', `build ${path}: ${disk} is an archive, not a disk`);
      yield* diskFrames(opened.source.data);
    } finally {
      await opened.close();
    }
  }
  yield { json: {} };
  yield { end: 'all' };
};

export const buildImage = async ({ client, values }: Call, path: string): Promise<ImageView> => {
  await stat(path).catch((error: unknown) => {
    throw new BrigError('image.invalid', `build ${path}: ${messageOf(error).split(', ')[0]}`);
  });
  const transfer = new Transfer(`build ${path}`);
  try {
    return await interruptible(`build ${path}`, (signal) =>
      client.takeImage(buildFrames(path, values, transfer), signal),
    );
  } finally {
    transfer.end();
  }
};

/** An image of a VM's disks: brigd reads them. `from`: VM, stopped, or VM@SNAPSHOT. */
export const buildFrom = async ({ client, values }: Call, from: string): Promise<ImageView> => {
  const [vm = '', snapshot] = from.split('@');
  const { cloudInit, ...said } = about(values);
  return await client.imageFrom(vm, snapshot, { ...said, ...(cloudInit === true ? { cloudInit } : {}) });
};
