/** Who starts when: priority decides among those that may start, `after` says whom one waits for. */
export interface Ordered {
  readonly name: string;
  /** Lower goes first. */
  readonly priority: number;
  readonly after: readonly string[];
}

export interface Order {
  /** As they were given, each waiting only for those of the set, and nobody for himself through others. */
  readonly items: readonly Ordered[];
  /** What is not in the set: nobody waits for it. */
  readonly missing: readonly { readonly name: string; readonly after: string }[];
  /** Those that wait for each other in a circle; among them priority alone decides. */
  readonly cycles: readonly (readonly string[])[];
}

const byPriority = (a: Ordered, b: Ordered): number => a.priority - b.priority || (a.name < b.name ? -1 : 1);

/** Those that reach each other, by name. Source: Tarjan 1972; a stack of its own, for chains may be long. */
class Circles {
  readonly #graph: ReadonlyMap<string, readonly string[]>;
  readonly #index = new Map<string, number>();
  readonly #low = new Map<string, number>();
  readonly #path: string[] = [];
  /** The number of each one's component. */
  readonly of = new Map<string, number>();
  readonly components: string[][] = [];

  constructor(graph: ReadonlyMap<string, readonly string[]>) {
    this.#graph = graph;
    for (const name of graph.keys()) if (!this.#index.has(name)) this.#visit(name);
  }

  #enter(name: string): { name: string; next: number } {
    this.#index.set(name, this.#index.size);
    this.#low.set(name, this.#index.size - 1);
    this.#path.push(name);
    return { name, next: 0 };
  }

  #lower(name: string, to: number | undefined): void {
    this.#low.set(name, Math.min(this.#low.get(name) ?? 0, to ?? Infinity));
  }

  #visit(root: string): void {
    const stack = [this.#enter(root)];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const to = this.#graph.get(top.name)?.[top.next++];
      if (to === undefined) {
        stack.pop();
        this.#close(top.name);
        const below = stack.at(-1);
        if (below) this.#lower(below.name, this.#low.get(top.name));
      } else if (!this.#index.has(to)) stack.push(this.#enter(to));
      else if (!this.of.has(to)) this.#lower(top.name, this.#index.get(to));
    }
  }

  #close(name: string): void {
    if (this.#low.get(name) !== this.#index.get(name)) return;
    const members = this.#path.splice(this.#path.lastIndexOf(name));
    for (const member of members) this.of.set(member, this.components.length);
    this.components.push(members);
  }
}

/** What can be followed: names that nobody has and circles are taken out, and told. */
export const planOrder = (rows: readonly Ordered[]): Order => {
  const known = new Set(rows.map((row) => row.name));
  const graph = new Map(rows.map((row) => [row.name, [...new Set(row.after)].filter((name) => known.has(name))]));
  const circles = new Circles(graph);
  const isCut = (from: string, to: string): boolean => circles.of.get(from) === circles.of.get(to);
  return {
    items: rows.map(({ name, priority }) => ({
      name,
      priority,
      after: (graph.get(name) ?? []).filter((to) => !isCut(name, to)),
    })),
    missing: rows.flatMap(({ name, after }) =>
      [...new Set(after)].filter((each) => !known.has(each)).map((each) => ({ name, after: each })),
    ),
    cycles: circles.components
      .filter(([first = '', second]) => second !== undefined || graph.get(first)?.includes(first) === true)
      .map((members) => members.sort()),
  };
};

/** The same backwards, for a shutdown: whoever was waited for goes last. */
export const reverseOrder = (items: readonly Ordered[]): Ordered[] => {
  const waiting = dependentsOf(items);
  return items.map(({ name, priority }) => ({ name, priority: -priority, after: waiting.get(name) ?? [] }));
};

/** For each name, who waits for it. */
const dependentsOf = (items: readonly Ordered[]): Map<string, string[]> => {
  const dependents = new Map(items.map(({ name }): [string, string[]] => [name, []]));
  for (const { name, after } of items) for (const each of after) dependents.get(each)?.push(name);
  return dependents;
};

/** How many have to go one after the other, from each one on to the last that waits for it, itself included. */
export const depthsOf = (items: readonly Ordered[]): Map<string, number> => {
  const dependents = dependentsOf(items);
  const left = new Map([...dependents].map(([name, waiting]) => [name, waiting.length]));
  const afterOf = new Map(items.map(({ name, after }) => [name, after]));
  const depths = new Map<string, number>();
  const last = [...left].filter(([, count]) => count === 0).map(([name]) => name);
  for (let name = last.pop(); name !== undefined; name = last.pop()) {
    const below = (dependents.get(name) ?? []).map((each) => depths.get(each) ?? 0);
    depths.set(name, 1 + below.reduce((most, each) => Math.max(most, each), 0));
    for (const each of afterOf.get(name) ?? []) {
      const count = (left.get(each) ?? 0) - 1;
      left.set(each, count);
      if (count === 0) last.push(each);
    }
  }
  return depths;
};

