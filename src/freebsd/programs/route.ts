import type { Route } from '../../base/placed.ts';
import type { Command, Tolerance } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

const familyOf = (to: string): string => (to.includes(':') ? '-inet6' : '-inet');

/** A route by an interface, or by a neighbour on one. Source: route(8) */
export const addRoute = ({ to, via }: Route, name: string): Command =>
  command('/sbin/route', [
    '-n',
    'add',
    familyOf(to),
    '-net',
    to,
    ...(via === undefined ? ['-interface', name] : [via]),
  ]);

/** A route that goes another way from now on, or that is there from now on. Source: route(8) */
export const changeRoute = (verb: 'add' | 'delete', to: string, via: string): Command =>
  command('/sbin/route', ['-n', verb, familyOf(via), to, via]);

/** unrecorded: the text of a route that is not there; route(8) prints strerror of ESRCH. */
export const NO_ROUTE: Tolerance = { status: 1, stderr: 'not in table' };

/** A default route in a jail's own stack. Source: route(8) "-j" */
export const addDefault = (jail: string, gateway: string): Command =>
  command('/sbin/route', ['-j', jail, '-n', 'add', familyOf(gateway), 'default', gateway]);

/** unrecorded: the text of a route that is there already; route(8) prints strerror of EEXIST. */
export const ROUTE_EXISTS: Tolerance = { status: 1, stderr: 'File exists' };

/** Source: netstat(1) "-r"; recorded in errors-and-timings.txt. */
export const listRoutes = (): Command => command('/usr/bin/netstat', ['-rn', '--libxo=json']);

interface Entry {
  readonly gateway?: string;
  readonly flags?: string;
  readonly destination?: string;
  readonly 'interface-name'?: string;
}

interface Answer {
  readonly statistics?: {
    readonly 'route-information'?: {
      readonly 'route-table'?: { readonly 'rt-family'?: readonly { readonly 'rt-entry'?: readonly Entry[] }[] };
    };
  };
}

const entriesOf = (text: string): readonly Entry[] =>
  ((JSON.parse(text) as Answer).statistics?.['route-information']?.['route-table']?.['rt-family'] ?? []).flatMap(
    (family) => family['rt-entry'] ?? [],
  );

/** Routes by a router behind an interface: flag G. */
export const parseVia = (text: string, name: string): { to: string; via: string }[] =>
  entriesOf(text)
    .filter((entry) => entry['interface-name'] === name && (entry.flags ?? '').includes('G'))
    .map(({ destination = '', gateway = '' }) => ({ to: destination, via: gateway }));

/** The interface of the default route, of IPv4 before IPv6. */
export const parseEgress = (text: string): string | undefined =>
  entriesOf(text).find(({ destination }) => destination === 'default')?.['interface-name'];

/** Destinations and interfaces. Shape: `10.0.2.0/24 vtnet0`, a host without its prefix length. */
export const parseRoutes = (text: string): ReadonlySet<string> =>
  new Set(entriesOf(text).map((entry) => `${entry.destination ?? ''} ${entry['interface-name'] ?? ''}`));
