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

/** unrecorded: the text of a route that is there already; route(8) prints strerror of EEXIST. */
export const ROUTE_EXISTS: Tolerance = { status: 1, stderr: 'File exists' };

/** Source: netstat(1) "-r"; recorded in errors-and-timings.txt. */
export const listRoutes = (): Command => command('/usr/bin/netstat', ['-rn', '--libxo=json']);

interface Entry {
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

/** Destinations and interfaces. Shape: `10.0.2.0/24 vtnet0`, a host without its prefix length. */
export const parseRoutes = (text: string): ReadonlySet<string> => {
  const families = (JSON.parse(text) as Answer).statistics?.['route-information']?.['route-table']?.['rt-family'] ?? [];
  return new Set(
    families.flatMap((family) =>
      (family['rt-entry'] ?? []).map((entry) => `${entry.destination ?? ''} ${entry['interface-name'] ?? ''}`),
    ),
  );
};
