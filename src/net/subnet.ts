import { BITS, invalid, parseAddress, renderAddress, type Address, type Family } from './address.ts';

/** A block of addresses: those that have the first `prefix` bits of `first`. */
export interface Subnet {
  readonly family: Family;
  readonly first: bigint;
  readonly prefix: number;
}

/** An address within its subnet, as an interface has it. */
export interface Interface {
  readonly address: Address;
  readonly subnet: Subnet;
}

/** Addresses that follow each other, the last among them. */
export interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

export const sizeOf = ({ family, prefix }: Pick<Subnet, 'family' | 'prefix'>): bigint =>
  1n << BigInt(BITS[family] - prefix);

export const rangeOf = (subnet: Subnet): Range => ({
  family: subnet.family,
  first: subnet.first,
  last: subnet.first + sizeOf(subnet) - 1n,
});

const parsePrefix = (text: string, family: Family): number => {
  const prefix = /^(0|[1-9]\d{0,2})$/.test(text) ? Number(text) : NaN;
  if (!(prefix <= BITS[family])) throw invalid(`a prefix length from 0 to ${BITS[family]}`, text);
  return prefix;
};

/** The block of that size around an address. */
export const subnetAround = ({ family, value }: Address, prefix: number): Subnet => ({
  family,
  first: value - (value % sizeOf({ family, prefix })),
  prefix,
});

/** Shape: `10.77.0.5/24`. Errors: net.invalid */
export const parseInterface = (text: string): Interface => {
  const slash = text.indexOf('/');
  if (slash < 0) throw invalid('an address with its prefix length, such as 10.77.0.5/24', text);
  const address = parseAddress(text.slice(0, slash));
  return { address, subnet: subnetAround(address, parsePrefix(text.slice(slash + 1), address.family)) };
};

/** Shape: `10.77.0.0/24`, `fd00:77::/64`. Errors: net.invalid, with the right one when host bits are set. */
export const parseSubnet = (text: string): Subnet => {
  const { address, subnet } = parseInterface(text);
  if (address.value !== subnet.first) throw invalid(`no host bits, as in ${renderSubnet(subnet)}`, text);
  return subnet;
};

/** Shape: `A-B`, one address, or a subnet. Errors: net.invalid */
export const parseRange = (text: string): Range => {
  if (text.includes('/')) return rangeOf(parseSubnet(text));
  const [a = '', b = a, ...more] = text.split('-');
  const first = parseAddress(a);
  const last = parseAddress(b);
  if (more.length > 0 || first.family !== last.family || first.value > last.value)
    throw invalid('a range FIRST-LAST of one family', text);
  return { family: first.family, first: first.value, last: last.value };
};

export const renderSubnet = ({ family, first, prefix }: Subnet): string =>
  `${renderAddress({ family, value: first })}/${prefix}`;

export const renderInterface = ({ address, subnet }: Interface): string => `${renderAddress(address)}/${subnet.prefix}`;

export const renderRange = ({ family, first, last }: Range): string =>
  first === last
    ? renderAddress({ family, value: first })
    : `${renderAddress({ family, value: first })}-${renderAddress({ family, value: last })}`;

/** Whether all of `inner` is in it. */
export const contains = (outer: Range, inner: Range): boolean =>
  outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;

export const hasAddress = (subnet: Subnet, { family, value }: Address): boolean =>
  contains(rangeOf(subnet), { family, first: value, last: value });

export const overlap = (a: Range, b: Range): boolean => a.family === b.family && a.first <= b.last && b.first <= a.last;

/** What is left of a range without others. Shape: in order, none of them empty. */
export const without = (range: Range, others: readonly Range[]): Range[] =>
  others.reduce<Range[]>(
    (left, other) =>
      left.flatMap((each) => {
        if (!overlap(each, other)) return [each];
        const before = each.first < other.first ? [{ ...each, last: other.first - 1n }] : [];
        const after = other.last < each.last ? [{ ...each, first: other.last + 1n }] : [];
        return [...before, ...after];
      }),
    [range],
  );

/**
 * Addresses that nobody may have: network and broadcast address, and for IPv6 the subnet-router anycast address.
 * None in a block of one or two. Source: RFC 3021, RFC 4291 2.6.1, RFC 6164
 */
export const reserved = (subnet: Subnet): Range[] => {
  const { family, first, last } = rangeOf(subnet);
  if (last - first < 2n) return [];
  const network = { family, first, last: first };
  return family === 4 ? [network, { family, first: last, last }] : [network];
};
