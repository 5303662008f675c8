import { openSigningKey, readTrust, type Trust } from '../acl/trust.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { IMAGE } from '../base/limits.ts';
import type { GcLine, ImageDisks, ImageReport, Images, ImageView, Incoming, Piece } from '../platform/images.ts';
import type { Finding } from '../platform/platform.ts';
import {
  parseImageManifest,
  parseImageOffer,
  renderImage,
  type ImageManifest,
  type SignedImage,
} from '../spec/image.ts';
import { parseVmDocument, type VmSpec } from '../spec/vm.ts';
import { completeDocument, type NodeDefaults } from './complete.ts';
import { shorten } from './base-compare.ts';
import { distrust, imageDigest, parseImageText, signImage } from './image-manifest.ts';
import { bytesOf, judge, refOf, type Entry } from './image-gc.ts';
import { checkDisk, readDisk } from './image-read.ts';
import { receiveDisk } from './receive.ts';

export interface ImageStoreOptions {
  readonly imagesDir: string;
  readonly keysDir: string;
  readonly disks: ImageDisks;
  /** VMs that were made of an image, by its digest. */
  readonly users: (digest: string) => number;
}

const ROOT = { uid: 0, gid: 0 };
const PRIVATE = { mode: 0o600, ...ROOT, durable: true };
const DIGEST = /^[0-9a-f]{64}$/;
const LEFTOVER = /^new-/;

/** What is to become of an offer. */
interface Admitted {
  /** Offers of one key come one after the other. */
  readonly key: string;
  /** Known before the disks come: they must be these. */
  readonly manifest?: ImageManifest;
  /** As it came, when somebody trusted signed it. */
  readonly signed?: SignedImage;
  make(disks: ImageManifest['disks'], sha256: string | undefined): ImageManifest;
}

/**
 * The images of a node, by digest.
 * Shape:  DIGEST.json (manifest and signature) in the images' directory, and its disks where `ImageDisks` keeps them.
 *         Disks come first and the manifest last: an image is there when both are.
 */
export class ImageStore implements Images {
  readonly #o: ImageStoreOptions;
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #parsed = new Map<string, { readonly identity: string; readonly signed: SignedImage }>();
  /** On their way in this process. */
  readonly #coming = new Set<string>();
  readonly #leaving = new Set<string>();

  constructor(options: ImageStoreOptions) {
    this.#o = options;
  }

