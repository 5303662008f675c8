import { randomBytes } from 'node:crypto';
import { createWriteStream, rmSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BrigError, messageOf } from '../../base/errors.ts';
import { IMAGE } from '../../base/limits.ts';
import type { KeyView } from '../../platform/images.ts';
import { print, printJson, show, withVerbs, type Call, type CliVerb, type Options } from '../command.ts';
import { renderGc, renderImage, renderImageReport, renderImages } from '../image-render.ts';
import { renderTable, short } from '../render.ts';
import { onSignals } from '../terminal.ts';
import { Transfer } from '../transfer.ts';

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
  // Nobody else in the directory knows its name before it is there.
  const fresh = `${to}.${randomBytes(6).toString('hex')}`;
  const stop = onSignals(() => rmSync(fresh, { force: true }));
  try {
    await pipeline(archiveOf(call, ref), createWriteStream(fresh, { flags: 'wx', mode: 0o644 }));
    await rename(fresh, to);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error instanceof BrigError ? error : new BrigError('host.failed', `export ${ref}: ${messageOf(error)}`);
  } finally {
    stop();
  }
};

const renderKeys = (keys: readonly KeyView[]): string =>
  renderTable(
    ['NAME', 'KEY', 'MAY SIGN'],
    keys.map(({ name, id, rights }) => [name, id, rights.join(', ')]),
  );

const trustKey = async (call: Call, name: string | undefined, file: string | undefined): Promise<void> => {
  if (name === undefined) return show(call, await call.client.keys(), renderKeys);
  if (file === undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected NAME and the file of a public key after trust', {
      hint: 'usage: brig image trust [NAME FILE]',
    });
  const line = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new BrigError('acl.invalid', `read ${file}: ${messageOf(error).split(', ')[0]}`);
  });
  show(call, await call.client.trustKey(name, line), (key) => `${key.name}  ${key.id}`);
};

const list: CliVerb = {
  usage: 'list',
  summary: 'all images, and how many VMs were made of each',
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig image list', 'brig image list --json'],
  run: async (call) => show(call, await call.client.images(), (images) => renderImages(images, Date.now())),
};

const showOne: CliVerb = {
  usage: 'show IMAGE',
  summary: 'one image: its disks, where it came from and who signed it',
  options: {},
  operands: [1, 1],
  complete: ['image'],
  examples: ['brig image show debian:13', 'brig image show 0f3a91 --json'],
  run: async (call, ref: string) => {
    const image = await call.client.showImage(ref);
    if (call.json) return printJson(image);
    const views = await call.client.images();
    const { name, version } = image.manifest;
    const view = views.find((each) => each.name === name && each.version === version);
    print(renderImage(image, view?.digest ?? ref));
  },
};

const text = (value: string, about: string, is: 'text' | 'file' | readonly string[] = 'text') =>
  ({ type: 'string', about, value, is }) as const;

/** What an image of plain disks is called. */
const CALLED: Options = {
  name: text('N', "the image's name"),
  version: text('V', "the image's version"),
  arch: text('ARCH', 'what its guests run on', ['amd64', 'i386', 'aarch64', 'riscv64']),
  os: text('TEXT', 'what is on it, for people'),
  firmware: text('FIRMWARE', 'what its guests boot by: uefi, test or none', ['uefi', 'test', 'none']),
  'cloud-init': { type: 'boolean', about: 'its guests look for a cloud-init seed' },
};
const MAX_SIZE: Options = { 'max-size': text('SIZE', 'refuse a disk of more than this, 1T unless given') };

const importOne: CliVerb = {
  usage:
    'import FILE|DIRECTORY|URL|- [--token secret:NAME] [--sha256 DIGEST | --insecure] [--name N --version V [--arch ARCH] [--os TEXT] [--firmware uefi|test|none] [--cloud-init]] [--max-size 1T]',
  summary: 'bring in an archive that image export made, or a disk, packed or not',
  options: {
    sha256: text('DIGEST', 'the digest of the file as it comes'),
    token: text('secret:NAME', 'a secret that the server of the URL wants to see'),
    insecure: { type: 'boolean', about: 'take what nobody vouches for; the image says so for ever' },
    ...CALLED,
    ...MAX_SIZE,
  },
  operands: [1, 1],
  complete: ['file'],
  examples: [
    'brig image import debian-13.tar.zst',
    'brig image import https://images.example.org/web-3.tar.zst --token secret:registry',
    'brig image import disk.qcow2 --insecure --name debian --version 13 --firmware uefi --cloud-init',
  ],
  run: async (call, from: string) => came(call, await (await import('./image-import.ts')).importImage(call, from)),
};

