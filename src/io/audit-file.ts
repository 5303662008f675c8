import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditLog, AuditReport } from '../acl/audit-log.ts';
import { chain, NOTHING, tornEntry, type Anchor, type AuditEntry, type NewEntry } from '../acl/chain.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { failed, openLog, sync, syncDirectory, writeAll } from './audit-disk.ts';
import { CURRENT, numbersIn, openToRead, readEntries, tailOf, verifyLog } from './audit-read.ts';

export interface AuditFileOptions {
  /** Made when it is not there. */
  readonly dir: string;
  readonly now: () => number;
  /** Where an entry is remembered apart from the file. */
  readonly anchors: { get(): Anchor | undefined; put(anchor: Anchor): void };
  /** A file that would be larger is left to itself, and a new one begun. */
  readonly fileBytes?: number;
}

/** An entry that waits to be written. */
interface Waiting {
  readonly entry: NewEntry;
  readonly atMs: number;
  readonly isDurable: boolean;
  resolve(seq: number): void;
  reject(error: BrigError): void;
}
type Chained = ReturnType<typeof chain> & { readonly waiting?: Waiting };

const told = (rule: string, data?: NewEntry['data']): NewEntry => ({
  ...{ who: 'brigd', from: 'brigd', verb: 'audit-log', object: 'node', phase: 'told', decision: 'allow', rule },
  ...(data === undefined ? {} : { data }),
});

/**
 * The audit log as files: nothing in them is ever changed or cut. What a full disk or a loss of power left half written
 * stays, and the next entry tells of it.
 */
export class AuditFile implements AuditLog {
  readonly #o: AuditFileOptions;
  readonly #path: string;
  readonly #limitBytes: number;
  #fd: number;
  #size: number;
  /** Up to which size nothing is rotated: not at once again after it could not be done. */
  #rotateBytes: number;
  #number: number;
  /** Bytes up to the end of the last whole entry. */
  #wholeBytes = 0;
  /** Bytes after it that are no entry, and that no entry tells of yet. */
  #torn = '';
  /** The file does not end in an end of line. */
  #isOpen = false;
  #head: Anchor = NOTHING;
  #anchored = 0;
  #isClosed = false;
  #waiting: Waiting[] = [];
  #unsynced: { readonly waiting: Waiting; readonly seq: number }[] = [];
  #syncing: Promise<void> | undefined;
  /** Newest last. */
  #recent: AuditEntry[] = [];
  readonly #listeners = new Set<(entry: AuditEntry) => void>();

  private constructor(options: AuditFileOptions, fd: number, number: number) {
    this.#o = options;
    this.#path = join(options.dir, CURRENT);
    this.#limitBytes = this.#rotateBytes = options.fileBytes ?? LIMITS.auditFileBytes;
    this.#fd = fd;
    this.#size = fstatSync(fd).size;
    this.#number = number;
  }

