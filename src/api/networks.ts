import type { NetworkSpec } from '../spec/network.ts';
import type { NetworkView } from '../platform/networks.ts';
import type { Networks } from '../engine/networks.ts';
import type { Request } from '../engine/request.ts';

/** What the routes of networks ask of a call. */
export interface NetworkCall {
  readonly name: string;
  /** Of a call about a jail on it. */
  readonly jail?: string;
  /** Whose progress its caller follows. */
  readonly holder: string;
  body(): Promise<unknown>;
}

export const toNetworkCall = (name: string, url: string, body: () => Promise<unknown>): NetworkCall => {
  const jail = /\/jails\/([^/?]+)/.exec(url)?.[1];
  if (jail === undefined) return { name, holder: `network/${name}`, body };
  const known = decodeURIComponent(jail);
  return { name, jail: known, holder: `jail/${known}@${name}`, body };
};

/** A network in full. */
export type NetworkDetail = NetworkView & { readonly spec?: NetworkSpec };

const bodyOf = async (call: NetworkCall): Promise<object> => {
  const body = await call.body();
  return typeof body === 'object' && body !== null ? body : {};
};

type Work<Call> = (call: Call) => Promise<unknown>;
type Change<Call> = (call: Call, request: Request) => Promise<unknown>;

/** Routes of networks: what they answer, and what each changes as one operation. */
export const networkRoutes = <Seen, Call extends NetworkCall>(
  networks: Networks<Seen>,
): { readonly asks: readonly [RegExp, Work<Call>][]; readonly changes: readonly [RegExp, Change<Call>][] } => ({
  asks: [
    [/^GET \/networks$/, () => networks.list()],
    [/^GET \/networks\/([^/]+)$/, ({ name }) => networks.show(name)],
    [/^GET \/networks\/([^/]+)\/leases$/, ({ name }) => Promise.resolve(networks.leases(name))],
  ],
  changes: [
    [/^POST \/networks$/, async (call, request) => networks.create(await call.body(), request)],
    [/^PUT \/networks\/([^/]+)$/, async (call, request) => networks.edit(call.name, await call.body(), request)],
    [
      /^PUT \/networks\/([^/]+)\/jails\/([^/]+)$/,
      async (call, request) => networks.attach(call.name, { ...(await bodyOf(call)), jail: call.jail }, request),
    ],
    [
      /^DELETE \/networks\/([^/]+)\/jails\/([^/]+)$/,
      ({ name, jail = '' }, request) => networks.jails.detach(name, jail, request),
    ],
    [/^DELETE \/networks\/([^/]+)$/, ({ name }, request) => networks.destroy(name, request)],
  ],
});
