import type { StatementSync } from 'node:sqlite';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { deriveMac } from '../net/mac.ts';
import type { VmSpec } from '../spec/vm.ts';

export interface NicLease {
  readonly unit: number;
  readonly mac: string;
}

/** What a VM holds. */
export interface Leased {
  readonly slot: number;
  /** One for each NIC of the spec, in order. */
  readonly nics: readonly NicLease[];
}

type Kind = 'slot' | 'unit';

interface Row {
  readonly kind: Kind;
  readonly number: number;
  readonly holder: string;
  readonly mac: string | null;
}

const LIMIT: Record<Kind, number> = { slot: LIMITS.slots, unit: LIMITS.nicUnits };
const PLURAL: Record<Kind, string> = { slot: 'slots', unit: 'NIC units' };

const NEXT = 'select number + 1 as free from leases where kind = ? order by number desc limit 1';
const FIRST_GAP = `
  select l.number + 1 as free from (select -1 as number union all select number from leases where kind = ?1) l
  where not exists (select 1 from leases where kind = ?1 and number = l.number + 1) order by 1 limit 1
`;

const fromRows = (rows: readonly Row[]): Leased => ({
  slot: rows.find(({ kind }) => kind === 'slot')?.number ?? 0,
  nics: rows.filter(({ kind }) => kind === 'unit').map(({ number, mac }) => ({ unit: number, mac: mac ?? '' })),
});

/** Numbers and addresses of which no two VMs may have the same: each with its holder and the epoch that granted it. */
export class Leases {
  readonly #sql: (text: string) => StatementSync;
  readonly #epoch: number;
  readonly #salt: string;

  constructor(sql: (text: string) => StatementSync, epoch: number, salt: string) {
    this.#sql = sql;
    this.#epoch = epoch;
    this.#salt = salt;
  }

  of(holder: string): Leased {
    return fromRows(this.#sql('select * from leases where holder = ? order by idx').all(holder) as unknown as Row[]);
  }

  /** The same for many, in one query. */
  all(): (holder: string) => Leased {
    const rows = this.#sql('select * from leases order by holder, idx').all() as unknown as Row[];
    const held = Map.groupBy(rows, ({ holder }) => holder);
    return (holder) => fromRows(held.get(holder) ?? []);
  }

  /** A slot, and a unit and an address for each NIC. Errors: vm.blocked for an address that is taken; store.failed when none is left. */
  lease({ name, nics }: VmSpec): void {
    this.#insert('slot', name, 0, null);
    nics.forEach((nic, index) => this.leaseNic(name, index, nic.mac));
  }

  /** A unit and an address for one NIC of whoever it is. Errors: as lease's. */
  leaseNic(holder: string, index: number, wanted: string | undefined): string {
    const mac = this.#address(holder, index, wanted);
    this.#insert('unit', holder, index, mac);
    return mac;
  }

  nic(holder: string, index: number): NicLease {
    const row = this.#sql("select * from leases where holder = ? and kind = 'unit' and idx = ?").get(holder, index);
    const { number = 0, mac = null } = (row ?? {}) as Partial<Row>;
    return { unit: number, mac: mac ?? '' };
  }

  /** All that a holder has, or one NIC of it. */
  release(holder: string, index?: number): void {
    this.#sql('delete from leases where holder = ? and idx = ifnull(?, idx)').run(holder, index ?? null);
  }

  #insert(kind: Kind, holder: string, index: number, mac: string | null): void {
    const number = this.#free(kind);
    if (number >= LIMIT[kind])
      throw new BrigError('store.failed', `create ${holder}: all ${LIMIT[kind]} ${PLURAL[kind]} are leased`);
    this.#sql('insert into leases values (?, ?, ?, ?, ?, ?)').run(kind, number, holder, this.#epoch, index, mac);
  }

  /** Behind the last, so that what a VM of before left behind meets nobody; then the gaps. */
  #free(kind: Kind): number {
    const next = (this.#sql(NEXT).get(kind) as { free: number } | undefined)?.free ?? 0;
    return next < LIMIT[kind] ? next : Number(this.#sql(FIRST_GAP).get(kind)?.free);
  }

  #address(holder: string, index: number, wanted: string | undefined): string {
    if (wanted === undefined) return this.#freeAddress(holder, index);
    const other = this.#holderOf(wanted);
    if (other !== undefined)
      throw new BrigError('vm.blocked', `create ${holder}: mac ${wanted} is a NIC of ${other}`, { retry: 'operator' });
    return wanted;
  }

  #freeAddress(holder: string, index: number): string {
    for (let attempt = 0; ; attempt++) {
      const mac = deriveMac(this.#salt, holder, index, attempt);
      if (this.#holderOf(mac) === undefined) return mac;
    }
  }

  #holderOf(mac: string): string | undefined {
    return (this.#sql('select holder from leases where mac = ?').get(mac) as { holder: string } | undefined)?.holder;
  }
}