  /** Goes on where the files end. Errors: store.failed when they cannot be read or written. */
  static async open(options: AuditFileOptions): Promise<AuditFile> {
    const { dir } = options;
    const path = join(dir, CURRENT);
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      chmodSync(dir, 0o700);
      const number = (await numbersIn(dir)).at(-1) ?? 0;
      const log = new AuditFile(options, openLog(path), number);
      await log.#continue();
      return log;
    } catch (error) {
      throw error instanceof BrigError ? error : failed(path, error);
    }
  }

  get head(): Anchor {
    return this.#head;
  }

  /** Where the last whole entry is, what is behind it, and whether it is the one that should be there. */
  async #continue(): Promise<void> {
    const { last, wholeBytes, rest } = await tailOf(this.#path);
    this.#wholeBytes = wholeBytes;
    this.#isOpen = this.#size > 0 && !rest.endsWith('\n');
    this.#torn = last ? rest.slice(1) : rest;
    const head = last ?? (await this.#lastOfOlder());
    if (head) this.#head = { seq: head.seq, hash: head.hash };
    await this.#compare();
    this.#flush();
  }

  /** A brigd that ended between two files. */
  async #lastOfOlder(): Promise<AuditEntry | undefined> {
    if (this.#number === 0) return undefined;
    const { last, rest } = await tailOf(`${this.#path}.${this.#number}`);
    const torn = last ? rest.slice(1) : rest;
    this.#torn = (torn === '' || torn.endsWith('\n') ? torn : `${torn}\n`) + this.#torn;
    return last;
  }

  /** Goes on from what is known, in a file of its own: what was changed or lost stays to be seen. */
  async #compare(): Promise<void> {
    const anchor = this.#o.anchors.get();
    if (!anchor) return;
    this.#anchored = anchor.seq;
    if (await this.#has(anchor)) return;
    const lost = { seq: anchor.seq, hash: anchor.hash, found: this.#head.seq };
    if (this.#size > 0) this.#rotate();
    this.#torn = '';
    this.#head = anchor;
    this.#tell(told(`entry ${anchor.seq} was known and is not there, or is another`, lost));
  }

  async #has({ seq, hash }: Anchor): Promise<boolean> {
    if (seq > this.#head.seq) return false;
    if (seq === this.#head.seq) return hash === this.#head.hash;
    for await (const entry of readEntries(this.#o.dir, seq - 1))
      // Files of before it may have been moved away.
      return entry.seq === seq ? entry.hash === hash : entry.seq > seq + 1 || entry.prev === hash;
    return false;
  }

  append(entry: NewEntry, { durable = false }: { readonly durable?: boolean } = {}): Promise<number> {
    if (this.#isClosed) return Promise.reject(failed(this.#path, 'it is closed'));
    return this.#enqueue(entry, durable);
  }

  #enqueue(entry: NewEntry, isDurable: boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ entry, atMs: this.#o.now(), isDurable, resolve, reject });
    });
  }

  /** What brigd itself has to say; nobody waits for it. */
  #tell(entry: NewEntry): void {
    void this.#enqueue(entry, false).catch(() => undefined);
  }

  /** Chained in the order in which they came; what brigd has to tell of torn bytes comes first. */
  #chainAll(batch: readonly Waiting[]): Chained[] {
    const chained: Chained[] = [];
    let head = this.#head;
    const add = (entry: NewEntry, atMs: number, waiting?: Waiting): void => {
      const next = chain(head, entry, atMs);
      chained.push(waiting ? { ...next, waiting } : next);
      head = next.entry;
    };
    if (this.#torn !== '') add(tornEntry(this.#closedTorn()), this.#o.now());
    for (const each of batch) add(each.entry, each.atMs, each);
    return chained;
  }

  /** As a line: with the end that it gets before the next entry. */
  #closedTorn(): string {
    return this.#torn === '' || this.#torn.endsWith('\n') ? this.#torn : `${this.#torn}\n`;
  }

  #flush(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0 && this.#torn === '') return;
    const chained = this.#chainAll(batch);
    const lines = chained.map(({ line }) => `${line}\n`);
    const bytes = lines.reduce((sum, { length }) => sum + length, 0);
    if (this.#size > 0 && this.#size + bytes > this.#rotateBytes) this.#rotateIfPossible();
    const text = (this.#isOpen ? '\n' : '') + lines.join('');
    const { written, error } = writeAll(this.#fd, Buffer.from(text, 'latin1'));
    this.#settle(chained, text, written, error);
  }

  /** What is wholly there counts, even when it came to no more. */
  #settle(chained: readonly Chained[], text: string, written: number, error: unknown): void {
    let end = this.#isOpen ? 1 : 0;
    let done = 0;
    for (const each of chained) {
      if (end + each.line.length > written) break;
      end += each.line.length + 1;
      done++;
    }
    const whole = done === 0 ? 0 : end - 1;
    const rest = text.slice(whole, written);
    if (done > 0) this.#wholeBytes = this.#size + whole;
    // Behind a whole entry comes its own end of line, which may have been missing until now.
    const isBehindEntry = done > 0 || (this.#isOpen && this.#torn === '');
    this.#torn = isBehindEntry ? rest.slice(1) : this.#torn + rest;
    if (written > 0) this.#isOpen = text[written - 1] !== '\n';
    this.#size += written;
    for (const each of chained.slice(0, done)) this.#keep(each);
    if (error !== undefined) this.#refuse(chained.slice(done), failed(this.#path, error));
    if (this.#unsynced.length > 0) void this.#sync();
  }

  #refuse(chained: readonly Chained[], why: BrigError): void {
    for (const { waiting } of chained) waiting?.reject(why);
  }

  #keep({ entry, waiting }: Chained): void {
    this.#head = { seq: entry.seq, hash: entry.hash };
    this.#recent.push(entry);
    if (this.#recent.length >= 2 * LIMITS.auditRecent) this.#recent = this.#recent.slice(-LIMITS.auditRecent);
    if (waiting?.isDurable) this.#unsynced.push({ waiting, seq: entry.seq });
    else waiting?.resolve(entry.seq);
    for (const listener of this.#listeners) listener(entry);
  }

  /** One after the other: who comes while the disk is at work shares the next. */
  #sync(): Promise<void> {
    return (this.#syncing ??= this.#syncAll().finally(() => (this.#syncing = undefined)));
  }

  async #syncAll(): Promise<void> {
    while (this.#unsynced.length > 0) {
      const group = this.#unsynced;
      this.#unsynced = [];
      try {
        await sync(this.#fd);
        for (const { waiting, seq } of group) waiting.resolve(seq);
      } catch (error) {
        const why = failed(this.#path, error);
        for (const { waiting } of group) waiting.reject(why);
        this.#tell(told(`entries up to ${this.#head.seq} may not be on the disk`, { reason: messageOf(error) }));
      }
    }
  }

  /** A file that may not be renamed grows on. */
  #rotateIfPossible(): void {
    try {
      this.#rotate();
    } catch (error) {
      this.#rotateBytes = this.#size + this.#limitBytes;
      this.#tell(told('audit.log cannot be rotated', { reason: messageOf(error) }));
    }
  }

  /** What it held is on the disk when it has its number. */
  #rotate(): void {
    const older = `${this.#path}.${this.#number + 1}`;
    fsyncSync(this.#fd);
    renameSync(this.#path, older);
    try {
      this.#begin();
    } catch (error) {
      renameSync(older, this.#path);
      throw error;
    }
    this.#number++;
  }

  /** A new file; the old one is closed when nothing waits for it any more. */
  #begin(): void {
    const old = this.#fd;
    this.#fd = this.#makeFile();
    void (this.#syncing ?? Promise.resolve()).finally(() => closeSync(old));
    this.#torn = this.#closedTorn();
    this.#isOpen = false;
    this.#size = this.#wholeBytes = 0;
    this.#rotateBytes = this.#limitBytes;
  }

  /** Its name is on the disk, too, or it is not there. */
  #makeFile(): number {
    const fd = openLog(this.#path, constants.O_EXCL);
    try {
      syncDirectory(this.#o.dir);
      return fd;
    } catch (error) {
      closeSync(fd);
      unlinkSync(this.#path);
      throw error;
    }
  }

  #isOurs(): boolean {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    const own = fstatSync(this.#fd);
    return there?.ino === own.ino && there.dev === own.dev;
  }

  /** Somebody took the file away, or put another in its place: what is there keeps a number, and a new one is begun. */
  #replace(): void {
    const isThere = statSync(this.#path, { throwIfNoEntry: false }) !== undefined;
    if (isThere) renameSync(this.#path, `${this.#path}.${++this.#number}`);
    this.#begin();
    this.#tell(told(isThere ? 'audit.log was another file' : 'audit.log was taken away'));
  }

  /** Remembers the last entry apart from the file, once it is on the disk. Errors: store.failed. */
  async anchor(): Promise<void> {
    try {
      if (!this.#isOurs()) this.#replace();
      const head = this.#head;
      if (head.seq === this.#anchored) return;
      await this.#syncing;
      await sync(this.#fd);
      this.#o.anchors.put(head);
      this.#anchored = head.seq;
    } catch (error) {
      throw failed(this.#path, error);
    }
  }

  async *entries(after: number): AsyncGenerator<AuditEntry> {
    for (let at = after; at < this.#head.seq;) {
      const before = at;
      for await (const entry of this.#entriesAfter(at)) {
        yield entry;
        at = entry.seq;
      }
      // What should be there is not: verify tells.
      if (at === before) return;
    }
  }

  #entriesAfter(after: number): Iterable<AuditEntry> | AsyncIterable<AuditEntry> {
    const first = this.#recent[0]?.seq;
    if (first === undefined || after + 1 < first) return readEntries(this.#o.dir, after);
    return this.#recent.slice(after + 1 - first);
  }

  follow(listener: (entry: AuditEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Up to what is known at this moment: more may be written, here or in another file, while it is read. */
  async verify(wanted?: string): Promise<AuditReport> {
    const [head, endBytes] = [this.#head, this.#wholeBytes];
    if (!this.#isOurs())
      return { ok: false, file: this.#path, seq: head.seq, why: 'it is not the file that brigd writes to' };
    const anchor = this.#o.anchors.get();
    const known = [...(anchor ? [anchor] : []), head];
    const file = await this.#openWritten();
    try {
      return await verifyLog(this.#o.dir, file, endBytes, { known, ...(wanted === undefined ? {} : { wanted }) });
    } finally {
      await file.close();
    }
  }

  /** What is written to at this moment: it may get its number while it is opened. */
  async #openWritten(): Promise<FileHandle> {
    const { ino } = fstatSync(this.#fd);
    const later = `${this.#path}.${this.#number + 1}`;
    const file = await openToRead(this.#path);
    if (fstatSync(file.fd).ino === ino) return file;
    await file.close();
    return await openToRead(later);
  }

  /** Writes what waits, and anchors it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#flush();
    try {
      await this.anchor();
    } finally {
      this.#flush();
      await this.#syncing;
      closeSync(this.#fd);
    }
  }
}
