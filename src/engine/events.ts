import type { Store } from '../store/store.ts';
import type { EventRow } from '../store/rows.ts';

type Listener = (event: EventRow) => void;

/** The one ordered log: stored, then told to whoever listens. */
export class EventLog {
  readonly #store: Store;
  readonly #now: () => number;
  /** By VM; those of all under undefined. */
  readonly #listeners = new Map<string | undefined, Set<Listener>>();

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  add(kind: string, cause: string, vm: string | undefined, data: Readonly<Record<string, unknown>> = {}): void {
    const event = this.#record({ atMs: this.#now(), vm, kind, cause, data });
    for (const listener of this.#listeners.get(undefined) ?? []) listener(event);
    if (vm !== undefined) for (const listener of this.#listeners.get(vm) ?? []) listener(event);
  }

  /** A full disk must not stop an undo: the event is told, and lost from the log. */
  #record(event: Omit<EventRow, 'seq'>): EventRow {
    try {
      return this.#store.addEvent(event);
    } catch {
      return { ...event, seq: 0 };
    }
  }

  /** To all events, or to one VM's. Returns how to stop listening. */
  listen(listener: Listener, vm?: string): () => void {
    const listeners = this.#listeners.get(vm) ?? new Set();
    this.#listeners.set(vm, listeners.add(listener));
    return () => {
      if (listeners.delete(listener) && listeners.size === 0) this.#listeners.delete(vm);
    };
  }

  /** After a cursor, oldest first; when some behind it are not kept any more, an `events.gap` says so first. */
  list(afterSeq: number, limit: number, vm?: string): EventRow[] {
    const page = this.#store.listEvents(afterSeq, limit, vm);
    const first = this.#store.firstEvent();
    if (afterSeq === 0 || first === undefined || first <= afterSeq + 1) return page;
    const data = { after: afterSeq, lost: first - 1 - afterSeq };
    return [{ seq: first - 1, atMs: this.#now(), vm: undefined, kind: 'events.gap', cause: 'brigd', data }, ...page];
  }

  last(limit: number, vm: string): EventRow[] {
    return this.#store.lastEvents(limit, vm);
  }
}
