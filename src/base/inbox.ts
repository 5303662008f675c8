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

  /** As many bytes as the buffer has, copied into it: nothing else is allocated. Answers how many came. */
  async takeInto(buffer: Buffer): Promise<number> {
    let done = 0;
    while (done < buffer.length) {
      await this.#fill(1);
      const chunk = this.#chunks[0];
      if (!chunk || chunk.length === 0) break;
      const copied = chunk.copy(buffer, done);
      done += copied;
      this.#bytes -= copied;
      if (copied < chunk.length) this.#chunks[0] = chunk.subarray(copied);
      else this.#chunks.shift();
    }
    return done;
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

/** A few buffers that take turns: what passes by is no garbage. Each is its user's until it has been round. */
export class Rooms {
  readonly #buffers: (Buffer<ArrayBuffer> | undefined)[];
  readonly #bytes: number;
  #turn = 0;

  /** `bytes`: of the largest; `count`: how many are in somebody's hands at once, and one more. */
  constructor(bytes: number, count = 4) {
    this.#bytes = bytes;
    this.#buffers = Array.from({ length: count });
  }

  next(bytes: number): Buffer<ArrayBuffer> {
    const i = this.#turn++ % this.#buffers.length;
    const buffer = (this.#buffers[i] ??= Buffer.allocUnsafeSlow(this.#bytes));
    return buffer.subarray(0, bytes);
  }
}
