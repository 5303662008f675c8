import type { Principal } from '../acl/principal.ts';

/** What lasts: a stream of events, a console. */
interface Session {
  readonly who: Principal;
  /** Whether it may go on, by what its principal may do now. */
  readonly still: (who: Principal) => boolean;
  readonly end: () => void;
}

/** What was let in and goes on: looked at again when rules, groups or keys change. */
export class Sessions {
  readonly #open = new Set<Session>();
  readonly #find: (who: Principal) => Principal | undefined;

  /** `find`: the principal as it is now; undefined: it is nobody any more. */
  constructor(find: (who: Principal) => Principal | undefined) {
    this.#find = find;
  }

  /** Returns how to say that it is over. */
  add(who: Principal, still: (who: Principal) => boolean, end: () => void): () => void {
    if (who.isRoot) return () => undefined;
    const session = { who, still, end };
    this.#open.add(session);
    return () => void this.#open.delete(session);
  }

  /** A principal as it is now; undefined: it is nobody any more. */
  now(who: Principal): Principal | undefined {
    return who.isRoot ? who : this.#find(who);
  }

  /** Ends what may not go on. */
  review(): void {
    for (const session of [...this.#open]) {
      const now = this.#find(session.who);
      if (now && session.still(now)) continue;
      this.#open.delete(session);
      session.end();
    }
  }
}
