import { appendFile, open, rename, stat, type FileHandle } from 'node:fs/promises';
import { LIMITS } from '../base/limits.ts';

/** The last bytes of a file; none when it is not there. */
const endOf = async (path: string, bytes: number): Promise<Buffer> => {
  const file = await open(path).catch(() => undefined);
  if (!file) return Buffer.alloc(0);
  try {
    const { size } = await file.stat();
    const wanted = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, size - wanted);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
};

/** Of a file that is read piece by piece: what a slow reader takes within the time that each has. */
const PIECE_BYTES = 2 ** 16;

/** Bytes from here to there; fewer when the file is shorter by then. */
const bytesOf = async function* (file: FileHandle, from: number, to: number): AsyncGenerator<Buffer> {
  for (let at = from; at < to;) {
    const wanted = Math.min(PIECE_BYTES, to - at);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
};

/** What a log held at one moment, whatever its files are called by now. */
interface Kept {
  /** Oldest first. */
  readonly files: readonly { readonly file: FileHandle; readonly bytes: number }[];
  readonly pending: readonly Buffer[];
}

const sizeOf = ({ files, pending }: Kept): number =>
  files.reduce((sum, { bytes }) => sum + bytes, 0) + pending.reduce((sum, { length }) => sum + length, 0);

/** All but so many of the oldest bytes. */
const keptFrom = async function* ({ files, pending }: Kept, skipped: number): AsyncGenerator<Buffer> {
  let skip = skipped;
  for (const { file, bytes } of files) {
    yield* bytesOf(file, Math.max(0, skip), bytes);
    skip -= bytes;
  }
  for (const chunk of pending) {
    if (skip < chunk.length) yield chunk.subarray(Math.max(0, skip));
    skip -= chunk.length;
  }
};

/**
 * A log of at most `limitBytes` on disk, in two files: the newer is renamed over the older when it is half of that.
 * What comes fast is written in batches, each after a pause as long as the one before it was large.
 */
export class BoundedLog {
  readonly #path: string;
  readonly #half: number;
  readonly #perSecond: number;
  #size: number | undefined;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** The files are read and written by one at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #isWriting = false;
  #pause: NodeJS.Timeout | undefined;

  constructor(path: string, limitBytes: number) {
    this.#path = path;
    this.#half = Math.floor(limitBytes / 2);
    const { consoleLogLeastPerSecond: least, consoleLogMostPerSecond: most } = LIMITS;
    this.#perSecond = Math.min(most, Math.max(least, this.#half));
  }

  /** Never waits; what comes faster than it is written is dropped from the front. */
  append(chunk: Buffer): void {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    const most = Math.min(this.#half, LIMITS.consoleLogPendingBytes);
    while (this.#pendingBytes > most) this.#drop(this.#pendingBytes - most);
    if (!this.#isWriting && !this.#pause) this.#write();
  }

  /** Of the oldest chunk, no more than that: what came last is in it, too. */
  #drop(bytes: number): void {
    const [first = Buffer.alloc(0)] = this.#pending;
    const gone = Math.min(bytes, first.length);
    if (gone === first.length) this.#pending.shift();
    else this.#pending[0] = first.subarray(gone);
    this.#pendingBytes -= gone;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #write(): void {
    this.#isWriting = true;
    const written = this.#inTurn(() => this.#writePending());
    // A full disk costs history, never the guest.
    void written
      .catch(() => 0)
      .then((bytes) => {
        this.#isWriting = false;
        const pauseMs = Math.max(LIMITS.consoleLogEveryMs, (bytes * 1000) / this.#perSecond);
        this.#pause = setTimeout(() => this.#goOn(), pauseMs).unref();
      });
  }

  #goOn(): void {
    this.#pause = undefined;
    if (this.#pending.length > 0) this.#write();
  }

  async #writePending(): Promise<number> {
    const chunk = Buffer.concat(this.#pending).subarray(-this.#half);
    this.#pending = [];
    this.#pendingBytes = 0;
    if (chunk.length === 0) return 0;
    this.#size ??= await stat(this.#path).then(
      ({ size }) => size,
      () => 0,
    );
    if (this.#size + chunk.length > this.#half) {
      await rename(this.#path, `${this.#path}.old`).catch(() => undefined);
      this.#size = 0;
    }
    await appendFile(this.#path, chunk, { mode: 0o600 });
    this.#size += chunk.length;
    return chunk.length;
  }

  /** The newest bytes, at most `most` of them: all that was appended until the moment in which it resolves. */
  tail(most: number): Promise<Buffer> {
    const bytes = Math.min(most, 2 * this.#half);
    return this.#inTurn(async () => {
      const newer = await endOf(this.#path, bytes);
      const older = newer.length < bytes ? await endOf(`${this.#path}.old`, bytes - newer.length) : Buffer.alloc(0);
      const all = Buffer.concat([older, newer, ...this.#pending]);
      return all.subarray(Math.max(0, all.length - bytes));
    });
  }

  /** The newest bytes, at most `most` of them, as they are when the first is asked for; a piece of them in memory. */
  async *pieces(most: number): AsyncGenerator<Buffer> {
    const kept = await this.#inTurn(() => this.#open());
    try {
      yield* keptFrom(kept, Math.max(0, sizeOf(kept) - most));
    } finally {
      for (const { file } of kept.files) await file.close();
    }
  }

  async #open(): Promise<Kept> {
    const files: { file: FileHandle; bytes: number }[] = [];
    for (const path of [`${this.#path}.old`, this.#path]) {
      const file = await open(path).catch(() => undefined);
      if (file) files.push({ file, bytes: (await file.stat()).size });
    }
    return { files, pending: [...this.#pending] };
  }

  /** What waits is written now. */
  async flush(): Promise<void> {
    await this.#inTurn(() => this.#writePending()).catch(() => undefined);
  }
}
