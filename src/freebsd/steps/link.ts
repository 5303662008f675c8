import type { Link, Route } from '../../base/placed.ts';
import type { StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { ifconfig, type Interface } from '../programs/ifconfig.ts';
import { addRoute, ROUTE_EXISTS } from '../programs/route.ts';

export interface LinkArgs extends Link {
  readonly vm: string;
  readonly network: string;
  /** The host's end. */
  readonly interface: string;
}

const familyOf = (address: string): string => (address.includes(':') ? 'inet6' : 'inet');
/** netstat(1) prints a host without its prefix length. */
const printed = ({ to }: Route): string => to.replace(/\/(32|128)$/, '');

const missing = ({ addresses }: LinkArgs, found: Interface | undefined): readonly string[] =>
  addresses.filter((address) => !found?.addresses.includes(address));

/**
 * The host's end of a link of its own: its addresses, and routes to what its guest has.
 * Undo:  nothing: they go with the interface.
 */
export const link: StepDef<LinkArgs, Seen> = {
  because: ({ vm, network }) => `${vm} shares no segment with anybody on network ${network}: the host routes to it`,
  apply: ({ interface: name, addresses, routes }) => [
    ...addresses.map((address) => run(ifconfig(name, familyOf(address), address))),
    run(ifconfig(name, 'up')),
    ...routes.map((route) => run(addRoute(route, name), { tolerate: [ROUTE_EXISTS] })),
  ],
  undo: () => [],
  holds: (args, seen) => {
    const { interface: name, addresses, routes } = args;
    const found = seen.interfaces.get(name);
    const gone = missing(args, found);
    const known = seen.focus?.routes;
    const lost = known ? routes.filter((route) => !known.has(`${printed(route)} ${name}`)) : [];
    if (found?.flags.includes('UP') && gone.length + lost.length === 0) return 'yes';
    return found && gone.length < addresses.length ? 'partly' : 'no';
  },
  repair: (args, seen) =>
    seen.interfaces.has(args.interface) ? link.apply(args) : { restart: `${args.interface} is gone` },
};
