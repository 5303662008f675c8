import type { SQLOutputValue, StatementSync } from 'node:sqlite';
import { BrigError } from '../base/errors.ts';
import type { AttachmentSpec } from '../spec/attachment.ts';
import type { Leases, NicLease } from './leases.ts';
import type { AddressLease, Networks } from './networks.ts';

/** A jail of somebody else's on a network, with all that is leased to it. */
export interface AttachmentRow extends NicLease {
  readonly network: string;
  /** Of the jail's attachments. */
  readonly index: number;
  readonly spec: AttachmentSpec;
  readonly addresses: readonly AddressLease[];
  readonly createdMs: number;
}

type Row = Record<string, SQLOutputValue>;

const keyOf = (network: string, jail: string): string => `${jail}@${network}`;
/** Whose leases they are. */
const holderOf = (jail: string): string => `jail/${jail}`;

/** Which jails are on which networks. */
export class Attachments {
  readonly #sql: (text: string) => StatementSync;
  readonly #leases: Leases;
  readonly #networks: Networks;
  #rows: Map<string, AttachmentRow> | undefined;

  constructor(sql: (text: string) => StatementSync, leases: Leases, networks: Networks) {
    this.#sql = sql;
    this.#leases = leases;
    this.#networks = networks;
  }

  #all(): Map<string, AttachmentRow> {
    const rows = (): AttachmentRow[] =>
      (this.#sql('select * from attachments order by network, jail').all() as Row[]).map((row) => this.#read(row));
    return (this.#rows ??= new Map(rows().map((row) => [keyOf(row.network, row.spec.jail), row])));
  }

  /** The same objects until one goes. */
  list(): readonly AttachmentRow[] {
    return [...this.#all().values()];
  }

  find(network: string, jail: string): AttachmentRow | undefined {
    return this.#all().get(keyOf(network, jail));
  }

  #read(row: Row): AttachmentRow {
    const holder = holderOf(String(row.jail));
    const index = Number(row.idx);
    return {
      ...{ network: String(row.network), index, createdMs: Number(row.created_ms) },
      ...this.#leases.nic(holder, index),
      spec: JSON.parse(String(row.spec)) as AttachmentSpec,
      addresses: this.#networks.leasesOf(holder).filter((lease) => lease.index === index),
    };
  }

  /** Within a transaction. Errors: network.exists; net.exhausted, net.taken, net.invalid as for a NIC. */
  add(network: string, spec: AttachmentSpec, nowMs: number): void {
    const { jail, addresses } = spec;
    if (this.find(network, jail))
      throw new BrigError('network.exists', `attach jail ${jail}@${network}: it is on that network already`, {
        hint: `brig network detach ${network} --jail ${jail}`,
      });
    const { index } = this.#sql('select ifnull(max(idx) + 1, 0) as "index" from attachments where jail = ?').get(
      jail,
    ) as {
      index: number;
    };
    const holder = holderOf(jail);
    const mac = this.#leases.leaseNic(holder, index, spec.mac);
    this.#networks.lease({ holder, index, network, addresses, mac }, nowMs);
    this.#sql('insert into attachments values (?, ?, ?, ?, ?)').run(
      ...[network, jail, index, JSON.stringify(spec), nowMs],
    );
    const row = this.#sql('select * from attachments where network = ? and jail = ?').get(network, jail) as Row;
    this.#all().set(keyOf(network, jail), this.#read(row));
  }

  /** Within a transaction. */
  remove(network: string, jail: string): void {
    const row = this.find(network, jail);
    if (!row) return;
    this.#leases.release(holderOf(jail), row.index);
    this.#networks.release(holderOf(jail), row.index);
    this.#sql('delete from attachments where network = ? and jail = ?').run(network, jail);
    this.#all().delete(keyOf(network, jail));
  }

  /** After a transaction that was rolled back. */
  forget(): void {
    this.#rows = undefined;
  }
}
