import { appendFile, readFile, rename, stat } from 'node:fs/promises';

/** A log of at most `limitBytes` on disk, in two files: the newer is renamed over the older when it is half of that. */
export class BoundedLog {
  readonly #path: string;
  readonly #limitBytes: number;
  #size: number | undefined;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #writing: Promise<void> | undefined;

  constructor(path: string, limitBytes: number) {
    this.#path = path;
    this.#limitBytes = limitBytes;
  }

  /** Never waits; what comes faster than the disk takes it is dropped from the front. */
  append(chunk: Buffer): void {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    while (this.#pendingBytes > this.#limitBytes / 2 && this.#pending.length > 1)
      this.#pendingBytes -= this.#pending.shift()?.length ?? 0;
    // A full disk costs history, never the guest.
    this.#writing ??= this.#write()
      .catch(() => undefined)
      .finally(() => (this.#writing = undefined));
  }

  async #write(): Promise<void> {
    while (this.#pending.length > 0) {
      const chunk = Buffer.concat(this.#pending).subarray(-this.#limitBytes / 2);
      this.#pending = [];
      this.#pendingBytes = 0;
      this.#size ??= await stat(this.#path).then(
        ({ size }) => size,
        () => 0,
      );
      if (this.#size + chunk.length > this.#limitBytes / 2) {
        await rename(this.#path, `${this.#path}.old`).catch(() => undefined);
        this.#size = 0;
      }
      await appendFile(this.#path, chunk, { mode: 0o600 });
      this.#size += chunk.length;
    }
  }

  /** The newest bytes, at most `bytes` of them. */
  async tail(bytes: number): Promise<Buffer> {
    await this.#writing;
    const parts = await Promise.all(
      [`${this.#path}.old`, this.#path].map((path) => readFile(path).catch(() => Buffer.alloc(0))),
    );
    const all = Buffer.concat(parts);
    return all.subarray(Math.max(0, all.length - bytes));
  }
}
