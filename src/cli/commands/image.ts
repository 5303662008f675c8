import { createWriteStream } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BrigError, messageOf } from '../../base/errors.ts';
import { IMAGE } from '../../base/limits.ts';
import { escapeControls } from '../../base/units.ts';
import type { KeyView } from '../../platform/images.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { renderGc, renderImage, renderImageReport, renderImages, short } from '../image-render.ts';
import { table } from '../render.ts';
import { Transfer } from '../transfer.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${imageCommand.usage}` });

const show = <T>(call: Call, value: T, render: (value: T) => string): void => {
  if (call.json) printJson(value);
  else print(render(value));
};

const came = (call: Call, view: { digest: string; name?: string; version?: string }): void =>
  show(call, view, ({ digest, name, version }) => `${name}:${version}  ${short(digest)}`);

function* zeros(bytes: number): Generator<Buffer> {
  const chunk = Buffer.alloc(IMAGE.frameBytes);
  for (let left = bytes; left > 0; left -= chunk.length) yield chunk.subarray(0, left);
}

/** Bytes of an image's archive. */
const archiveOf = async function* (call: Call, ref: string): AsyncGenerator<Buffer> {
  const [{ packImage }, { renderImage: renderText }] = await Promise.all([
    import('../../io/image-archive.ts'),
    import('../../spec/image.ts'),
  ]);
  const { client } = call;
  const image = await client.showImage(ref);
  const transfer = new Transfer(`export ${ref}`);
  const total = image.manifest.disks.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const dataOf = async function* (disk: number): AsyncGenerator<Buffer> {
    for await (const piece of client.readDisk(ref, disk)) {
      for (const data of 'data' in piece ? [piece.data] : zeros(piece.zeros)) {
        transfer.tell((done += data.length), total);
        yield data;
      }
    }
  };
  const disks = async function* () {
    for (const [i, { bytes }] of image.manifest.disks.entries())
      yield await Promise.resolve({ bytes, data: dataOf(i) });
  };
  try {
    yield* packImage({ manifest: renderText(image), disks });
  } finally {
    transfer.end();
  }
};

const exportImage = async (call: Call, ref: string, to: string): Promise<void> => {
  if (to === '-') return await pipeline(archiveOf(call, ref), process.stdout, { end: false });
  const fresh = `${to}.brig-new`;
  const clean = (): void => void rm(fresh, { force: true }).finally(() => process.exit(130));
  process.on('SIGINT', clean);
  try {
    await pipeline(archiveOf(call, ref), createWriteStream(fresh, { mode: 0o644 }));
    await rename(fresh, to);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error instanceof BrigError ? error : new BrigError('host.failed', `export ${ref}: ${messageOf(error)}`);
  } finally {
    process.off('SIGINT', clean);
  }
};

const renderKeys = (keys: readonly KeyView[]): string =>
  table([['NAME', 'KEY', 'MAY SIGN'], ...keys.map(({ name, id, rights }) => [name, id, rights.join(', ')])])
    .map((row) => row.join('  ').trimEnd())
    .join('\n');

const trust = async (call: Call, name: string | undefined, file: string | undefined): Promise<void> => {
  if (name === undefined) return show(call, await call.client.keys(), renderKeys);
  if (file === undefined) throw usage('NAME and the file of a public key after trust');
  const line = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new BrigError('acl.invalid', `read ${file}: ${messageOf(error).split(', ')[0]}`);
  });
  show(call, await call.client.trustKey(name, line), (key) => `${key.name}  ${key.id}`);
};

type Verb = (call: Call, first: string, second: string | undefined) => Promise<void>;

/** With the least operands that each takes after its name. */
const VERBS: Readonly<Record<string, readonly [number, number, Verb]>> = {
  list: [0, 0, async (call) => show(call, await call.client.images(), (images) => renderImages(images, Date.now()))],
  show: [
    1,
    1,
    async (call, ref) => {
      const image = await call.client.showImage(ref);
      if (call.json) return printJson(image);
      const views = await call.client.images();
      const { name, version } = image.manifest;
      const view = views.find((each) => each.name === name && each.version === version);
      print(renderImage(image, view?.digest ?? ref));
    },
  ],
  import: [1, 1, async (call, from) => came(call, await (await import('./image-import.ts')).importImage(call, from))],
  build: [
    0,
    1,
    async (call, path) => {
      const { buildFrom, buildImage } = await import('./image-import.ts');
      const { from } = call.values;
      if ((typeof from === 'string') === call.operands.length > 1)
        throw usage('FILE or --from VM[@SNAPSHOT] after build');
      came(call, typeof from === 'string' ? await buildFrom(call, from) : await buildImage(call, path));
    },
  ],
  verify: [
    1,
    1,
    async (call, ref) => {
      const report = await call.client.verifyImage(ref);
      show(call, report, renderImageReport);
      if (!report.ok) process.exitCode = 65;
    },
  ],
  sign: [
    1,
    1,
    async (call, ref) => {
      const { key } = call.values;
      came(call, await call.client.signImage(ref, typeof key === 'string' ? resolve(key) : undefined));
    },
  ],
  trust: [0, 2, trust],
  revoke: [
    1,
    1,
    async (call, name) => show(call, await call.client.revokeKey(name), ({ id }) => `${id} may not sign any more`),
  ],
  export: [2, 2, (call, ref, to = '-') => exportImage(call, ref, to)],
  rm: [
    1,
    1,
    async (call, ref) => {
      const answer = await call.client.removeImage(ref, call.values.promote === true);
      if (call.json) printJson(answer);
    },
  ],
  gc: [
    0,
    0,
    async (call) => {
      const isDry = call.values['dry-run'] === true;
      show(call, await call.client.collectImages(isDry), (lines) => renderGc(lines, isDry));
    },
  ],
};

export const imageCommand: CliCommand = {
  usage:
    'brig image list | show IMAGE | import FILE|DIRECTORY|URL|- [--sha256 DIGEST | --insecure] [--name N --version V [--arch A] [--os TEXT] [--firmware uefi|test|none] [--cloud-init]] [--max-size 1T] | build FILE | build --from VM[@SNAPSHOT] --name N --version V | verify IMAGE | sign IMAGE [--key FILE] | trust [NAME FILE] | revoke KEY | export IMAGE FILE|- | rm IMAGE [--promote] | gc [--dry-run] [--json]',
  summary: 'disks that VMs begin with, signed and by digest',
  options: {
    ...{
      sha256: { type: 'string' },
      insecure: { type: 'boolean' },
      name: { type: 'string' },
      version: { type: 'string' },
    },
    ...{
      arch: { type: 'string' },
      os: { type: 'string' },
      firmware: { type: 'string' },
      'cloud-init': { type: 'boolean' },
    },
    ...{
      from: { type: 'string' },
      promote: { type: 'boolean' },
      'max-size': { type: 'string' },
      key: { type: 'string' },
      'dry-run': { type: 'boolean', short: 'n' },
    },
  },
  operands: [1, 3],
  run: async (call) => {
    const [verb = '', ...rest] = call.operands;
    const found = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!found) throw usage(`${Object.keys(VERBS).join(', ')}, got ${escapeControls(verb)}`);
    const [least, most, work] = found;
    if (rest.length < least || rest.length > most)
      throw usage(`${least === most ? least : `${least} to ${most}`} operands after ${verb}, got ${rest.length}`);
    await work(call, rest[0] as string, rest[1]);
  },
};
