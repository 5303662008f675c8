import { messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { PERIODS, type Period } from '../spec/snapshot.ts';
import type { Store } from '../store/store.ts';
import type { VmRow } from '../store/rows.ts';
import type { EventLog } from './events.ts';
import { stamp, type Snapshots } from './snapshots.ts';

export interface ScheduleOptions<Seen> {
  readonly host: Host;
  readonly store: Store;
  readonly events: EventLog;
  readonly snapshots: Snapshots<Seen>;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Hours, days, and weeks from Monday on, in UTC. */
const SLOT: Record<Period, (ms: number) => number> = {
  hourly: (ms) => Math.floor(ms / HOUR_MS),
  daily: (ms) => Math.floor(ms / DAY_MS),
  // The epoch was a Thursday.
  weekly: (ms) => Math.floor((ms / DAY_MS + 3) / 7),
};

/** One snapshot of a VM and period in each hour, day or week, and as many kept as the document says. */
export class Schedule<Seen> {
  readonly #o: ScheduleOptions<Seen>;
  /** The last slot in which one was made or tried. */
  readonly #tried = new Map<string, number>();

  constructor(options: ScheduleOptions<Seen>) {
    this.#o = options;
  }

  /** Makes what is due; one after the other for each VM, and nobody waits for it. */
  pass(): void {
    const now = this.#o.host.now();
    for (const row of this.#o.store.listVms()) {
      if (!row.spec.snapshots) continue;
      const due = PERIODS.filter((period) => this.#isDue(row, period, now));
      if (due.length > 0) void this.#make(row.name, due);
    }
  }

  /** What brigd missed while it was down is made once. */
  #isDue({ name, spec, createdMs }: VmRow, period: Period, now: number): boolean {
    if (spec.snapshots?.[period] === undefined) return false;
    const key = `${name} ${period} ${createdMs}`;
    const slotOf = SLOT[period];
    const last = this.#tried.get(key) ?? slotOf(this.#o.store.snapshots.last(name, period) ?? createdMs);
    this.#tried.set(key, Math.max(last, slotOf(now)));
    return slotOf(now) > last;
  }

  async #make(name: string, due: readonly Period[]): Promise<void> {
    const { snapshots, events, host } = this.#o;
    for (const period of due)
      try {
        await snapshots.make(name, `${period}-${stamp(host.now())}`, { cause: 'brigd' }, period);
        await this.#prune(name, period);
      } catch (error) {
        events.add('snapshot.failed', 'brigd', name, { kind: period, reason: messageOf(error) });
      }
  }

  async #prune(name: string, period: Period): Promise<void> {
    const { snapshots, store } = this.#o;
    const kept = store.findVm(name)?.spec.snapshots?.[period] ?? Infinity;
    const all = store.snapshots.of(name).filter(({ kind }) => kind === period);
    for (const row of all.slice(0, Math.max(0, all.length - kept)))
      await snapshots.remove(name, row.name, { cause: 'brigd' });
  }
}