const build: CliVerb = {
  usage:
    'build FILE [--max-size 1T] | build --from VM[@SNAPSHOT] --name N --version V [--arch ARCH] [--os TEXT] [--firmware uefi|test|none] [--cloud-init]',
  summary: "make an image of local disks, or of a VM's",
  options: {
    from: { type: 'string', about: 'a stopped VM, or a snapshot', value: 'VM[@SNAPSHOT]', is: 'vm@snapshot' },
    ...CALLED,
    ...MAX_SIZE,
  },
  operands: [0, 1],
  complete: ['file'],
  examples: [
    'brig image build image.yaml',
    'brig image build --from web01 --name web --version 1',
    'brig image build --from web01@before-upgrade --name web --version 2',
  ],
  run: async (call, path?: string) => {
    const { buildFrom, buildImage } = await import('./image-import.ts');
    const { from } = call.values;
    if (typeof from === 'string' && path === undefined) return came(call, await buildFrom(call, from));
    if (from === undefined && path !== undefined) return came(call, await buildImage(call, path));
    throw new BrigError('usage.invalid', 'read arguments: expected FILE or --from VM[@SNAPSHOT] after build', {
      hint: `usage: brig image ${build.usage}`,
    });
  },
};

const verify: CliVerb = {
  usage: 'verify IMAGE',
  summary: 'read all of it anew; exit 0 only when it is as it was signed',
  options: {},
  operands: [1, 1],
  complete: ['image'],
  examples: ['brig image verify debian:13', 'brig image verify debian --json'],
  run: async (call, ref: string) => {
    const report = await call.client.verifyImage(ref);
    show(call, report, renderImageReport);
    if (!report.ok) process.exitCode = 65;
  },
};

const sign: CliVerb = {
  usage: 'sign IMAGE [--key FILE]',
  summary: "sign an image with this host's key, or with another",
  options: { key: text('FILE', 'a key that may sign images here', 'file') },
  operands: [1, 1],
  complete: ['image'],
  examples: ['brig image sign debian:13', 'brig image sign debian:13 --key /root/release.key'],
  run: async (call, ref: string) => {
    const { key } = call.values;
    came(call, await call.client.signImage(ref, typeof key === 'string' ? resolve(key) : undefined));
  },
};

const trust: CliVerb = {
  usage: 'trust [NAME FILE]',
  summary: 'let a public key sign here what its file says; without operands, list the keys',
  options: {},
  operands: [0, 2],
  complete: ['text', 'file'],
  examples: ['brig image trust', 'brig image trust builder builder.pub'],
  run: trustKey,
};

const revoke: CliVerb = {
  usage: 'revoke KEY',
  summary: 'nothing that this key signed counts any more',
  options: {},
  operands: [1, 1],
  complete: ['key'],
  examples: ['brig image revoke builder', 'brig image revoke 0123456789abcdef'],
  run: async (call, name: string) =>
    show(call, await call.client.revokeKey(name), ({ id }) => `${id} may not sign any more`),
};

const exportOne: CliVerb = {
  usage: 'export IMAGE FILE|-',
  summary: 'write its archive; the same image gives the same bytes',
  options: {},
  operands: [2, 2],
  complete: ['image', 'file'],
  examples: ['brig image export debian:13 debian-13.tar', 'brig image export debian:13 -'],
  run: exportImage,
};

const remove: CliVerb = {
  usage: 'rm IMAGE [--promote]',
  summary: 'remove an image of which no VM was made',
  options: { promote: { type: 'boolean', about: 'give its data to the one VM that was made of it' } },
  operands: [1, 1],
  complete: ['image'],
  examples: ['brig image rm debian:12', 'brig image rm web:1 --promote'],
  run: async (call, ref: string) => {
    const answer = await call.client.removeImage(ref, call.values.promote === true);
    if (call.json) printJson(answer);
  },
};

const gc: CliVerb = {
  usage: 'gc [--dry-run]',
  summary: 'remove what no VM was made of, but the last of each name, and what imports left',
  options: { 'dry-run': { type: 'boolean', short: 'n', about: 'only say what would be removed, and why' } },
  operands: [0, 0],
  complete: [],
  examples: ['brig image gc --dry-run', 'brig image gc'],
  run: async (call) => {
    const isDry = call.values['dry-run'] === true;
    show(call, await call.client.collectImages(isDry), (lines) => renderGc(lines, isDry));
  },
};

export const imageCommand = withVerbs('image', 'disks that VMs begin with, signed and by digest', {
  ...{ list, show: showOne, import: importOne, build, verify, sign, trust, revoke },
  ...{ export: exportOne, rm: remove, gc },
});
