const METHODS: readonly (string | undefined)[] = ['GET', 'POST', 'PUT', 'DELETE'];

/** Requests since brigd began, by method and class of status: few numbers, whatever is asked. */
export class Traffic {
  readonly #counts = new Map<string, { readonly method: string; readonly status: string; count: number }>();
  throttled = 0;

  /** `status`: 0 for one whose caller went away before it was answered. */
  count(method: string | undefined, status: number): void {
    const known = METHODS.includes(method) ? (method ?? '') : 'other';
    const group = status === 0 ? 'none' : `${Math.floor(status / 100)}xx`;
    const key = `${known} ${group}`;
    const entry = this.#counts.get(key) ?? { method: known, status: group, count: 0 };
    entry.count++;
    this.#counts.set(key, entry);
    if (status === 429) this.throttled++;
  }

  all(): { readonly method: string; readonly status: string; readonly count: number }[] {
    return [...this.#counts.values()];
  }
}
