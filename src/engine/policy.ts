import type { GuestAddresses, Policy } from '../base/placed.ts';
import { renderAddress } from '../net/address.ts';
import { endsOf } from '../net/ipam.ts';
import { guards, isRouter, type NetworkSpec } from '../spec/network.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { VmRow } from '../store/rows.ts';
import type { Places } from './place.ts';

type Nic = VmSpec['nics'][number];
type Known = Pick<Places, 'networks' | 'findVm'>;

/** Other guests are where brig gives addresses: a network with uplinks has other hosts, too. */
const peersOf = (spec: NetworkSpec): string[] =>
  spec.subnets.flatMap(({ cidr, ranges }) => (isRouter(spec) || ranges.length === 0 ? [cidr] : ranges));

const bare = (text: string): string => text.replace(/\/.*$/, '');

type AllowSpec = NonNullable<Nic['allow']>[number];
type Sender = Extract<AllowSpec['from'], { readonly vm: string }>;

/** Whose document it is, and since when. */
export interface Author {
  readonly owner: string | undefined;
  readonly createdMs: number;
}

/**
 * Whether a document that names a VM means this one: the name may have become another's. An owner means his own, and
 * what was there when he named it; whoever has none administers the node, and may mean a VM to come.
 */
const isMeant = ({ owner }: Sender, by: Author, { spec, createdMs }: VmRow): boolean => {
  if (owner !== undefined) return spec.owner === owner;
  return by.owner === undefined || by.owner === spec.owner || createdMs <= by.createdMs;
};

/** Addresses on a network of the VM that a document names; none while that one is not there. */
const addressesOf = (sender: Sender, by: Author, network: string, { findVm }: Known): string[] => {
  const vm = findVm(sender.vm);
  if (!vm || !isMeant(sender, by, vm)) return [];
  const own = vm.addresses.filter((lease) => lease.network === network && lease.kind !== 'delegated');
  return own.map(({ block }) => renderAddress(endsOf(block).guest));
};

const allowOf = (
  { from, proto, ports }: AllowSpec,
  by: Author,
  network: string,
  places: Known,
): NonNullable<Policy['allow']> => {
  const who =
    from === 'any' ? {} : { from: typeof from === 'string' ? [from] : addressesOf(from, by, network, places) };
  if (who.from?.length === 0) return [];
  return ports ? ports.map((each) => ({ ...who, proto, ports: each })) : [{ ...who, proto }];
};

/** Absent: nobody filters. */
export const policyOf = (
  by: Author,
  nic: Pick<Nic, 'network' | 'allow' | 'forwards' | 'sources'>,
  guest: GuestAddresses,
  places: Known,
): Policy | undefined => {
  const spec = places.networks.find(nic.network)?.spec;
  if (!spec || !guards(spec)) return undefined;
  const { addresses, delegated, gateways } = guest;
  return {
    sources: [...addresses.map(bare), ...delegated, ...nic.sources],
    gateways,
    peers: peersOf(spec),
    ...(by.owner === undefined ? {} : { owner: by.owner }),
    isolation: spec.isolation,
    ...(nic.allow ? { allow: nic.allow.flatMap((each) => allowOf(each, by, nic.network, places)) } : {}),
    forwards: nic.forwards,
    addresses: addresses.map(bare),
  };
};

/** What would promise a filter that is not there. `refuse` throws. */
export const checkPolicy = (
  nic: Nic,
  index: number,
  spec: NetworkSpec | undefined,
  refuse: (expected: string, got: string, hint: string) => never,
): void => {
  const at = `nics[${index}]`;
  const filters = [
    ...(nic.allow ? ['allow'] : []),
    ...(nic.forwards.length > 0 ? ['forwards'] : []),
    ...(nic.sources.length > 0 ? ['sources'] : []),
  ];
  if (filters.length > 0 && !(spec && guards(spec)))
    refuse(
      `${at} without ${filters.join(', ')}, or on a network with guard`,
      `network ${nic.network}, which filters nothing`,
      'brig network edit: give it subnets, or guard: true',
    );
  if (nic.forwards.length > 0 && spec?.kind !== 'nat')
    refuse(
      `${at}.forwards on a network of kind nat`,
      `${nic.network} of kind ${spec?.kind ?? 'bridge'}`,
      'brig network list',
    );
};

type Forward = Nic['forwards'][number];

const forwardsOf = ({ nics }: VmSpec): Forward[] => nics.flatMap(({ forwards }) => forwards);
const nameOf = ({ proto, port }: Forward): string => `${proto} port ${port}`;

/** A port of the host leads to one guest. Shape: `tcp port 2201`, and who has it. */
export const takenForward = (
  spec: VmSpec,
  others: () => readonly VmSpec[],
): { readonly port: string; readonly by: string } | undefined => {
  const own = forwardsOf(spec).map(nameOf);
  const twice = own.find((port, i) => own.indexOf(port) !== i);
  if (twice !== undefined) return { port: twice, by: spec.name };
  if (own.length === 0) return undefined;
  for (const other of others()) {
    const port = forwardsOf(other)
      .map(nameOf)
      .find((each) => own.includes(each));
    if (port !== undefined) return { port, by: other.name };
  }
  return undefined;
};
