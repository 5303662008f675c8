import { BrigError, messageOf } from '../base/errors.ts';
import type { FileStat, Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import {
  fingerprintOf,
  parsePublicKey,
  parseSecretKey,
  renderPublicKey,
  renderSecretKey,
  RIGHTS,
  type PublicKey,
  type Right,
  type SigningKey,
} from './keys.ts';
import { KEY_NAME } from './names.ts';

/** Files of keys below one directory. */
export const keyFiles = (dir: string) => ({
  /** This host's own secret; it may sign everything here. */
  secret: `${dir}/host.key`,
  /** Its public half, for other hosts to trust. */
  public: `${dir}/host.pub`,
  /** NAME.pub of everybody else who may sign something here. */
  trusted: `${dir}/trusted`,
  /** FINGERPRINT.pub of those who may not sign anything here any more. */
  revoked: `${dir}/revoked`,
});

/** A key that is trusted here, and the file that says so. */
export interface TrustedKey extends PublicKey {
  readonly id: string;
  readonly name: string;
  readonly path: string;
}

export interface Trust {
  readonly keys: readonly TrustedKey[];
  /** Fingerprints. */
  readonly revoked: ReadonlySet<string>;
  /** Files that should hold a key and do not: nobody is trusted for them. */
  readonly problems: readonly string[];
}

const ROOT = { uid: 0, gid: 0 };
const SECRET = { mode: 0o600, ...ROOT, durable: true };
const OPEN = { mode: 0o644, ...ROOT, durable: true };

/** A small file of root's own that nobody else may change, or read when it is secret. Errors: acl.invalid, acl.denied. */
const readKeyFile = async (host: Host, path: string, closedTo: number, why: string): Promise<string> => {
  const stat: FileStat | undefined = await host.stat(path);
  const attempt = `read ${path}`;
  if (!stat) throw new BrigError('acl.invalid', `${attempt}: not a key: nothing there`);
  if (stat.kind !== 'file' || stat.bytes > LIMITS.keyFileBytes)
    throw new BrigError('acl.invalid', `${attempt}: not a key: ${stat.kind === 'file' ? 'too large' : 'not a file'}`);
  if (stat.uid !== 0 || (stat.mode & closedTo) !== 0)
    throw new BrigError('acl.denied', `${attempt}: ${why} (uid ${stat.uid}, mode ${stat.mode.toString(8)})`, {
      hint: `chown 0:0 ${path} && chmod ${closedTo === SECRET_BITS ? '600' : '644'} ${path}`,
    });
  return (await host.readFile(path)) ?? '';
};

const SECRET_BITS = 0o177;
const PUBLIC_BITS = 0o022;

/** Text of a small file that is root's alone. Errors: acl.invalid, acl.denied. */
export const readSecretFile = (host: Host, path: string): Promise<string> =>
  readKeyFile(host, path, SECRET_BITS, 'others than root may read it');

const readSecretKey = async (host: Host, path: string): Promise<SigningKey> =>
  parseSecretKey(await readSecretFile(host, path), path);

/** This host's own key, made when there is none. Errors: acl.invalid, acl.denied. */
export const openHostKey = async (host: Host, dir: string): Promise<SigningKey> => {
  const files = keyFiles(dir);
  await host.mkdir(dir, { mode: 0o700, ...ROOT });
  await host.mkdir(files.trusted, { mode: 0o700, ...ROOT });
  await host.mkdir(files.revoked, { mode: 0o700, ...ROOT });
  if (!(await host.stat(files.secret))) await host.writeFile(files.secret, renderSecretKey(host.random(32)), SECRET);
  const key = await readSecretKey(host, files.secret);
  const text = renderPublicKey({ bytes: key.publicBytes, rights: RIGHTS });
  if ((await host.readFile(files.public)) !== text) await host.writeFile(files.public, text, OPEN);
  return key;
};

const hostKey = async (host: Host, path: string): Promise<TrustedKey[]> => {
  if (!(await host.stat(path))) return [];
  const { id, publicBytes } = await readSecretKey(host, path);
  return [{ id, bytes: publicBytes, rights: RIGHTS, name: 'host', path }];
};

const trustedKey = async (host: Host, path: string, name: string): Promise<TrustedKey[]> => {
  const key = parsePublicKey(await readKeyFile(host, path, PUBLIC_BITS, 'others than root may change it'), path);
  return [{ ...key, id: fingerprintOf(key.bytes), name, path }];
};

/** Who may sign what here: this host, and the files of the directory `trusted`. A bad file costs its own key only. */
export const readTrust = async (host: Host, dir: string): Promise<Trust> => {
  const files = keyFiles(dir);
  const names = ((await host.list(files.trusted)) ?? []).filter((name) => name.endsWith('.pub')).sort();
  const problems: string[] = [];
  const keep = (error: unknown): TrustedKey[] => {
    problems.push(messageOf(error));
    return [];
  };
  const found = await Promise.all([
    hostKey(host, files.secret).catch(keep),
    ...names.map((name) => trustedKey(host, `${files.trusted}/${name}`, name.slice(0, -'.pub'.length)).catch(keep)),
  ]);
  const revoked = new Set(((await host.list(files.revoked)) ?? []).map((name) => name.replace(/\.pub$/, '')));
  return { keys: found.flat().filter(({ id }) => !revoked.has(id)), revoked, problems: problems.sort() };
};

/** From now on this key may sign what its line says. Errors: acl.invalid; acl.denied for one that was revoked. */
export const trustKey = async (host: Host, dir: string, name: string, text: string): Promise<TrustedKey> => {
  if (!KEY_NAME.test(name))
    throw new BrigError('acl.invalid', 'trust key: expected a name of [a-z0-9._-], at most 63 characters, got another');
  const files = keyFiles(dir);
  const key = parsePublicKey(text, `key ${name}`);
  const path = `${files.trusted}/${name}.pub`;
  const [trust, old] = [await readTrust(host, dir), await host.readFile(path)];
  const id = fingerprintOf(key.bytes);
  if (trust.revoked.has(id))
    throw new BrigError('acl.denied', `trust key ${name}: ${id} was revoked here`, {
      hint: `remove ${files.revoked}/${id}.pub if that was a mistake`,
    });
  if (old !== undefined && old !== renderPublicKey(key))
    throw new BrigError('acl.denied', `trust key ${name}: another key has that name`, { hint: 'choose another name' });
  await host.writeFile(path, renderPublicKey(key), OPEN);
  return { ...key, id, name, path };
};

/** From now on nothing that this key signed counts. `name`: of the key or its fingerprint. Errors: acl.invalid. */
export const revokeKey = async (host: Host, dir: string, name: string): Promise<TrustedKey> => {
  const files = keyFiles(dir);
  const { keys } = await readTrust(host, dir);
  const key = keys.find((each) => each.path !== files.secret && (each.name === name || each.id === name));
  if (!key)
    throw new BrigError('acl.invalid', `revoke key ${name}: no such key`, { hint: 'brig image trust lists them' });
  await host.writeFile(`${files.revoked}/${key.id}.pub`, renderPublicKey(key), OPEN);
  await host.remove(key.path);
  return key;
};

/**
 * The key to sign with: the host's own, or that of a file whose public half has the right here.
 * Errors: acl.invalid when it is no key, acl.denied when others may read it or it has no right; one line each.
 */
export const openSigningKey = async (host: Host, dir: string, right: Right, path?: string): Promise<SigningKey> => {
  if (path === undefined) return await openHostKey(host, dir);
  const key = await readSecretKey(host, path);
  const { keys } = await readTrust(host, dir);
  if (keys.some(({ id, rights }) => id === key.id && rights.includes(right))) return key;
  throw new BrigError('acl.denied', `sign with ${path}: key ${key.id} has no right to sign a ${right} here`, {
    hint: `its public line with right ${right} belongs in ${keyFiles(dir).trusted}/NAME.pub`,
  });
};
