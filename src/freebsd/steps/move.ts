import type { Bridge, Moved } from '../../base/placed.ts';
import type { Effect, Tolerance } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { LIMITS } from '../../base/limits.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { ifconfig, NO_INTERFACE } from '../programs/ifconfig.ts';
import { ping } from '../programs/ping.ts';
import { changeRoute, NO_ROUTE, ROUTE_EXISTS } from '../programs/route.ts';

export interface MoveArgs extends Moved {
  readonly bridge: Bridge;
  readonly interface: string;
}

/** unrecorded: ifconfig(8) prints strerror of EADDRNOTAVAIL. */
const NO_ADDRESS: Tolerance = { status: 1, stderr: "Can't assign requested address" };

const familyOf = (address: string): string => (address.includes(':') ? 'inet6' : 'inet');

/** A route is kept with the address that it came by: it is made anew. Two interfaces with one subnet are refused, so one goes first. */
const moveTo = ({ addresses, routes }: MoveArgs, from: string, to: string): Effect[] => [
  ...addresses.flatMap((address) => [
    run(ifconfig(from, familyOf(address), address, '-alias'), { tolerate: [NO_ADDRESS, NO_INTERFACE] }),
    run(ifconfig(to, familyOf(address), address, 'alias')),
  ]),
  run(ifconfig(to, 'up')),
  ...routes.flatMap(({ to: where, via }) => [
    run(changeRoute('delete', where, via), { tolerate: [NO_ROUTE] }),
    run(changeRoute('add', where, via), { tolerate: [ROUTE_EXISTS] }),
  ]),
];

/** Routers must answer where they are now. */
const hearRouters = ({ routes }: MoveArgs): Effect[] =>
  [...new Set(routes.map(({ via }) => via))].map((via) => ({
    ...{ do: 'await', what: `an answer of ${via}`, probe: ping(via) },
    ...{ until: { status: 0 }, timeoutMs: LIMITS.routerTimeoutMs },
  }));

/** An uplink's addresses and routes on the bridge it is on. Undo: they are its own again. Source: ifconfig(8) */
export const move: StepDef<MoveArgs, Seen> = {
  because: ({ bridge: { network }, interface: name }) =>
    `the host is reached by network ${network} where it was by ${name} before`,
  apply: (args) => [...moveTo(args, args.interface, args.bridge.name), ...hearRouters(args)],
  undo: (args) => moveTo(args, args.bridge.name, args.interface),
  holds: ({ bridge: { name }, interface: own, addresses }, seen) => {
    const here = addresses.filter((address) => seen.interfaces.get(name)?.addresses.includes(address));
    const there = addresses.filter((address) => seen.interfaces.get(own)?.addresses.includes(address));
    if (here.length === addresses.length && there.length === 0) return 'yes';
    // What is nowhere is to be given back, too.
    return here.length === 0 && there.length === addresses.length ? 'no' : 'partly';
  },
  repair: (args) => moveTo(args, args.interface, args.bridge.name),
  shared: ({ bridge: { name } }) => `move/${name}`,
};
