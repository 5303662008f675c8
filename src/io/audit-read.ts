import { constants } from 'node:fs';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditReport } from '../acl/audit-log.ts';
import { parseLine, Verifier, type Anchor, type AuditEntry } from '../acl/chain.ts';
import { BrigError, messageOf } from '../base/errors.ts';

/** The file that is written to; older ones have a number behind it, the highest being the newest. */
export const CURRENT = 'audit.log';

/** Of a file that is read piece by piece: some 200 lines. */
const PIECE_BYTES = 2 ** 16;

const failed = (path: string, cause: unknown): BrigError =>
  new BrigError('store.failed', `read ${path}: ${messageOf(cause)}`, { cause });

/** Numbers of the older files, in order. */
export const numbersIn = async (dir: string): Promise<number[]> =>
  (await readdir(dir))
    .map((name) => Number(/^audit\.log\.(\d{1,9})$/.exec(name)?.[1]))
    .filter((number) => number > 0)
    .sort((a, b) => a - b);

/** Errors: store.failed. */
export const openToRead = (path: string): Promise<FileHandle> =>
  open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: unknown) => {
    throw failed(path, cause);
  });

/** The files before one that is open: it may have got its number since, and newer ones theirs. */
const olderThan = async (dir: string, current: FileHandle): Promise<string[]> => {
  const { ino, dev } = await current.stat();
  const older: string[] = [];
  for (const number of await numbersIn(dir)) {
    const path = join(dir, `${CURRENT}.${number}`);
    const there = await stat(path).catch(() => undefined);
    if (there?.ino === ino && there.dev === dev) break;
    older.push(path);
  }
  return older;
};

const withFile = async function* <T>(path: string, work: (file: FileHandle) => AsyncGenerator<T>): AsyncGenerator<T> {
  const file = await openToRead(path);
  try {
    yield* work(file);
  } finally {
    await file.close();
  }
};

