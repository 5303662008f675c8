import type { Bridge, Moved } from '../../base/placed.ts';
import type { Effect, Tolerance } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { LIMITS } from '../../base/limits.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { ip, ipBatch } from '../programs/ip.ts';
import { ping } from '../programs/ping.ts';
import { addAddress } from './bridge.ts';

export interface MoveArgs extends Moved {
  readonly bridge: Bridge;
  readonly interface: string;
}

/** Seen: `RTNETLINK answers: Cannot assign requested address`, exit 2. */
const NO_ADDRESS: Tolerance = { status: 2, stderr: 'Cannot assign requested address' };
const NO_LINK_TO: Tolerance = { status: 1, stderr: 'Cannot find device' };

const familyOf = (to: string): string => (to.includes(':') ? '-6' : '-4');

/** The new place has them before the old one loses them. */
const moveTo = ({ addresses, routes }: MoveArgs, from: string, to: string): Effect[] => [
  run(ipBatch([...addresses.map((address) => addAddress(to, address)), `link set dev ${to} up`])),
  ...addresses.map((address) =>
    run(ip(['address', 'delete', address, 'dev', from]), { tolerate: [NO_ADDRESS, NO_LINK_TO] }),
  ),
  ...routes.map(({ to: where, via }) => run(ip([familyOf(via), 'route', 'replace', where, 'via', via, 'dev', to]))),
];

/** Routers must answer where they are now. */
const hearRouters = ({ routes }: MoveArgs): Effect[] =>
  [...new Set(routes.map(({ via }) => via))].map((via) => ({
    ...{ do: 'await', what: `an answer of ${via}`, probe: ping(via) },
    ...{ until: { status: 0 }, timeoutMs: LIMITS.routerTimeoutMs },
  }));

/** An uplink's addresses and routes on the bridge it is on. Undo: they are its own again. Source: ip-address(8) */
export const move: StepDef<MoveArgs, Seen> = {
  because: ({ bridge: { network }, interface: name }) =>
    `the host is reached by network ${network} where it was by ${name} before`,
  apply: (args) => [...moveTo(args, args.interface, args.bridge.name), ...hearRouters(args)],
  undo: (args) => moveTo(args, args.bridge.name, args.interface),
  holds: ({ bridge: { name }, interface: own, addresses }, seen) => {
    const here = addresses.filter((address) => seen.links.get(name)?.addresses.includes(address));
    const there = addresses.filter((address) => seen.links.get(own)?.addresses.includes(address));
    if (here.length === addresses.length && there.length === 0) return 'yes';
    // What is nowhere is to be given back, too.
    return here.length === 0 && there.length === addresses.length ? 'no' : 'partly';
  },
  repair: (args) => moveTo(args, args.interface, args.bridge.name),
  shared: ({ bridge: { name } }) => `move/${name}`,
};
