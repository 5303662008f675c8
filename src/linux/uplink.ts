import type { Host } from '../base/host.ts';
import type { Moved } from '../base/placed.ts';
import { BrigError } from '../base/errors.ts';
import { LINK_LOCAL } from '../platform/network-checks.ts';
import { ip, listLinks, parseLinks } from './programs/ip.ts';

interface RouteRow {
  readonly dst?: string;
  readonly gateway?: string;
}

/** Addresses of an interface of the host, and routes by routers behind it. Errors: network.blocked when there is none. */
export const readUplink = async (host: Host, name: string): Promise<Moved> => {
  const link = parseLinks((await host.run(listLinks())).stdout).find((each) => each.name === name);
  if (!link) throw new BrigError('network.blocked', `read uplink ${name}: no such interface`, { retry: 'operator' });
  const texts = await Promise.all(
    ['-4', '-6'].map(async (family) => (await host.run(ip([family, '-json', 'route', 'show', 'dev', name]))).stdout),
  );
  const rows = texts.flatMap((text) => (text.trim() === '' ? [] : (JSON.parse(text) as RouteRow[])));
  return {
    addresses: link.addresses.filter((address) => !LINK_LOCAL.test(address)),
    routes: rows.flatMap(({ dst, gateway }) => (dst && gateway ? [{ to: dst, via: gateway }] : [])),
  };
};
