/**
 * Bytes that come in pieces of any size, taken out in pieces of the taker's. A piece may be its source's own, used again
 * for the next: no more than one is kept.
 */
export class Inbox {
  readonly #source: AsyncIterator<Uint8Array>;
  /** What was looked at, or is left of the last piece. */
  #chunks: Buffer[] = [];

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next bytes as they came, at most so many; none only at the end. */
  async some(most: number): Promise<Buffer> {
    let chunk = this.#chunks.shift();
    while (!chunk || chunk.length === 0) {
      const next = await this.#source.next();
      if (next.done) return Buffer.alloc(0);
      chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length);
    }
    if (chunk.length > most) this.#chunks.unshift(chunk.subarray(most));
    return chunk.subarray(0, most);
  }

  /** As many bytes as the buffer has, copied into it; answers how many came: fewer only at the end. */
  async takeInto(buffer: Buffer): Promise<number> {
    let done = 0;
    while (done < buffer.length) {
      const chunk = await this.some(buffer.length - done);
      if (chunk.length === 0) break;
      done += chunk.copy(buffer, done);
    }
    return done;
  }

  /** A copy. Fewer bytes only at the end. */
  async take(bytes: number): Promise<Buffer> {
    const buffer = Buffer.alloc(bytes);
    return buffer.subarray(0, await this.takeInto(buffer));
  }

  /** What comes first, which stays: fewer bytes only at the end. */
  async peek(bytes: number): Promise<Buffer> {
    const head = await this.take(bytes);
    this.#chunks.unshift(head);
    return head;
  }

  /** Nobody reads the rest: the source may let go of what it has. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** All that is left, in pieces as they come. */
  async *rest(): AsyncGenerator<Buffer> {
    for (;;) {
      const chunk = await this.some(Infinity);
      if (chunk.length === 0) return;
      yield chunk;
    }
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