/** The first by priority in O(log n). */
class Queue {
  readonly #heap: Ordered[] = [];

  #isBefore(a: number, b: number): boolean {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    return left !== undefined && right !== undefined && byPriority(left, right) < 0;
  }

  #swap(a: number, b: number): void {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    if (left && right) [this.#heap[a], this.#heap[b]] = [right, left];
  }

  push(item: Ordered): void {
    let at = this.#heap.push(item) - 1;
    for (let up = (at - 1) >> 1; at > 0 && this.#isBefore(at, up); at = up, up = (at - 1) >> 1) this.#swap(at, up);
  }

  shift(): Ordered | undefined {
    this.#swap(0, this.#heap.length - 1);
    const first = this.#heap.pop();
    for (let at = 0, down = this.#least(0); down !== at; at = down, down = this.#least(at)) this.#swap(at, down);
    return first;
  }

  /** The first of one and its two below. */
  #least(at: number): number {
    const [left, right] = [2 * at + 1, 2 * at + 2];
    const least = this.#isBefore(left, at) ? left : at;
    return this.#isBefore(right, least) ? right : least;
  }
}

export interface RunOptions {
  /** Works at once. */
  readonly parallel: number;
  /** What is done for each; a rejection means that it failed. */
  work(name: string): Promise<void>;
  /** Until others may count on it; waiting takes nobody's place. A rejection means that it never will be. */
  ready?(name: string): Promise<void>;
  /** Told of each whose turn never comes, with the one among those it waits for that failed or was left out. */
  skipped?(name: string, because: string): void;
}

/** Names, each in one of the lists. */
export interface RunEnd {
  readonly ready: readonly string[];
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
}

/** One run through an order. */
class Run {
  readonly #o: RunOptions;
  readonly #items: ReadonlyMap<string, Ordered>;
  readonly #dependents: ReadonlyMap<string, readonly string[]>;
  /** How many each still waits for. */
  readonly #waits: Map<string, number>;
  readonly #queue = new Queue();
  readonly #end = { ready: [] as string[], failed: [] as string[], skipped: [] as string[] };
  readonly #skipped = new Set<string>();
  readonly #done = Promise.withResolvers<RunEnd>();
  #left: number;
  #working = 0;

  constructor(items: readonly Ordered[], options: RunOptions) {
    this.#o = options;
    this.#items = new Map(items.map((item) => [item.name, item]));
    this.#dependents = dependentsOf(items);
    this.#waits = new Map(items.map(({ name, after }) => [name, after.length]));
    this.#left = items.length;
    for (const item of items) if (item.after.length === 0) this.#queue.push(item);
  }

  go(): Promise<RunEnd> {
    this.#next();
    return this.#done.promise;
  }

  #next(): void {
    while (this.#working < this.#o.parallel) {
      const item = this.#queue.shift();
      if (!item) break;
      this.#working += 1;
      void this.#one(item.name);
    }
    if (this.#left === 0) this.#done.resolve(this.#end);
  }

  async #one(name: string): Promise<void> {
    try {
      await this.#o.work(name).finally(() => {
        this.#working -= 1;
        this.#next();
      });
      await this.#o.ready?.(name);
      this.#isReady(name);
    } catch {
      this.#failed(name);
    }
    this.#left -= 1;
    this.#next();
  }

  #isReady(name: string): void {
    this.#end.ready.push(name);
    for (const each of this.#dependents.get(name) ?? []) {
      const waits = (this.#waits.get(each) ?? 0) - 1;
      this.#waits.set(each, waits);
      const item = this.#items.get(each);
      if (waits === 0 && item) this.#queue.push(item);
    }
  }

  /** Who waits for it, and who waits for those, is left out. */
  #failed(failed: string): void {
    this.#end.failed.push(failed);
    const lost = [failed];
    for (let because = lost.pop(); because !== undefined; because = lost.pop())
      for (const name of this.#dependents.get(because) ?? []) {
        if (this.#skipped.has(name)) continue;
        this.#skipped.add(name);
        this.#end.skipped.push(name);
        this.#left -= 1;
        this.#o.skipped?.(name, because);
        lost.push(name);
      }
  }
}

/**
 * Works on each as soon as all it waits for are ready, the lowest priority first. `items` must be free of circles,
 * as planOrder makes them. Never rejects. O((n + e) log n).
 */
export const runInOrder = (items: readonly Ordered[], options: RunOptions): Promise<RunEnd> =>
  new Run(items, options).go();
