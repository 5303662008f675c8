import { BrigError } from '../base/errors.ts';
import { BITS, parseAddress, renderAddress, type Address, type Family } from './address.ts';
import { Pool } from './pool.ts';
import {
  contains,
  hasAddress,
  overlap,
  parseRange,
  parseSubnet,
  rangeOf,
  renderSubnet,
  reserved,
  subnetAround,
  without,
  type Range,
  type Subnet,
} from './subnet.ts';

/** What a document says of a subnet's addresses, as text. */
export interface SubnetText {
  readonly cidr: string;
  readonly gateway?: string | undefined;
  /** What is given to those who ask for none; none: all that may be given. */
  readonly ranges: readonly string[];
  readonly exclude: readonly string[];
  readonly reservations: readonly { readonly address: string }[];
}

export interface IpamOptions {
  readonly subnets: readonly SubnetText[];
  /** Blocks from which each who gets an address gets a smaller one, too. */
  readonly delegate?: readonly { readonly cidr: string; readonly prefix: number }[];
  /** Prefix length of what one lease takes: 32 and 128 an address, less a link with two ends. */
  readonly prefixes?: Readonly<Record<Family, number>>;
  /** The first address of a subnet without a gateway is one: the host routes. */
  readonly routes?: boolean;
}

/** What is left of a subnet. */
export interface Fill {
  readonly cidr: string;
  /** How many leases it can give without being asked for a certain address, and how many of them are free. */
  readonly size: bigint;
  readonly free: bigint;
}

/** The first address that a host may have. */
const firstOf = (subnet: Subnet): Address => {
  const [range] = without(rangeOf(subnet), reserved(subnet));
  return { family: subnet.family, value: range?.first ?? subnet.first };
};

const one = ({ family, value }: Address): Range => ({ family, first: value, last: value });

/** Addresses of one subnet. */
class SubnetPool {
  readonly subnet: Subnet;
  readonly gateway: Address | undefined;
  readonly pool: Pool;
  /** Those that a lease may have, if it asks for one of them. */
  readonly #mayHave: readonly Range[];
  readonly #prefix: number;

  constructor(text: SubnetText, prefix: number, routes: boolean) {
    this.subnet = parseSubnet(text.cidr);
    this.#prefix = prefix;
    const { family } = this.subnet;
    const isLink = prefix < BITS[family];
    if (text.gateway !== undefined) this.gateway = parseAddress(text.gateway);
    else if (routes && !isLink) this.gateway = firstOf(this.subnet);
    const never = [
      ...(isLink ? [] : reserved(this.subnet)),
      ...(this.gateway ? [one(this.gateway)] : []),
      ...text.exclude.map(parseRange),
    ];
    this.#mayHave = without(rangeOf(this.subnet), never);
    const kept = [...never, ...text.reservations.map(({ address }) => one(parseAddress(address)))];
    const ranges = text.ranges.length > 0 ? text.ranges.map(parseRange) : [rangeOf(this.subnet)];
    this.pool = new Pool(
      ranges.flatMap((range) => without(range, kept)),
      BITS[family] - prefix,
    );
  }

  /** Errors: net.invalid */
  check(block: Subnet): void {
    const range = rangeOf(block);
    if (this.#mayHave.some((each) => contains(each, range))) return;
    const text = renderAddress({ family: block.family, value: block.first });
    const isGateway = this.gateway && overlap(range, one(this.gateway));
    const why = isGateway ? 'it is the gateway' : 'it is excluded, or the address of the network itself';
    throw new BrigError(
      'net.invalid',
      `expected an address of ${renderSubnet(this.subnet)} that a guest may have, got ${text}: ${why}`,
    );
  }

  blockAround(address: Address): Subnet {
    return subnetAround(address, this.#prefix);
  }
}

const exhausted = (subnets: readonly Subnet[]): BrigError =>
  new BrigError(
    'net.exhausted',
    `expected a free address in ${subnets.map(renderSubnet).join(', ')}, got none: all are leased`,
    {
      retry: 'operator',
      hint: 'give the network another subnet, or destroy who needs none',
    },
  );

/**
 * The addresses of one network: which are given, and which come next. It remembers nothing beyond this process:
 * who keeps leases takes them here again when he begins.
 */
export class Ipam {
  readonly #subnets: readonly SubnetPool[];
  readonly #delegated: readonly { readonly subnet: Subnet; readonly pool: Pool; readonly prefix: number }[];

  constructor({ subnets, delegate = [], prefixes = BITS, routes = false }: IpamOptions) {
    this.#subnets = subnets.map((text) => new SubnetPool(text, prefixes[parseSubnet(text.cidr).family], routes));
    this.#delegated = delegate.map(({ cidr, prefix }) => {
      const subnet = parseSubnet(cidr);
      return { subnet, prefix, pool: new Pool([rangeOf(subnet)], BITS[subnet.family] - prefix) };
    });
  }

