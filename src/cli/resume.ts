/** What is looked for in the history of a console that one comes back to. */
const OVERLAP_BYTES = 512;
/** Less than this is somewhere in any history. */
const LEAST_BYTES = 8;
/** What brig itself said in between is in no history. */
const NOTE = /\r\n\[brig: [^\r\n]*\]\r\n/g;
const NOTE_BYTES = 1024;

const EMPTY = Buffer.alloc(0);

/** Remembers the end of what was printed, so that a console goes on where it was lost. */
export class Resume {
  #seen = EMPTY;
  #replay: Buffer[] = [];
  #missing = 0;

  /** A new attachment begins with so many bytes of history. */
  begin(historyBytes: number): void {
    this.#replay = [];
    this.#missing = this.#seen.length === 0 ? 0 : historyBytes;
  }

  /** What of it is to be printed. */
  feed(chunk: Buffer): Buffer {
    if (this.#missing === 0) return this.#remember(chunk);
    const part = chunk.subarray(0, this.#missing);
    this.#replay.push(part);
    this.#missing -= part.length;
    if (this.#missing > 0) return EMPTY;
    return this.#remember(Buffer.concat([this.#after(Buffer.concat(this.#replay)), chunk.subarray(part.length)]));
  }

  #remember(printed: Buffer): Buffer {
    this.#seen = Buffer.concat([this.#seen, printed]).subarray(-OVERLAP_BYTES - NOTE_BYTES);
    return printed;
  }

  /** What follows the end of what was seen; all of it when that is not there. */
  #after(history: Buffer): Buffer {
    const said = this.#seen.toString('latin1').replaceAll(NOTE, '').slice(-OVERLAP_BYTES);
    const at = said.length < LEAST_BYTES ? -1 : history.lastIndexOf(said, undefined, 'latin1');
    return at < 0 ? history : history.subarray(at + said.length);
  }
}
