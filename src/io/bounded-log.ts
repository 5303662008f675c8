import { appendFile, open, rename, stat } from 'node:fs/promises';
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
    while (this.#pendingBytes > most && this.#pending.length > 1)
      this.#pendingBytes -= this.#pending.shift()?.length ?? 0;
    if (!this.#isWriting && !this.#pause) this.#write();
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

  /** What waits is written now. */
  async flush(): Promise<void> {
    await this.#inTurn(() => this.#writePending()).catch(() => undefined);
  }
}
