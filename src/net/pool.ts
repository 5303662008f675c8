/** Five bits a level: a node's children, or the words of a bottom node, by the bits of one number. */
const WIDTH = 5n;
const FULL = 0xffffffff;

interface Node {
  /** Bit i: all of child i is taken. */
  full: number;
  /** Children; of a node at the bottom the words themselves, a bit for each number. */
  readonly below: (Node | undefined)[] | Uint32Array;
}

const newNode = (isBottom: boolean): Node => ({ full: 0, below: isBottom ? new Uint32Array(32) : [] });

const lowestFree = (mask: number): number => 31 - Math.clz32(~mask & -~mask);

/** The digits of a number, base 32, the highest first. */
const digitsOf = (value: bigint, levels: number): number[] => {
  const digits = new Array<number>(levels);
  let rest = value;
  for (let i = levels - 1; i >= 0; i--) {
    digits[i] = Number(rest & 31n);
    rest >>= WIDTH;
  }
  return digits;
};

/**
 * Which numbers from 0 to size - 1 are taken; the lowest free one is found in as many steps as the size has digits,
 * however many are taken, and only what is taken needs memory.
 */
class Bitmap {
  readonly size: bigint;
  readonly #levels: number;
  readonly #root: Node;

  constructor(size: bigint) {
    this.size = size;
    let levels = 2;
    while (1n << (WIDTH * BigInt(levels)) < size) levels++;
    this.#levels = levels;
    this.#root = newNode(levels === 2);
  }

  /** False when it was that way before. */
  set(value: bigint, taken: boolean): boolean {
    const digits = digitsOf(value, this.#levels);
    const path: Node[] = [this.#root];
    for (let depth = 0; depth < this.#levels - 2; depth++) {
      const { below } = path[depth] as Node & { below: (Node | undefined)[] };
      const digit = digits[depth] ?? 0;
      path.push((below[digit] ??= newNode(depth === this.#levels - 3)));
    }
    const bottom = path.at(-1) as Node & { below: Uint32Array };
    const [word = 0, bit = 0] = digits.slice(-2);
    const before = bottom.below[word] ?? 0;
    const after = (taken ? before | (1 << bit) : before & ~(1 << bit)) >>> 0;
    if (before === after) return false;
    bottom.below[word] = after;
    this.#raise(path, digits, after === FULL);
    return true;
  }

  /** Tells those above what became full, or is so no more. */
  #raise(path: readonly Node[], digits: readonly number[], isFull: boolean): void {
    let full = isFull;
    for (let depth = path.length - 1; depth >= 0; depth--) {
      const node = path[depth];
      if (!node) return;
      const bit = 1 << (digits[depth] ?? 0);
      node.full = (full ? node.full | bit : node.full & ~bit) >>> 0;
      full = node.full === FULL;
    }
  }

  has(value: bigint): boolean {
    const digits = digitsOf(value, this.#levels);
    let node: Node | undefined = this.#root;
    for (let depth = 0; node; depth++) {
      const digit = digits[depth] ?? 0;
      if (node.below instanceof Uint32Array) return (((node.below[digit] ?? 0) >>> (digits[depth + 1] ?? 0)) & 1) === 1;
      node = node.below[digit];
    }
    return false;
  }

  next(): bigint | undefined {
    if (this.#root.full === FULL) return undefined;
    let value = 0n;
    let node = this.#root;
    for (let level = this.#levels - 1; level > 0; level--) {
      const digit = lowestFree(node.full);
      value = (value << WIDTH) | BigInt(digit);
      const { below } = node;
      if (below instanceof Uint32Array) {
        value = (value << WIDTH) | BigInt(lowestFree(below[digit] ?? 0));
        break;
      }
      const next = below[digit];
      if (!next) {
        // Nothing of it is taken.
        value <<= WIDTH * BigInt(level);
        break;
      }
      node = next;
    }
    return value < this.size ? value : undefined;
  }
}

/** Numbers that follow each other and may be given. */
export interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * Numbers that are given and taken back, each at most once: addresses of a subnet, or blocks of a larger one.
 * Units: addresses, or blocks of `1n << BigInt(shift)` addresses, which begin at multiples of that.
 * Shape: `new Pool([{first: 10n, last: 20n}])`; what is not in a span cannot be given.
 */
export class Pool {
  readonly #spans: readonly { readonly first: bigint; readonly bits: Bitmap }[];
  readonly #shift: bigint;
  readonly size: bigint;
  #taken = 0n;

  constructor(spans: readonly Span[], shift = 0) {
    this.#shift = BigInt(shift);
    const unit = 1n << this.#shift;
    this.#spans = spans
      .map(({ first, last }) => ({ first: (first + unit - 1n) >> this.#shift, end: (last + 1n) >> this.#shift }))
      .filter(({ first, end }) => first < end)
      .map(({ first, end }) => ({ first, bits: new Bitmap(end - first) }));
    this.size = this.#spans.reduce((sum, { bits }) => sum + bits.size, 0n);
  }

  get free(): bigint {
    return this.size - this.#taken;
  }

  #find(value: bigint): { readonly bits: Bitmap; readonly at: bigint } | undefined {
    const number = value >> this.#shift;
    const span = this.#spans.find(({ first, bits }) => first <= number && number < first + bits.size);
    return span && number << this.#shift === value ? { bits: span.bits, at: number - span.first } : undefined;
  }

  /** Whether it may be given by this pool at all. */
  covers(value: bigint): boolean {
    return this.#find(value) !== undefined;
  }

  isTaken(value: bigint): boolean {
    const found = this.#find(value);
    return found?.bits.has(found.at) ?? false;
  }

  /** The lowest that is free; undefined when none is. It is not taken yet. */
  next(): bigint | undefined {
    for (const { first, bits } of this.#spans) {
      const at = bits.next();
      if (at !== undefined) return (first + at) << this.#shift;
    }
    return undefined;
  }

  /** False when it is taken already, or no number of this pool. */
  take(value: bigint): boolean {
    const found = this.#find(value);
    if (!found?.bits.set(found.at, true)) return false;
    this.#taken++;
    return true;
  }

  /** False when it was not taken. */
  give(value: bigint): boolean {
    const found = this.#find(value);
    if (!found?.bits.set(found.at, false)) return false;
    this.#taken--;
    return true;
  }
}