/** Bytes from here to there, as latin1; fewer only at the end of the file. */
const readAt = async (file: FileHandle, from: number, to: number): Promise<string> => {
  const room = Buffer.allocUnsafe(Math.max(0, to - from));
  let done = 0;
  while (done < room.length) {
    const { bytesRead } = await file.read(room, done, room.length - done, from + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return room.toString('latin1', 0, done);
};

/** Lines from an offset on, without their ends; the last one may have none. */
const linesOf = async function* (file: FileHandle, from = 0, end = Infinity): AsyncGenerator<string> {
  let begun: string[] = [];
  for (let at = from; at < end;) {
    const piece = await readAt(file, at, Math.min(end, at + PIECE_BYTES));
    if (piece === '') break;
    at += piece.length;
    const lines = piece.split('\n');
    for (let i = 0; i < lines.length - 1; i++) {
      yield begun.join('') + (lines[i] ?? '');
      begun = [];
    }
    begun.push(lines.at(-1) ?? '');
  }
  const rest = begun.join('');
  if (rest !== '') yield rest;
};

/** The last whole entry of a file, and what is behind it. */
export interface Tail {
  readonly last?: AuditEntry;
  /** Bytes up to the end of that entry, its end of line not among them. */
  readonly wholeBytes: number;
  /** From there on: an end of line, if nothing is wrong. */
  readonly rest: string;
}

const tailIn = (text: string): Tail => {
  for (let end = text.length; end > 0;) {
    const start = text.lastIndexOf('\n', end - 1) + 1;
    const parsed = parseLine(text.slice(start, end));
    if (parsed?.isTrue) return { last: parsed.entry, wholeBytes: end, rest: text.slice(end) };
    end = start - 1;
  }
  return { wholeBytes: 0, rest: text };
};

/** Reads as much of the end as it takes to find an entry. */
export const tailOf = async (path: string): Promise<Tail> => {
  for await (const tail of withFile(path, searchTail)) return tail;
  throw failed(path, 'nothing');
};

const searchTail = async function* (file: FileHandle): AsyncGenerator<Tail> {
  const { size } = await file.stat();
  for (let bytes = PIECE_BYTES; ; bytes *= 4) {
    const from = Math.max(0, size - bytes);
    const text = await readAt(file, from, size);
    // What comes before the first end of line may be half a line.
    const skipped = from === 0 ? 0 : text.indexOf('\n') + 1;
    const tail = tailIn(text.slice(skipped));
    if (!tail.last && from > 0) continue;
    yield { ...tail, wholeBytes: from + skipped + tail.wholeBytes };
    return;
  }
};

/** The first entry at or after an offset, and where its line begins; undefined when the next few lines hold none. */
const entryNear = async (file: FileHandle, from: number): Promise<{ seq: number; at: number } | undefined> => {
  const lines = (await readAt(file, from, from + 2 * PIECE_BYTES)).split('\n');
  let at = from;
  for (const [i, line] of lines.slice(0, -1).entries()) {
    // Anywhere but at the beginning of the file, the first one may be half a line.
    const parsed = i === 0 && from > 0 ? undefined : parseLine(line);
    if (parsed?.isTrue) return { seq: parsed.entry.seq, at };
    at += line.length + 1;
  }
  return undefined;
};

/** Where the line of an entry after this number can begin at the earliest, to within a few pieces. */
const offsetOf = async (file: FileHandle, after: number): Promise<number> => {
  let [low, high] = [0, (await file.stat()).size];
  while (high - low > 4 * PIECE_BYTES) {
    const middle = Math.floor((low + high) / 2);
    const found = await entryNear(file, middle);
    if (!found) break;
    if (found.seq <= after) low = found.at;
    else high = middle;
  }
  return low;
};

const entriesIn = async function* (file: FileHandle, after: number): AsyncGenerator<AuditEntry> {
  for await (const line of linesOf(file, await offsetOf(file, after))) {
    const parsed = parseLine(line);
    if (parsed?.isTrue && parsed.entry.seq > after) yield parsed.entry;
  }
};

/** Whether no file before it holds an entry after this number. */
const reachesBack = async (file: FileHandle, after: number): Promise<boolean> => {
  const first = await entryNear(file, 0);
  return first !== undefined && first.seq <= after + 1;
};

const pathReachesBack = async (path: string, after: number): Promise<boolean> => {
  const answers = withFile(path, async function* (file) {
    yield await reachesBack(file, after);
  });
  for await (const answer of answers) return answer;
  return false;
};

/** Older files that can hold an entry after this number: looks at the newest first, for that is asked for most. */
const olderAfter = async (dir: string, current: FileHandle, after: number): Promise<string[]> => {
  const found: string[] = [];
  if (await reachesBack(current, after)) return found;
  for (const path of (await olderThan(dir, current)).reverse()) {
    found.unshift(path);
    if (await pathReachesBack(path, after)) break;
  }
  return found;
};

/**
 * Whole entries after a number, as the files have them, oldest first. The file that is written to is opened first: what
 * has its name later may be another, with entries missing between.
 */
export const readEntries = (dir: string, after: number): AsyncGenerator<AuditEntry> =>
  withFile(join(dir, CURRENT), async function* (current) {
    for (const path of await olderAfter(dir, current, after)) yield* withFile(path, (file) => entriesIn(file, after));
    yield* entriesIn(current, after);
  });

/** What must hold of a log besides its own chain. */
export interface Expected {
  readonly known?: readonly Anchor[];
  readonly wanted?: string;
}

/** Lines of a file of the log. */
interface Source {
  readonly path: string;
  readonly lines: () => AsyncGenerator<string>;
}

const sourceOf = (path: string): Source => ({ path, lines: () => withFile(path, (file) => linesOf(file)) });

const verify = async (sources: readonly Source[], { known, wanted }: Expected): Promise<AuditReport> => {
  const verifier = new Verifier(known, wanted);
  for (const { path, lines } of sources)
    for await (const line of lines()) {
      const wrong = verifier.take(line);
      if (wrong) return { ok: false, file: path, ...wrong };
    }
  const wrong = verifier.end();
  if (wrong) return { ok: false, file: sources.at(-1)?.path ?? '', ...wrong };
  return { ok: true, files: sources.length, ...verifier.sum };
};

/** Reads these files, oldest first, once and piece by piece. Errors: store.failed when one cannot be read. */
export const verifyFiles = (paths: readonly string[], expected: Expected = {}): Promise<AuditReport> =>
  verify(paths.map(sourceOf), expected);

/** All of a log up to so many bytes of the file that is written to, which is open: what comes meanwhile is not looked at. */
export const verifyLog = async (
  dir: string,
  current: FileHandle,
  endBytes: number,
  expected: Expected,
): Promise<AuditReport> => {
  const older = await olderThan(dir, current);
  const last = { path: join(dir, CURRENT), lines: () => linesOf(current, 0, endBytes) };
  return await verify([...older.map(sourceOf), last], expected);
};