  #path(digest: string): string {
    return `${this.#o.imagesDir}/${digest}.json`;
  }

  /** What an earlier brigd did not finish goes; a pool that does not answer is told, and VMs run on. */
  async prepare(host: Host): Promise<Finding[]> {
    try {
      await host.mkdir(this.#o.imagesDir, { mode: 0o711, ...ROOT });
      await this.#o.disks.prepare(host);
      for (const id of await this.#o.disks.list(host)) if (LEFTOVER.test(id)) await this.#drop(host, id);
      return [];
    } catch (error) {
      return [{ level: 'warning', what: 'the store of images', got: messageOf(error) }];
    }
  }

  /** One after the other, for whoever wants the same. */
  async #alone<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const done = before.then(work, work);
    const settled = done.catch(() => undefined);
    this.#turns.set(key, settled);
    try {
      return await done;
    } finally {
      if (this.#turns.get(key) === settled) this.#turns.delete(key);
    }
  }

  async #read(host: Host, digest: string): Promise<SignedImage> {
    const path = this.#path(digest);
    const [identity, known] = [await host.identity(path), this.#parsed.get(digest)];
    if (known && identity === known.identity) return known.signed;
    const stat = await host.stat(path);
    if (stat?.kind !== 'file' || stat.bytes > IMAGE.manifestBytes)
      throw new BrigError(
        'image.invalid',
        `read ${path}: expected a manifest, got ${stat ? 'something else' : 'nothing'}`,
      );
    const signed = parseImageText((await host.readFile(path)) ?? '', path);
    if (imageDigest(signed.manifest) !== digest)
      throw new BrigError('image.invalid', `read ${path}: it is the manifest of another image`);
    if (identity !== undefined) this.#parsed.set(digest, { identity, signed });
    return signed;
  }

  async #entry(host: Host, digest: string, trust: Trust, isThere: boolean): Promise<Entry> {
    try {
      const signed = await this.#read(host, digest);
      const problem = distrust(signed, trust) ?? (isThere ? undefined : 'its disks are gone');
      const stat = await host.stat(this.#path(digest));
      return { digest, signed, ...(problem === undefined ? {} : { problem }), importedMs: stat?.modifiedMs ?? 0 };
    } catch (error) {
      return { digest, problem: messageOf(error).replaceAll(/\n */g, '; ') };
    }
  }

  async #entries(host: Host): Promise<Entry[]> {
    const trust = await readTrust(host, this.#o.keysDir);
    const there = new Set((await this.#o.disks.list(host)).filter((each) => DIGEST.test(each)));
    const names = ((await host.list(this.#o.imagesDir)) ?? []).flatMap((name) =>
      /^[0-9a-f]{64}\.json$/.test(name) ? [name.slice(0, 64)] : [],
    );
    const digests = [...new Set([...names, ...there])].sort();
    return await Promise.all(digests.map((digest) => this.#entry(host, digest, trust, there.has(digest))));
  }

  #view({ digest, signed, problem, importedMs }: Entry): ImageView {
    const base = { digest, usable: problem === undefined, ...(problem === undefined ? {} : { problem }) };
    const users = this.#o.users(digest);
    if (!signed) return { ...base, users };
    const { name, version, arch, os, firmware, cloudInit, disks, provenance } = signed.manifest;
    return {
      ...{ digest, name, version, arch, firmware, cloudInit, disks: disks.map(({ bytes }) => bytes) },
      ...(os === undefined ? {} : { os }),
      verified: provenance.verified,
      source: provenance.source,
      ...(signed.signature ? { key: signed.signature.key } : {}),
      ...base,
      ...(importedMs === undefined ? {} : { importedMs }),
      users,
    };
  }

  async list(host: Host): Promise<ImageView[]> {
    const views = (await this.#entries(host)).map((entry) => this.#view(entry));
    const keyOf = ({ name = '~', importedMs = 0 }: ImageView): string =>
      `${name} ${String(importedMs).padStart(15, '0')}`;
    return views.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  /** Errors: image.unknown with what is there. */
  async #find(host: Host, ref: string): Promise<Entry> {
    const entries = await this.#entries(host);
    const [name, version] = ref.split(':');
    const named = entries.filter(
      ({ signed }) => signed?.manifest.name === name && (version === undefined || signed?.manifest.version === version),
    );
    const cut = /^[0-9a-f]{6,64}$/.test(ref) ? entries.filter(({ digest }) => digest.startsWith(ref)) : [];
    // Of several versions the last that came.
    const found = cut.length === 1 ? cut[0] : named.sort((a, b) => (b.importedMs ?? 0) - (a.importedMs ?? 0))[0];
    if (found) return found;
    const there = entries.flatMap(({ signed }) => (signed ? [refOf(signed.manifest)] : [])).slice(0, 5);
    throw new BrigError(
      'image.unknown',
      `find image ${ref}: no such image${cut.length > 1 ? ', several begin so' : ''}`,
      {
        hint: there.length === 0 ? 'brig image import brings one in' : `there are ${there.join(', ')}`,
      },
    );
  }

  /** Errors: image.unknown. */
  async digestOf(host: Host, ref: string): Promise<string> {
    return (await this.#find(host, ref)).digest;
  }

  async show(host: Host, ref: string): Promise<SignedImage> {
    const { digest } = await this.#find(host, ref);
    return await this.#read(host, digest);
  }

  /** A document with what its image and this node say in its place. Errors: spec.invalid, image.*. */
  async complete(host: Host, document: unknown, node: Omit<NodeDefaults, 'disks'>): Promise<VmSpec> {
    const { image } = parseVmDocument(document);
    const used = image === undefined ? undefined : await this.use(host, image);
    return completeDocument(document, used, { ...node, disks: this.#o.disks });
  }

  /** One that a VM may be made of. Errors: image.unknown; image.invalid with why not. */
  async use(host: Host, ref: string): Promise<{ readonly digest: string; readonly manifest: ImageManifest }> {
    const { digest, signed, problem } = await this.#find(host, ref);
    const trouble = this.#leaving.has(digest) ? 'it is being removed' : problem;
    if (!signed || trouble !== undefined)
      throw new BrigError('image.invalid', `use image ${ref}: ${trouble ?? 'it has no manifest'}`, {
        hint: `brig image verify ${shorten(digest)}`,
      });
    return { digest, manifest: signed.manifest };
  }

  /** Who vouches for it, before a byte of it is read. Errors: image.invalid, acl.denied. */
  async #admit(host: Host, incoming: Incoming): Promise<Admitted> {
    const offer = parseImageOffer(incoming.offer);
    if ('about' in offer) {
      const { about, provenance } = offer;
      const make: Admitted['make'] = (disks, sha256) =>
        parseImageManifest(
          { format: 1, ...about, disks, provenance: { ...provenance, ...(sha256 === undefined ? {} : { sha256 }) } },
          'image',
        );
      return { key: refOf(about), make };
    }
    const signed = parseImageText(offer.manifest, 'manifest');
    const reason = distrust(signed, await readTrust(host, this.#o.keysDir));
    if (reason === undefined)
      return { key: imageDigest(signed.manifest), manifest: signed.manifest, signed, make: () => signed.manifest };
    if (!offer.provenance)
      throw new BrigError('acl.denied', `import ${refOf(signed.manifest)}: ${reason}`, {
        hint: 'brig image trust adds a key; --sha256 DIGEST says what the archive must be; --insecure takes it as it is',
      });
    const manifest = { ...signed.manifest, provenance: offer.provenance };
    return { key: imageDigest(manifest), manifest, make: () => manifest };
  }

  async take(host: Host, incoming: Incoming, signal?: AbortSignal): Promise<ImageView> {
    const admitted = await this.#admit(host, incoming);
    return await this.#alone(admitted.key, async () => {
      signal?.throwIfAborted();
      const there = admitted.manifest && (await this.#there(host, imageDigest(admitted.manifest)));
      if (there) return there;
      if (admitted.manifest) await this.#refuseName(host, admitted.manifest);
      return await this.#receive(host, incoming, admitted, signal);
    });
  }

  /** Whole, and somebody vouches for it. */
  async #there(host: Host, digest: string): Promise<ImageView | undefined> {
    const entry = (await this.#entries(host)).find((each) => each.digest === digest);
    if (!entry?.signed || entry.problem !== undefined) return undefined;
    return (await this.#o.disks.isWhole(host, digest, entry.signed.manifest)) ? this.#view(entry) : undefined;
  }

  async #refuseName(host: Host, manifest: ImageManifest): Promise<void> {
    const digest = imageDigest(manifest);
    const other = (await this.#entries(host)).find(
      (each) => each.digest !== digest && each.signed && refOf(each.signed.manifest) === refOf(manifest),
    );
    if (other)
      throw new BrigError('image.exists', `import ${refOf(manifest)}: another image has that name and version`, {
        hint: `brig image rm ${shorten(other.digest)}, or choose another version`,
      });
  }

  async #receive(host: Host, incoming: Incoming, admitted: Admitted, signal?: AbortSignal): Promise<ImageView> {
    const { disks } = this.#o;
    const id = `new-${Buffer.from(host.random(8)).toString('hex')}`;
    this.#coming.add(id);
    try {
      await disks.begin(host, id);
      const found: ImageManifest['disks'] = [];
      for await (const pieces of incoming.disks()) {
        const expected = admitted.manifest?.disks[found.length];
        if (found.length >= (admitted.manifest?.disks.length ?? IMAGE.disks))
          throw new BrigError('image.invalid', `import ${admitted.key}: expected ${found.length} disks, got more`);
        const sink = await disks.create(host, id, found.length, expected?.bytes);
        found.push(await receiveDisk(pieces, sink, expected, signal));
      }
      const { sha256 } = await incoming.end();
      signal?.throwIfAborted();
      const manifest = admitted.make(found, sha256);
      if (found.length < manifest.disks.length)
        throw new BrigError(
          'image.invalid',
          `import ${refOf(manifest)}: expected ${manifest.disks.length} disks, got ${found.length}`,
        );
      return await this.#keep(host, id, manifest, admitted.signed);
    } finally {
      // What stays is told by gc, and goes with it or with the next brigd.
      await this.#drop(host, id).catch(() => undefined);
      this.#coming.delete(id);
    }
  }

  /** From here on it is there. */
  async #keep(host: Host, id: string, manifest: ImageManifest, signed: SignedImage | undefined): Promise<ImageView> {
    const { disks, keysDir } = this.#o;
    const digest = imageDigest(manifest);
    const there = await this.#there(host, digest);
    if (there) return there;
    await this.#refuseName(host, manifest);
    const text = renderImage(signed ?? signImage(manifest, await openSigningKey(host, keysDir, 'image')));
    // Disks without a manifest are of an import that was cut short.
    await disks.remove(host, digest, IMAGE.disks);
    await disks.settle(host, id, digest, manifest.disks.length);
    await host.writeFile(this.#path(digest), text, PRIVATE);
    return this.#view(await this.#entry(host, digest, await readTrust(host, keysDir), true));
  }

  async #drop(host: Host, id: string): Promise<void> {
    await this.#o.disks.remove(host, id, IMAGE.disks);
  }

  async sign(host: Host, ref: string, keyPath?: string): Promise<ImageView> {
    const { digest, signed } = await this.#find(host, ref);
    if (!signed) throw new BrigError('image.invalid', `sign image ${ref}: it has no manifest`);
    const key = await openSigningKey(host, this.#o.keysDir, 'image', keyPath);
    await host.writeFile(this.#path(digest), renderImage(signImage(signed.manifest, key)), PRIVATE);
    return this.#view(await this.#entry(host, digest, await readTrust(host, this.#o.keysDir), true));
  }

  async verify(host: Host, ref: string): Promise<ImageReport> {
    const { digest, signed, problem } = await this.#find(host, ref);
    const problems = problem === undefined ? [] : [problem];
    const disks = signed?.manifest.disks ?? [];
    for (const [i, disk] of disks.entries())
      problems.push(...(await checkDisk(i, disk, () => this.#o.disks.open(host, digest, i))));
    return { digest, ok: problems.length === 0, bytes: bytesOf(signed), problems };
  }

  /** As it was signed, or not at all. */
  async *read(host: Host, ref: string, disk: number): AsyncGenerator<Piece> {
    const { digest, signed } = await this.#find(host, ref);
    const expected = signed?.manifest.disks[disk];
    if (!expected) throw new BrigError('image.unknown', `read image ${ref}: no disk ${disk}`);
    yield* readDisk(`image ${ref}`, disk, expected, () => this.#o.disks.open(host, digest, disk));
  }

  async remove(host: Host, ref: string): Promise<{ readonly removed: string }> {
    const { digest, signed } = await this.#find(host, ref);
    return await this.#alone(digest, async () => {
      const users = this.#o.users(digest);
      if (users > 0)
        throw new BrigError(
          'image.inUse',
          `remove image ${ref}: ${users} VM${users === 1 ? ' was' : 's were'} made of it`,
          {
            hint: users === 1 ? '--promote gives its data to that VM' : 'brig list --json tells which',
          },
        );
      this.#leaving.add(digest);
      try {
        // The manifest goes first: what is half removed is no image.
        await host.remove(this.#path(digest));
        await this.#o.disks.remove(host, digest, IMAGE.disks);
      } catch (error) {
        if (signed) await host.writeFile(this.#path(digest), renderImage(signed), PRIVATE).catch(() => undefined);
        throw error;
      } finally {
        this.#leaving.delete(digest);
        this.#parsed.delete(digest);
      }
      return { removed: digest };
    });
  }

  async gc(host: Host, isDry: boolean): Promise<GcLine[]> {
    const { disks, users } = this.#o;
    const leftovers = (await disks.list(host)).filter((each) => LEFTOVER.test(each) && !this.#coming.has(each));
    const lines = judge(await this.#entries(host), leftovers, users);
    if (isDry) return lines;
    const done: GcLine[] = [];
    for (const line of lines) done.push(line.keep ? line : await this.#collect(host, line));
    return done;
  }

  async #collect(host: Host, line: GcLine): Promise<GcLine> {
    try {
      if (LEFTOVER.test(line.digest)) await this.#drop(host, line.digest);
      else await this.remove(host, line.digest);
      return line;
    } catch (error) {
      return { ...line, keep: true, why: messageOf(error) };
    }
  }
}
