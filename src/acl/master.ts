import { BrigError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import {
  deriveMasterKey,
  newDerivation,
  newMasterKey,
  parseDerivation,
  parseMasterKeys,
  renderDerivation,
  renderMasterKey,
  type MasterKey,
} from './secrets.ts';
import { readSecretFile } from './trust.ts';

/** Where the master key comes from: brig's own file, a passphrase, a program's answer, or a file that somebody provides. */
export type MasterKind = 'file' | 'passphrase' | { readonly hook: string } | { readonly file: string };

/** What becomes of a new key. */
export interface NewKey {
  /** Id of the one that it replaces. */
  readonly current: string | undefined;
  readonly passphrase: string | undefined;
}

/** Keeps the master key. Whatever it answered can be answered again after a loss of power. */
export interface MasterSource {
  /** Nothing can be opened before somebody says the passphrase. */
  readonly asks: boolean;
  /** Whether there is a key, or a passphrase, yet. */
  isNew(): Promise<boolean>;
  /** Every key that it has. Errors: secret.locked; acl.invalid, acl.denied of a file. */
  read(passphrase?: string): Promise<readonly MasterKey[]>;
  /** Another one beside those that it has; durable when it resolves. Errors: acl.invalid, secret.locked. */
  make(wanted: NewKey): Promise<MasterKey>;
  /** Every secret is sealed under this one: it has no other any more. Again is success. */
  settle(key: MasterKey): Promise<void>;
}

const ROOT = { uid: 0, gid: 0 };
const SECRET = { mode: 0o600, ...ROOT, durable: true };

/** A file that counts, and one that is about to. */
class Pair {
  readonly #host: Host;
  readonly #dir: string;
  readonly #path: string;

  constructor(host: Host, dir: string, name: string) {
    this.#host = host;
    this.#dir = dir;
    this.#path = `${dir}/${name}`;
  }

  get #paths(): readonly string[] {
    return [this.#path, `${this.#path}.new`];
  }

  /** What is there: the file that counts first. Errors: acl.invalid, acl.denied. */
  async texts(): Promise<{ readonly path: string; readonly text: string }[]> {
    const found = [];
    for (const path of this.#paths)
      if (await this.#host.stat(path)) found.push({ path, text: await readSecretFile(this.#host, path) });
    return found;
  }

  async propose(text: string): Promise<void> {
    await this.#host.mkdir(this.#dir, { mode: 0o700, ...ROOT });
    await this.#host.writeFile(`${this.#path}.new`, text, SECRET);
  }

  /** At each moment one of both files has the text. */
  async settle(text: string): Promise<void> {
    if ((await this.#host.readFile(this.#path)) !== text) await this.#host.writeFile(this.#path, text, SECRET);
    await this.#host.remove(`${this.#path}.new`);
  }
}

const unique = (keys: readonly MasterKey[]): MasterKey[] => [...new Map(keys.map((key) => [key.id, key])).values()];

const ownFile = (host: Host, dir: string): MasterSource => {
  const pair = new Pair(host, dir, 'master.key');
  return {
    asks: false,
    isNew: async () => (await pair.texts()).length === 0,
    read: async () => unique((await pair.texts()).flatMap(({ path, text }) => parseMasterKeys(text, path))),
    make: async () => {
      const key = newMasterKey((bytes) => host.random(bytes));
      await pair.propose(renderMasterKey(key));
      return key;
    },
    settle: (key) => pair.settle(renderMasterKey(key)),
  };
};

const locked = (reason: string): BrigError =>
  new BrigError('secret.locked', `open secrets: ${reason}`, { retry: 'operator', hint: 'brig secret unlock' });

/** Whoever has the store may try passphrases as fast as he can. */
const checkPassphrase = (passphrase: string | undefined): string => {
  if (passphrase === undefined) throw locked('expected a passphrase, got none');
  if (passphrase.length >= LIMITS.passphraseLeast && passphrase.length <= LIMITS.passphraseMost) return passphrase;
  const wanted = `a passphrase of ${LIMITS.passphraseLeast} to ${LIMITS.passphraseMost} characters`;
  throw new BrigError('acl.invalid', `set passphrase: expected ${wanted}, got another length`);
};

const ofPassphrase = (host: Host, dir: string): MasterSource => {
  const pair = new Pair(host, dir, 'master.scrypt');
  const lines = new Map<string, string>();
  return {
    asks: true,
    isNew: async () => (await pair.texts()).length === 0,
    read: async (passphrase) => {
      if (passphrase === undefined) throw locked('locked: nobody has said the passphrase since brigd started');
      const keys: MasterKey[] = [];
      for (const { path, text } of await pair.texts()) {
        const key = await deriveMasterKey(passphrase, parseDerivation(text, path));
        if (key) keys.push(key);
        if (key) lines.set(key.id, text);
      }
      return unique(keys);
    },
    make: async ({ passphrase }) => {
      const { key, derivation } = await newDerivation(checkPassphrase(passphrase), (bytes) => host.random(bytes));
      const text = renderDerivation(derivation);
      await pair.propose(text);
      lines.set(key.id, text);
      return key;
    },
    settle: async (key) => {
      const text = lines.get(key.id);
      if (text !== undefined) await pair.settle(text);
    },
  };
};

/** Keys that somebody else keeps; he says which one is new. */
const external = (source: string, keys: () => Promise<readonly MasterKey[]>): MasterSource => ({
  asks: false,
  isNew: () => Promise.resolve(false),
  read: keys,
  make: async ({ current }) => {
    const [first] = await keys();
    if (first && first.id !== current) return first;
    throw new BrigError('acl.invalid', `rotate master key: expected a new one first in ${source}, got the same`, {
      hint: 'put the new line before the old one, rotate, then remove the old one',
    });
  },
  settle: () => Promise.resolve(),
});

const readProvided = async (host: Host, path: string): Promise<readonly MasterKey[]> => {
  if (!(await host.stat(path))) throw locked(`expected a master key in ${path}, got nothing there`);
  return parseMasterKeys(await readSecretFile(host, path), path);
};

/** What it prints, on either stream, is in no error. */
const askHook = async (host: Host, path: string): Promise<readonly MasterKey[]> => {
  const stat = await host.stat(path);
  if (stat?.kind !== 'file')
    throw locked(`expected a program ${path}, got ${stat ? `a ${stat.kind}` : 'nothing there'}`);
  if (stat.uid !== 0 || (stat.mode & 0o022) !== 0)
    throw new BrigError('acl.denied', `run ${path}: others than root may change it`, {
      hint: `chown 0:0 ${path} && chmod 700 ${path}`,
    });
  const { status, stdout, timedOut } = await host.run({ program: path, args: [], timeoutMs: LIMITS.masterHookMs });
  if (timedOut) throw locked(`${path} did not answer within ${LIMITS.masterHookMs / 1000} s`);
  if (status !== 0) throw locked(`${path} ended with status ${status}`);
  return parseMasterKeys(stdout, `the answer of ${path}`);
};

/** The source that the configuration means. `dir`: of brig's own key files. */
export const masterSource = (host: Host, dir: string, kind: MasterKind): MasterSource => {
  if (kind === 'file') return ownFile(host, dir);
  if (kind === 'passphrase') return ofPassphrase(host, dir);
  if ('hook' in kind) return external(kind.hook, () => askHook(host, kind.hook));
  return external(kind.file, () => readProvided(host, kind.file));
};
