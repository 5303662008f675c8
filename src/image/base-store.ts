import { openSigningKey, readTrust } from '../acl/trust.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import type { BaseReport, Bases, BaseView } from '../platform/bases.ts';
import type { Finding } from '../platform/platform.ts';
import type { Manifest, SignedManifest } from '../spec/manifest.ts';
import { shorten } from './base-compare.ts';
import type { BaseKind } from './base-kind.ts';
import { signManifest } from './base-manifest.ts';
import { readBase, verifyBase, type BaseFiles, type Verdict } from './base-verify.ts';

/** Where bases and keys are. */
export interface BasePlaces {
  readonly baseDir: string;
  readonly keysDir: string;
}

const ROOT = { uid: 0, gid: 0 };
/** In a directory that nobody but root enters. */
const PRIVATE = { mode: 0o600, ...ROOT, durable: true };
const MEND = 'brig base build';

/** What was seen when a base was last found whole. */
interface Known {
  readonly verdict: Verdict;
  readonly identities: readonly string[];
}

/**
 * The bases of a node, by digest.
 * Shape:  DIGEST.json (manifest and signature), DIGEST and the kind's suffix, `current` (a digest), new and the suffix
 *         while one is built. A base counts when all of it is there and `verifyBase` finds nothing.
 */
export class BaseStore implements Bases {
  readonly #kind: BaseKind;
  readonly #places: BasePlaces;
  readonly #known = new Map<string, Known>();
  readonly #checks = new Map<string, Promise<unknown>>();
  #current: string | undefined;
  #manifest: Manifest | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(kind: BaseKind, places: BasePlaces) {
    this.#kind = kind;
    this.#places = places;
  }

  /** The file that a start uses; where there is none, one that is not there. */
  get file(): string {
    return this.#files(this.#current ?? 'none').file;
  }

  /** This host's architecture in the words of a manifest. */
  arch(host: Host): Promise<string> {
    return this.#kind.arch(host);
  }

  /** Of the current base, as it was when it became that; undefined where there is none. */
  get manifest(): Manifest | undefined {
    return this.#manifest;
  }

  #files(digest: string): BaseFiles {
    const path = `${this.#places.baseDir}/${digest}`;
    return { digest, file: `${path}${this.#kind.suffix}`, manifest: `${path}.json`, keys: this.#places.keysDir };
  }

  /** Builds and removals come one after the other. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work, work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Finds the current base, and builds one where there is none, or an older brig's lacks something. */
  async prepare(host: Host): Promise<Finding[]> {
    await host.mkdir(this.#places.baseDir, { mode: 0o700, ...ROOT });
    await this.#readCurrent(host);
    if (this.#current !== undefined && (await this.#fits(host, this.#current))) return [];
    try {
      await this.build(host);
      return [];
    } catch (error) {
      // A host that lacks bhyve can still be looked at: doctor says what is missing, and every start is refused.
      return [{ level: 'warning', what: this.#kind.what, got: messageOf(error), mend: MEND }];
    }
  }

  /** What the file says; a text that is no digest, or of an archive that is not there, says nothing. */
  async #readCurrent(host: Host): Promise<void> {
    const text = (await host.readFile(`${this.#places.baseDir}/current`)) ?? '';
    const digest = /^([0-9a-f]{64})\n$/.exec(text)?.[1];
    if (digest === undefined || !(await host.stat(this.#files(digest).file))) return;
    this.#current = digest;
    this.#manifest = (await readBase(host, this.#kind, this.#files(digest))).signed?.manifest;
  }

  /** One that cannot be read fits nobody, but whoever did that should be noticed: starts refuse it. */
  async #fits(host: Host, digest: string): Promise<boolean> {
    const files = this.#files(digest);
    const { signed, problems } = await readBase(host, this.#kind, files);
    return !signed || problems.length > 0 || (await this.#kind.fits(host, files.file, signed.manifest));
  }

  /**
   * Every write is whole or not there, and `current` comes last: a build that is cut short leaves the old base current.
   * Errors: acl.* for a key that may not sign, before anything is touched; host.* when the host lacks what it is made of.
   */
  build(host: Host, keyPath?: string): Promise<BaseView> {
    return this.#alone(async () => {
      const key = await openSigningKey(host, this.#places.keysDir, 'base', keyPath);
      await this.#sweep(host);
      const fresh = this.#files('new').file;
      const manifest = await this.#kind.make(host, fresh);
      const text = signManifest(manifest, key);
      const files = this.#files(manifest.digest);
      // The same file again stays: VMs may run on it.
      const made = await this.#kind.differences(host, files.file, manifest, false).catch(() => ['unreadable']);
      if (made.length > 0) await host.copyFile(fresh, files.file, PRIVATE);
      await host.writeFile(files.manifest, text, PRIVATE);
      // A write that failed may have come through: the file knows.
      await host
        .writeFile(`${this.#places.baseDir}/current`, `${manifest.digest}\n`, PRIVATE)
        .finally(() => this.#readCurrent(host));
      await host.remove(fresh);
      return await this.#view(host, manifest.digest, await this.#kind.users(host));
    });
  }

  /** What a build that was cut short left: halves of a base that nobody uses. */
  async #sweep(host: Host): Promise<void> {
    const { baseDir } = this.#places;
    await host.mkdir(baseDir, { mode: 0o700, ...ROOT });
    const names = new Set(await host.list(baseDir));
    const users = await this.#kind.users(host);
    for (const name of names) {
      const digest = /^([0-9a-f]{64})\./.exec(name)?.[1];
      const half = digest !== undefined && this.#isHalf(digest, names) && digest !== this.#current;
      const isOurs = name === `new${this.#kind.suffix}` || name.endsWith('.brig-new');
      if ((half && !users.has(this.#files(digest).file)) || isOurs) await host.remove(`${baseDir}/${name}`);
    }
  }

  #isHalf(digest: string, names: ReadonlySet<string>): boolean {
    return !names.has(`${digest}.json`) || !names.has(`${digest}${this.#kind.suffix}`);
  }

  async #digests(host: Host): Promise<string[]> {
    const names = (await host.list(this.#places.baseDir)) ?? [];
    const isBase = (name: string): boolean => name === '.json' || name === this.#kind.suffix;
    return [...new Set(names.filter((name) => isBase(name.slice(64))).map((name) => name.slice(0, 64)))]
      .filter((digest) => /^[0-9a-f]{64}$/.test(digest))
      .sort();
  }

  async #find(host: Host, name: string): Promise<string> {
    if (name === 'current' && this.#current !== undefined) return this.#current;
    const digests = await this.#digests(host);
    const found = /^[0-9a-f]{1,64}$/.test(name) ? digests.filter((digest) => digest.startsWith(name)) : [];
    const [only] = found;
    if (only !== undefined && found.length === 1) return only;
    throw new BrigError(
      'image.unknown',
      found.length === 0
        ? `find base ${name}: no such base`
        : `find base ${name}: expected one base, got ${found.map(shorten).join(', ')}`,
      { hint: 'brig base list' },
    );
  }

  /** One after the other: many starts at once read a base once, and the rest of them only look. */
  #check(host: Host, digest: string): Promise<Verdict> {
    const done = (this.#checks.get(digest) ?? Promise.resolve()).then(() => this.#look(host, digest));
    const ended = done.catch(() => undefined);
    this.#checks.set(digest, ended);
    return done;
  }

  /** A few looks when nothing was touched since it was found whole; all of it is read otherwise. */
  async #look(host: Host, digest: string): Promise<Verdict> {
    const known = this.#known.get(digest);
    if (known && same(known.identities, await identitiesOf(host, known.verdict.parts))) return known.verdict;
    return await this.#read(host, digest);
  }

  async #read(host: Host, digest: string): Promise<Verdict> {
    this.#known.delete(digest);
    const files = this.#files(digest);
    // Looked at before it is read: what changes in between shows in the next look.
    const { parts } = await readBase(host, this.#kind, files);
    const identities = await identitiesOf(host, parts);
    const verdict = await verifyBase(host, this.#kind, files, false);
    if (identities && verdict.problems.length === 0 && same(verdict.parts, parts))
      this.#known.set(digest, { verdict, identities });
    return verdict;
  }

  async #view(host: Host, digest: string, users: ReadonlyMap<string, readonly string[]>): Promise<BaseView> {
    const { file } = this.#files(digest);
    const { signed, problems } = await this.#check(host, digest);
    const stat = await host.stat(file);
    const [problem] = problems;
    return {
      digest,
      current: digest === this.#current,
      ...(stat ? { builtMs: stat.modifiedMs } : {}),
      ...(signed ? wordsOf(signed) : {}),
      usedBy: users.get(file) ?? [],
      verified: problem === undefined,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  async list(host: Host): Promise<BaseView[]> {
    const users = await this.#kind.users(host);
    const digests = await this.#digests(host);
    return await Promise.all(digests.map((digest) => this.#view(host, digest, users)));
  }

  /** Errors: image.unknown; image.invalid when its manifest is not one. */
  async show(host: Host, name: string): Promise<SignedManifest> {
    const digest = await this.#find(host, name);
    const { signed, problems } = await this.#check(host, digest);
    if (signed) return signed;
    throw new BrigError('image.invalid', `show base ${shorten(digest)}: ${problems[0] ?? ''}`, { hint: MEND });
  }

  async verify(host: Host, name: string): Promise<BaseReport> {
    const digest = await this.#find(host, name);
    const { signed, problems } = await verifyBase(host, this.#kind, this.#files(digest), true);
    return { digest, ok: problems.length === 0, files: signed?.manifest.files.length ?? 0, problems };
  }

  remove(host: Host, name: string): Promise<{ readonly removed: string }> {
    return this.#alone(async () => {
      const digest = await this.#find(host, name);
      const { file, manifest } = this.#files(digest);
      const refuse = (reason: string, hint: string): BrigError =>
        new BrigError('image.inUse', `remove base ${shorten(digest)}: ${reason}`, { hint, retry: 'operator' });
      if (digest === this.#current) throw refuse('it is the current one', `${MEND}, once the host has changed`);
      const users = (await this.#kind.users(host)).get(file) ?? [];
      if (users.length > 0) throw refuse(`in use by ${users.join(', ')}`, restartAll(users));
      this.#known.delete(digest);
      // Without its manifest it counts no more; what a crash leaves then goes with the next build.
      await host.remove(manifest);
      await host.remove(file);
      return { removed: digest };
    });
  }

  /** The base in a file, whether current or not: what was signed, and what is wrong with it. */
  async inspect(host: Host, file: string): Promise<{ manifest?: Manifest; problems: readonly string[] }> {
    const digest = file.slice(this.#places.baseDir.length + 1, file.length - this.#kind.suffix.length);
    if (!/^[0-9a-f]{64}$/.test(digest) || this.#files(digest).file !== file)
      return { problems: [`${file} is no base of this node`] };
    const { signed, problems } = await this.#check(host, digest);
    return { ...(signed ? { manifest: signed.manifest } : {}), problems };
  }

  /** Why no start may use the current base, before anything is touched. */
  async precheck(host: Host): Promise<Finding[]> {
    const { what } = this.#kind;
    if (this.#current === undefined) return [{ level: 'problem', what, got: 'not built', mend: MEND }];
    const [got] = (await this.#check(host, this.#current)).problems;
    return got === undefined
      ? []
      : [{ level: 'problem', what: `${what} ${this.file} as it was signed`, got, mend: MEND }];
  }

  /** The current base, whether this host has changed since, and who runs on another. */
  async doctor(host: Host): Promise<Finding[]> {
    const problems = await this.precheck(host);
    const trust = await readTrust(host, this.#places.keysDir);
    return [
      ...(problems.length > 0 ? problems : await this.#checkCurrent(host)),
      ...(await this.#checkUsers(host)),
      ...trust.problems.map((got): Finding => ({ level: 'warning', what: 'trusted keys', got })),
    ];
  }

  async #checkCurrent(host: Host): Promise<Finding[]> {
    const { signed } = await this.#check(host, this.#current ?? '');
    if (!signed) return [];
    const { what } = this.#kind;
    const outdated = await this.#kind.outdated(host, signed.manifest);
    const { digest, files } = signed.manifest;
    return [
      { level: 'ok', what, got: `${shorten(digest)}: ${files.length} files, signed by key ${signed.signature.key}` },
      ...(outdated === undefined
        ? []
        : [{ level: 'warning', what: `${what} made of this host's files`, got: outdated, mend: MEND } as const]),
    ];
  }

  async #checkUsers(host: Host): Promise<Finding[]> {
    const { baseDir } = this.#places;
    const users = await this.#kind.users(host);
    const older = [...users].flatMap(([file, names]) =>
      file.startsWith(`${baseDir}/`) && file !== this.file ? names : [],
    );
    const names = older.sort();
    return names.length === 0
      ? []
      : [
          {
            level: 'warning',
            what: `running VMs on the current one of ${this.#kind.what}`,
            got: `${names.join(', ')} on an older one`,
            mend: restartAll(names),
          },
        ];
  }
}

const restartAll = (names: readonly string[]): string => names.map((name) => `brig restart ${name}`).join(' && ');

const wordsOf = ({ manifest, signature }: SignedManifest): Partial<BaseView> => ({
  files: manifest.files.length,
  bytes: manifest.bytes,
  arch: manifest.arch,
  release: manifest.release,
  key: signature.key,
});

/** Undefined when one of them cannot be told from a later change. */
const identitiesOf = async (host: Host, paths: readonly string[]): Promise<string[] | undefined> => {
  const found = await Promise.all(paths.map((path) => host.identity(path)));
  const whole = found.flatMap((each) => each ?? []);
  return paths.length > 0 && whole.length === paths.length ? whole : undefined;
};

const same = (a: readonly string[], b: readonly string[] | undefined): boolean =>
  a.length === b?.length && a.every((each, i) => each === b[i]);
