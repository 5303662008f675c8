/** What becomes of typed bytes: some are sent, and between them something is asked of brig itself. */
export type Typed = { readonly send: Buffer } | { readonly ask: 'detach' | 'help' | 'size' };

const TILDE = 0x7e;
const ASKS: Readonly<Record<string, 'detach' | 'help' | 'size'>> = { '.': 'detach', '?': 'help', w: 'size' };

/** Looks for `~` and a letter at the start of a line in what is typed; `~~` is one tilde. */
export class Escape {
  #atLineStart = true;
  #tilde = false;

  /** Nothing after a `detach`. */
  feed(chunk: Buffer): Typed[] {
    const typed: Typed[] = [];
    let out: number[] = [];
    const ask = (what: 'detach' | 'help' | 'size'): void => {
      if (out.length > 0) typed.push({ send: Buffer.from(out) });
      out = [];
      typed.push({ ask: what });
    };
    for (const byte of chunk) {
      if (this.#tilde) {
        this.#tilde = false;
        const what = ASKS[String.fromCharCode(byte)];
        if (what) ask(what);
        if (what === 'detach') return typed;
        // The line has not begun yet.
        if (what) continue;
        if (byte !== TILDE) out.push(TILDE);
      } else if (byte === TILDE && this.#atLineStart) {
        this.#tilde = true;
        continue;
      }
      out.push(byte);
      this.#atLineStart = byte === 0x0d || byte === 0x0a;
    }
    if (out.length > 0) typed.push({ send: Buffer.from(out) });
    return typed;
  }
}
