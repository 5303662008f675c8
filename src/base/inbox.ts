/** Bytes that come in pieces of any size, taken out in pieces of the taker's. */
export class Inbox {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async #fill(bytes: number): Promise<void> {
    while (this.#bytes < bytes) {
      const next = await this.#source.next();
      if (next.done) return;
      this.#chunks.push(Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length));
      this.#bytes += next.value.length;
    }
  }

  #joined(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
    return all ?? Buffer.alloc(0);
  }

  /** What comes first, which stays: fewer bytes only at the end. */
  async peek(bytes: number): Promise<Buffer> {
    await this.#fill(bytes);
    const all = this.#joined();
    this.#chunks = [all];
    return all.subarray(0, bytes);
  }

  /** Fewer bytes only at the end. */
  async take(bytes: number): Promise<Buffer> {
    await this.#fill(bytes);
    const all = this.#joined();
    this.#chunks = all.length > bytes ? [all.subarray(bytes)] : [];
    this.#bytes = Math.max(0, all.length - bytes);
    return all.subarray(0, bytes);
  }

  /** Nobody reads the rest: the source may let go of what it has. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** All that is left, in pieces as they come. */
  async *rest(): AsyncGenerator<Buffer> {
    yield* this.#chunks.splice(0);
    this.#bytes = 0;
    for (let next = await this.#source.next(); !next.done; next = await this.#source.next())
      yield Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length);
  }
}
