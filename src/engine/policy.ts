import type { GuestAddresses, Policy } from '../base/placed.ts';
import { renderAddress } from '../net/address.ts';
import { endsOf } from '../net/ipam.ts';
import { guards, isRouter, type NetworkSpec } from '../spec/network.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Networks } from '../store/networks.ts';

type Nic = VmSpec['nics'][number];
type Leases = Pick<Networks, 'find' | 'leasesOf'>;

/** Other guests are where brig gives addresses: a network with uplinks has other hosts, too. */
const peersOf = (spec: NetworkSpec): string[] =>
  spec.subnets.flatMap(({ cidr, ranges }) => (isRouter(spec) || ranges.length === 0 ? [cidr] : ranges));

const bare = (text: string): string => text.replace(/\/.*$/, '');

/** Addresses of a VM on a network, as its document means them by its name; none while there is no such VM. */
const addressesOf = (vm: string, network: string, networks: Leases): string[] =>
  networks
    .leasesOf(vm)
    .filter((lease) => lease.network === network && lease.kind !== 'delegated')
    .map(({ block }) => renderAddress(endsOf(block).guest));

type AllowSpec = NonNullable<Nic['allow']>[number];

const allowOf = (
  { from, proto, ports }: AllowSpec,
  network: string,
  networks: Leases,
): NonNullable<Policy['allow']> => {
  const who =
    from === 'any' ? {} : { from: typeof from === 'string' ? [from] : addressesOf(from.vm, network, networks) };
  if (who.from?.length === 0) return [];
  return ports ? ports.map((each) => ({ ...who, proto, ports: each })) : [{ ...who, proto }];
};

/** Absent: nobody filters. */
export const policyOf = (
  owner: string | undefined,
  nic: Pick<Nic, 'network' | 'allow' | 'forwards' | 'sources'>,
  guest: GuestAddresses,
  networks: Leases,
): Policy | undefined => {
  const spec = networks.find(nic.network)?.spec;
  if (!spec || !guards(spec)) return undefined;
  const { addresses, delegated, gateways } = guest;
  return {
    sources: [...addresses.map(bare), ...delegated, ...nic.sources],
    gateways,
    peers: peersOf(spec),
    ...(owner === undefined ? {} : { owner }),
    isolation: spec.isolation,
    ...(nic.allow ? { allow: nic.allow.flatMap((each) => allowOf(each, nic.network, networks)) } : {}),
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
