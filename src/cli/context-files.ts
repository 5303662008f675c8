import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { BrigError, messageOf, type ErrorCode } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Contexts } from '../spec/contexts.ts';

/** Where a person's contexts and keys are. Source: XDG Base Directory Specification. Errors: usage.invalid. */
export const configDir = (): string => {
  const { XDG_CONFIG_HOME: xdg = '', HOME: home = '' } = process.env;
  if (isAbsolute(xdg)) return join(xdg, 'brig');
  if (isAbsolute(home)) return join(home, '.config/brig');
  throw new BrigError('usage.invalid', 'find contexts: expected $HOME or $XDG_CONFIG_HOME, got neither');
};

export const contextsPath = (): string => join(configDir(), 'contexts.yaml');

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';
const reasonOf = (error: unknown): string => messageOf(error).split(', ')[0] ?? '';

/** Errors: acl.denied for a file that others may read or write, or that is somebody else's. */
const checkOwn = (path: string, { uid, mode }: Pick<Stats, 'uid' | 'mode'>, closedTo: number): void => {
  if ((uid === process.getuid?.() || uid === 0) && (mode & closedTo) === 0) return;
  const what = closedTo === SECRET_BITS ? 'read' : 'change';
  const got = `uid ${uid}, mode ${(mode & 0o777).toString(8)}`;
  throw new BrigError('acl.denied', `read ${path}: others may ${what} it (${got})`, { hint: `chmod 600 ${path}` });
};

const SECRET_BITS = 0o077;
const OPEN_BITS = 0o022;

/** A small file of the caller's own; undefined when there is none. Errors: `code`; acl.denied. */
const readOwn = async (path: string, closedTo: number, code: ErrorCode): Promise<string | undefined> => {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw new BrigError(code, `read ${path}: ${reasonOf(error)}`);
  });
  if (!file) return undefined;
  try {
    // Of the very file that is read: another may take its name meanwhile.
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > LIMITS.documentBytes)
      throw new BrigError(code, `read ${path}: ${stat.isFile() ? 'too large' : 'not a file'}`);
    checkOwn(path, stat, closedTo);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
};

/** Undefined when there is none: most people have none, and pay for no parser. Errors: config.invalid, acl.denied. */
export const readContexts = async (path: string): Promise<Contexts | undefined> => {
  const text = await readOwn(path, OPEN_BITS, 'config.invalid');
  if (text === undefined) return undefined;
  const { parseContexts } = await import('../spec/contexts.ts');
  return parseContexts(text, path);
};

/** Text of a secret key's file; undefined when there is none. Errors: acl.invalid; acl.denied when others may read it. */
export const readSecret = (path: string): Promise<string | undefined> => readOwn(path, SECRET_BITS, 'acl.invalid');

/** Whole or not at all, and nobody else's to read. */
export const writePrivate = async (path: string, text: string): Promise<void> => {
  const fresh = `${path}.${randomBytes(6).toString('hex')}`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const file = await open(fresh, 'wx', 0o600);
    await file.writeFile(text);
    await file.sync();
    await file.close();
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw new BrigError('host.failed', `write ${path}: ${reasonOf(error)}`);
  }
};

export const writeContexts = async (path: string, all: Contexts): Promise<void> => {
  const { renderContexts } = await import('../spec/contexts.ts');
  await writePrivate(path, renderContexts(all));
};
