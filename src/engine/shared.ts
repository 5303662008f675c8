/** Who uses what several VMs share. A VM claims before it looks, and lets go when it undoes its use of it. */
export class Shared {
  readonly #claims = new Map<string, Set<string>>();
  readonly #undoing = new Map<string, Promise<void>>();

  /** Waits for an undo of the same resource that is under way: what it removes must not be taken for granted. */
  async claim(vm: string, keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const users = this.#claims.get(key) ?? new Set();
      this.#claims.set(key, users.add(vm));
      await this.#undoing.get(key);
    }
  }

  release(vm: string): void {
    for (const users of this.#claims.values()) users.delete(vm);
  }

  /** For one VM: runs the undo only when nobody else claims the resource. */
  for(vm: string): { undo(key: string, work: () => Promise<void>): Promise<void> } {
    return {
      undo: async (key, work) => {
        // Given up here, not at the end: of two that go at once the second must see that it is the last.
        const users = this.#claims.get(key);
        users?.delete(vm);
        if (users && users.size > 0) return;
        const running = work();
        const settled = running.catch(() => undefined);
        this.#undoing.set(key, settled);
        try {
          await running;
        } finally {
          if (this.#undoing.get(key) === settled) this.#undoing.delete(key);
        }
      },
    };
  }
}
