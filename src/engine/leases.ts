import { renderAddress } from '../net/address.ts';
import { endsOf } from '../net/ipam.ts';
import { renderSubnet } from '../net/subnet.ts';
import type { AddressLease } from '../store/networks.ts';
import type { Cause } from './changes.ts';
import type { EventLog } from './events.ts';

/** As people write what a lease gives: an address, or a block that is routed. */
export const renderLease = ({ block, kind }: AddressLease): string =>
  kind === 'delegated' ? renderSubnet(block) : renderAddress(endsOf(block).guest);

/** One event for each address of a holder's. */
export const tellLeases = (
  events: EventLog,
  kind: 'lease.acquired' | 'lease.released',
  cause: Cause,
  holder: string,
  leases: readonly AddressLease[],
): void => {
  for (const lease of leases)
    events.add(kind, cause, holder, { network: lease.network, address: renderLease(lease), nic: lease.index });
};
