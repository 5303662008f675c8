import type { Link as Addressed, Route } from '../../base/placed.ts';
import type { StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { ipBatch } from '../programs/ip.ts';
import { addAddress } from './bridge.ts';

export interface LinkArgs extends Addressed {
  readonly vm: string;
  readonly network: string;
  /** The host's end. */
  readonly interface: string;
}

/** As `ip -json route` says it: a host without its prefix length. */
const printed = ({ to }: Route): string => to.replace(/\/(32|128)$/, '');

const addRoute = ({ to, via }: Route, name: string): string =>
  `route replace ${to} ${via === undefined ? '' : `via ${via} `}dev ${name}`;

/**
 * The host's end of a link of its own: its addresses, and routes to what its guest has.
 * Undo:  nothing: they go with the interface.
 */
export const link: StepDef<LinkArgs, Seen> = {
  because: ({ vm, network }) => `${vm} shares no segment with anybody on network ${network}: the host routes to it`,
  apply: ({ interface: name, addresses, routes }) => [
    run(
      ipBatch([
        `link set dev ${name} up`,
        ...addresses.map((address) => addAddress(name, address)),
        ...routes.map((route) => addRoute(route, name)),
      ]),
    ),
  ],
  undo: () => [],
  holds: ({ interface: name, addresses, routes }, seen) => {
    const found = seen.links.get(name);
    const gone = addresses.filter((address) => !found?.addresses.includes(address));
    const known = seen.focus?.routes;
    const lost = known ? routes.filter((route) => !known.has(`${printed(route)} ${name}`)) : [];
    if (found?.up && gone.length + lost.length === 0) return 'yes';
    return found && gone.length < addresses.length ? 'partly' : 'no';
  },
  repair: (args, seen) =>
    seen.links.has(args.interface) ? link.apply(args) : { restart: `${args.interface} is gone` },
};
