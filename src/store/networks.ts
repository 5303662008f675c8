import type { SQLOutputValue, StatementSync } from 'node:sqlite';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { parseAddress, renderAddress, type Address, type Family } from '../net/address.ts';
import { endsOf, Ipam, type Fill } from '../net/ipam.ts';
import { parseInterface, renderSubnet, type Subnet } from '../net/subnet.ts';
import { isRouter, type NetworkSpec } from '../spec/network.ts';

/** A defined network. */
export interface NetworkRow {
  readonly name: string;
  /** Leased: the unit of every interface that is made for it, counted from unitBase. */
  readonly number: number;
  readonly spec: NetworkSpec;
  readonly createdMs: number;
}

/** dynamic: the next that was free; static: asked for; reserved: by the network's document; delegated: a block behind it. */
export type LeaseKind = 'dynamic' | 'static' | 'reserved' | 'delegated';

/** Addresses of a network that one NIC has, and nobody else. */
export interface AddressLease {
  readonly network: string;
  readonly block: Subnet;
  /** A VM's name, or `jail/NAME`. */
  readonly holder: string;
  /** Of the NIC. */
  readonly index: number;
  readonly kind: LeaseKind;
  readonly sinceMs: number;
}

/** Who asks for addresses, and for which. */
export interface Wants {
  readonly holder: string;
  /** Whose VM that is. */
  readonly owner?: string | undefined;
  readonly index: number;
  readonly network: string;
  readonly mac: string;
  /** Shape: `10.77.0.5/24`; none: the next that is free. */
  readonly addresses: readonly string[];
}

type Row = Record<string, SQLOutputValue>;

const BYTES: Readonly<Record<Family, number>> = { 4: 4, 6: 16 };

const toBlob = ({ family, first }: Subnet): Uint8Array =>
  Buffer.from(first.toString(16).padStart(BYTES[family] * 2, '0'), 'hex');

const fromRow = (row: Row): AddressLease => {
  const bytes = Buffer.from(row.block as Uint8Array);
  const family = bytes.length === 4 ? 4 : 6;
  return {
    network: String(row.network),
    block: { family, first: BigInt(`0x${bytes.toString('hex')}`), prefix: Number(row.prefix) },
    holder: String(row.holder),
    index: Number(row.idx),
    kind: String(row.kind) as LeaseKind,
    sinceMs: Number(row.since_ms),
  };
};

/** Links of their own take blocks of two or four addresses. */
const ipamOf = (spec: NetworkSpec): Ipam =>
  new Ipam({
    ...spec,
    ...(spec.kind === 'routed' ? { prefixes: { 4: spec.prefix4, 6: spec.prefix6 } } : {}),
    routes: isRouter(spec),
  });

/** Networks, and whose addresses are whose. */
export class Networks {
  readonly #sql: (text: string) => StatementSync;
  readonly #epoch: number;
  #rows: Map<string, NetworkRow> | undefined;
  readonly #ipams = new Map<string, Ipam>();
  /** Another one whenever a network is. */
  version = 0;
  /** What the transaction under way changed about pools, backwards. */
  #undo: (() => void)[] = [];

  constructor(sql: (text: string) => StatementSync, epoch: number) {
    this.#sql = sql;
    this.#epoch = epoch;
  }

