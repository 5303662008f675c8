import type { Host } from '../base/host.ts';
import type { Moved } from '../base/placed.ts';
import { BrigError } from '../base/errors.ts';
import { LINK_LOCAL } from '../platform/network-checks.ts';
import { listInterfaces, parseInterfaces } from './programs/ifconfig.ts';
import { listRoutes, parseVia } from './programs/route.ts';

/** Addresses of an interface of the host, and routes by routers behind it. Errors: network.blocked when there is none. */
export const readUplink = async (host: Host, name: string): Promise<Moved> => {
  const found = parseInterfaces((await host.run(listInterfaces())).stdout).find((each) => each.name === name);
  if (!found) throw new BrigError('network.blocked', `read uplink ${name}: no such interface`, { retry: 'operator' });
  const routes = parseVia((await host.run(listRoutes())).stdout, name);
  return { addresses: found.addresses.filter((address) => !LINK_LOCAL.test(address)), routes };
};
