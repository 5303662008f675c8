import type { EventRow, Store } from '../store/store.ts';

type Listener = (event: EventRow) => void;

/** The one ordered log: stored, then told to whoever listens. */
export class EventLog {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #listeners = new Set<Listener>();

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  add(kind: string, cause: string, vm: string | undefined, data: Readonly<Record<string, unknown>> = {}): void {
    const event = this.#record({ atMs: this.#now(), vm, kind, cause, data });
    for (const listener of this.#listeners) listener(event);
  }

  /** A full disk must not stop an undo: the event is told, and lost from the log. */
  #record(event: Omit<EventRow, 'seq'>): EventRow {
    try {
      return this.#store.addEvent(event);
    } catch {
      return { ...event, seq: 0 };
    }
  }

  /** Returns how to stop listening. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  list(afterSeq: number, limit: number, vm?: string): EventRow[] {
    return this.#store.listEvents(afterSeq, limit, vm);
  }

  last(limit: number, vm: string): EventRow[] {
    return this.#store.lastEvents(limit, vm);
  }
}