  #all(): Map<string, NetworkRow> {
    const rows = (): [string, NetworkRow][] =>
      (this.#sql('select * from networks order by name').all() as Row[]).map((row) => [
        String(row.name),
        {
          name: String(row.name),
          number: Number(row.number),
          spec: JSON.parse(String(row.spec)) as NetworkSpec,
          createdMs: Number(row.created_ms),
        },
      ]);
    return (this.#rows ??= new Map(rows()));
  }

  /** By name. */
  list(): NetworkRow[] {
    return [...this.#all().values()];
  }

  find(name: string): NetworkRow | undefined {
    return this.#all().get(name);
  }

  /** Errors: network.exists; store.failed when no number is left. */
  add(spec: NetworkSpec, nowMs: number): NetworkRow {
    if (this.find(spec.name))
      throw new BrigError('network.exists', `create network ${spec.name}: a network of this name exists`, {
        hint: `brig network show ${spec.name}`,
      });
    const free = this.#sql(
      'select n.number + 1 as free from (select 0 as number union all select number from networks) n where not exists (select 1 from networks where number = n.number + 1) order by 1 limit 1',
    ).get() as { free: number };
    if (free.free >= LIMITS.networks)
      throw new BrigError('store.failed', `create network ${spec.name}: all ${LIMITS.networks} networks are there`);
    this.#sql('insert into networks values (?, ?, ?, ?)').run(spec.name, free.free, JSON.stringify(spec), nowMs);
    this.#forget(spec.name);
    return this.find(spec.name) as NetworkRow;
  }

  /** Another document for a network that is there. */
  put(spec: NetworkSpec): void {
    this.#sql('update networks set spec = ? where name = ?').run(JSON.stringify(spec), spec.name);
    this.#forget(spec.name);
  }

  remove(name: string): void {
    this.#sql('delete from networks where name = ?').run(name);
    this.#forget(name);
  }

  #forget(name: string): void {
    this.version++;
    this.#rows = undefined;
    this.#ipams.delete(name);
  }

  /** Which addresses are given and which come next; undefined for a network that has none. */
  ipam(name: string): Ipam | undefined {
    const known = this.#ipams.get(name);
    if (known) return known;
    const row = this.find(name);
    if (!row || row.spec.subnets.length + row.spec.delegate.length === 0) return undefined;
    const ipam = ipamOf(row.spec);
    for (const each of this.#sql('select * from addresses where network = ?').iterate(name))
      ipam.take(fromRow(each).block);
    this.#ipams.set(name, ipam);
    return ipam;
  }

  fill(name: string): Fill[] {
    return this.ipam(name)?.fill() ?? [];
  }

  /** Leases of one holder, by NIC. */
  leasesOf(holder: string): AddressLease[] {
    return (
      this.#sql('select * from addresses where holder = ? order by idx, length(block), block').all(holder) as Row[]
    ).map(fromRow);
  }

  /** The same for many, in one query. */
  allLeases(): (holder: string) => readonly AddressLease[] {
    const rows = this.#sql('select * from addresses order by holder, idx, length(block), block').all() as Row[];
    const held = Map.groupBy(rows.map(fromRow), ({ holder }) => holder);
    return (holder) => held.get(holder) ?? [];
  }

  /** Of a network, by address. */
  leases(network: string): AddressLease[] {
    return (
      this.#sql('select * from addresses where network = ? order by length(block), block').all(network) as Row[]
    ).map(fromRow);
  }

  /**
   * Addresses for one NIC: one of each family that the network has, or those it asks for.
   * Errors: net.exhausted; net.taken; net.invalid for an address that no guest may have.
   */
  lease(wants: Wants, nowMs: number): void {
    const ipam = this.ipam(wants.network);
    if (!ipam) return;
    const kept = this.#reserved(wants);
    const asked = [...kept, ...wants.addresses.map((text) => this.#asked(ipam, wants, text))];
    const missing = ipam.families.filter((family) => !asked.some((each) => each.block.family === family));
    const all: Pick<AddressLease, 'block' | 'kind'>[] = [
      ...asked,
      ...missing.map((family) => ({ kind: 'dynamic' as const, block: ipam.next(family) })),
      ...ipam.delegations().map((block) => ({ kind: 'delegated' as const, block })),
    ];
    for (const { block, kind } of all) this.#insert(ipam, wants, block, kind, nowMs);
  }

  #asked(ipam: Ipam, wants: Wants, text: string): Pick<AddressLease, 'block' | 'kind'> {
    const { holder, network, index } = wants;
    const { address, subnet } = parseInterface(text);
    const block = ipam.blockOf(address);
    const found = ipam.find(address);
    const guest = endsOf(block).guest;
    const refuse = (expected: string): never => {
      throw new BrigError('net.invalid', `nic ${index} of ${holder}: expected ${expected}, got ${text}`);
    };
    if (guest.value !== address.value) refuse(`${renderAddress(guest)}, the guest's end of its link`);
    if (found && found.subnet.prefix !== subnet.prefix && subnet.prefix !== block.prefix)
      refuse(`the prefix length of ${renderSubnet(found.subnet)}`);
    const other = this.#reservationOf(network, address);
    if (other && !isFor(other, wants))
      throw new BrigError('net.taken', `nic ${index} of ${holder}: ${text} is reserved on network ${network}`, {
        retry: 'operator',
        hint: `brig network show ${network}`,
      });
    return { block, kind: 'static' };
  }

  #reservationOf(network: string, address: Address): Reservation | undefined {
    const all = this.find(network)?.spec.subnets.flatMap((each) => each.reservations) ?? [];
    return all.find(
      (each) =>
        parseAddress(each.address).value === address.value && each.address.includes(':') === (address.family === 6),
    );
  }

  #reserved(wants: Wants): Pick<AddressLease, 'block' | 'kind'>[] {
    const ipam = this.ipam(wants.network);
    const asked = new Set(wants.addresses.map((text) => renderAddress(parseInterface(text).address)));
    const all = this.find(wants.network)?.spec.subnets.flatMap((each) => each.reservations) ?? [];
    return all
      .filter((each) => isFor(each, wants) && !asked.has(renderAddress(parseAddress(each.address))))
      .flatMap((each) =>
        ipam ? [{ kind: 'reserved' as const, block: ipam.blockOf(parseAddress(each.address)) }] : [],
      );
  }

  #insert(ipam: Ipam, wants: Wants, block: Subnet, kind: LeaseKind, nowMs: number): void {
    const { network, holder, index } = wants;
    const isTaken = this.#sql('select 1 from addresses where network = ? and block = ?').get(network, toBlob(block));
    // Whose it is, is for those to know who may see it.
    if (isTaken)
      throw new BrigError(
        'net.taken',
        `nic ${index} of ${holder}: ${renderSubnet(block)} of network ${network} is leased already`,
        { retry: 'operator', hint: `brig network leases ${network}` },
      );
    this.#sql('insert into addresses values (?, ?, ?, ?, ?, ?, ?, ?)').run(
      ...[network, toBlob(block), block.prefix, holder, index, kind, this.#epoch, nowMs],
    );
    ipam.take(block);
    this.#undo.unshift(() => ipam.give(block));
  }

  /** All that a holder has, or one NIC of it. */
  release(holder: string, index?: number): void {
    for (const { network, block } of this.leasesOf(holder).filter((each) => each.index === (index ?? each.index))) {
      const ipam = this.#ipams.get(network);
      ipam?.give(block);
      this.#undo.unshift(() => ipam?.take(block));
    }
    this.#sql('delete from addresses where holder = ? and idx = ifnull(?, idx)').run(holder, index ?? null);
  }

  /** What was leased and released since the last call is kept, or was rolled back. */
  settle(isKept: boolean): void {
    if (!isKept) for (const back of this.#undo) back();
    this.#undo = [];
  }
}

type Reservation = NetworkSpec['subnets'][number]['reservations'][number];

const isFor = (kept: Reservation, { holder, owner, index, mac }: Wants): boolean => {
  if ('vm' in kept)
    return kept.vm === holder && kept.nic === index && (kept.owner === undefined || kept.owner === owner);
  return 'mac' in kept ? kept.mac === mac : `jail/${kept.jail}` === holder;
};