  get families(): Family[] {
    return [...new Set(this.#subnets.map(({ subnet }) => subnet.family))];
  }

  #pools(): readonly { readonly subnet: Subnet; readonly pool: Pool }[] {
    return [...this.#subnets, ...this.#delegated];
  }

  #poolOf(block: Subnet): Pool | undefined {
    return this.#pools().find(({ subnet }) => contains(rangeOf(subnet), rangeOf(block)))?.pool;
  }

  /** The lowest block of a family that is free; it is not taken yet. Errors: net.exhausted */
  next(family: Family): Subnet {
    const own = this.#subnets.filter(({ subnet }) => subnet.family === family);
    for (const each of own) {
      const value = each.pool.next();
      if (value !== undefined) return each.blockAround({ family, value });
    }
    throw exhausted(own.map(({ subnet }) => subnet));
  }

  /** One more block of each larger one. Errors: net.exhausted */
  delegations(): Subnet[] {
    return this.#delegated.map(({ subnet, pool, prefix }) => {
      const first = pool.next();
      if (first === undefined) throw exhausted([subnet]);
      return { family: subnet.family, first, prefix };
    });
  }

  /** The block of a certain address. Errors: net.invalid when no guest may have it. */
  blockOf(address: Address): Subnet {
    const found = this.#subnetOf(address);
    if (!found) {
      const known = this.#subnets.map(({ subnet }) => renderSubnet(subnet)).join(' or ');
      throw new BrigError('net.invalid', `expected an address of ${known}, got ${renderAddress(address)}`);
    }
    const block = found.blockAround(address);
    found.check(block);
    return block;
  }

  #subnetOf(address: Address): SubnetPool | undefined {
    return this.#subnets.find(({ subnet }) => hasAddress(subnet, address));
  }

  /** The subnet that an address is of, and its router. */
  find(
    address: Address,
  ): { readonly subnet: Subnet; readonly gateway: Address | undefined; readonly index: number } | undefined {
    const index = this.#subnets.findIndex(({ subnet }) => hasAddress(subnet, address));
    const found = this.#subnets[index];
    return found && { subnet: found.subnet, gateway: found.gateway, index };
  }

  /** Routers of the subnets, in order. */
  get gateways(): { readonly gateway: Address | undefined; readonly subnet: Subnet }[] {
    return this.#subnets.map(({ subnet, gateway }) => ({ subnet, gateway }));
  }

  take(block: Subnet): void {
    this.#poolOf(block)?.take(block.first);
  }

  give(block: Subnet): void {
    this.#poolOf(block)?.give(block.first);
  }

  /** How many are left. */
  fill(): Fill[] {
    return this.#pools().map(({ subnet, pool }) => ({ cidr: renderSubnet(subnet), size: pool.size, free: pool.free }));
  }
}

/** Both ends of a link that has a block of its own: the host's, and the guest's. */
export const endsOf = ({ family, first, prefix }: Subnet): { readonly host?: Address; readonly guest: Address } => {
  const room = BITS[family] - prefix;
  if (room === 0) return { guest: { family, value: first } };
  const skip = room === 1 ? 0n : 1n;
  return { host: { family, value: first + skip }, guest: { family, value: first + skip + 1n } };
};
