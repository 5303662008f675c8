import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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

const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;
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
    if (hasCode(error, 'ENOENT')) return undefined;
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

const notWritten = (path: string, cause: unknown): BrigError =>
  new BrigError('host.failed', `write ${path}: ${reasonOf(cause)}`, { cause });

/** The directory of a file of one's own. Errors: host.failed. */
const makeHome = async (path: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw notWritten(path, error);
  });
};

/** Written whole under another name, then put in its place. Errors: host.failed. */
const place = async (path: string, text: string, put: (from: string, to: string) => Promise<void>): Promise<void> => {
  const fresh = `${path}.${randomBytes(6).toString('hex')}`;
  await makeHome(path);
  try {
    const file = await open(fresh, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await put(fresh, path);
  } catch (error) {
    throw notWritten(path, error);
  } finally {
    await rm(fresh, { force: true }).catch(() => undefined);
  }
};

/** A file of one's own, unless there is one: then that stays. Errors: host.failed. */
export const makePrivate = (path: string, text: string): Promise<void> =>
  place(path, text, async (from, to) => {
    await link(from, to).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
  });

/** Whoever holds a lock is done in milliseconds: one that is older was left by a crash. */
const STALE_MS = 10_000;
const AGAIN_MS = 20;

/** Takes away what a crash left; what somebody has taken meanwhile he gets back. */
const removeStale = async (lock: string): Promise<void> => {
  const ageMs = async (path: string): Promise<number> => Date.now() - (await stat(path)).mtimeMs;
  if ((await ageMs(lock)) < STALE_MS) return;
  const aside = `${lock}.${randomBytes(6).toString('hex')}`;
  await rename(lock, aside);
  if ((await ageMs(aside)) < STALE_MS) await link(aside, lock).catch(() => undefined);
  await rm(aside);
};

/** Errors: host.failed, when it cannot be made; store.busy, when somebody keeps it. */
const take = async (lock: string): Promise<void> => {
  const untilMs = performance.now() + 2 * STALE_MS;
  for (;;) {
    try {
      return await (await open(lock, 'wx', 0o600)).close();
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw notWritten(lock, error);
    }
    if (performance.now() > untilMs)
      throw new BrigError('store.busy', `take ${lock}: somebody else keeps it`, { hint: `if nobody does: rm ${lock}` });
    // Others look after it, too.
    await removeStale(lock).catch(() => undefined);
    await sleep(AGAIN_MS);
  }
};

/** Contexts as somebody else left them become others; nobody else changes them meanwhile. Errors: those of reading and writing. */
export const changeContexts = async (change: (old: Contexts) => Contexts): Promise<void> => {
  const path = contextsPath();
  const lock = `${path}.lock`;
  await makeHome(path);
  await take(lock);
  try {
    const old = (await readContexts(path)) ?? { contexts: {} };
    const { renderContexts } = await import('../spec/contexts.ts');
    await place(path, renderContexts(change(old)), rename);
  } finally {
    await rm(lock, { force: true });
  }
};
