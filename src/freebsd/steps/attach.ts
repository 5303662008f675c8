import { run } from '../../platform/command.ts';
import type { StepDef } from '../../base/step.ts';
import { jailNow } from '../lookup.ts';
import { GROUP, GUESTS, jailMark } from '../node.ts';
import type { Seen } from '../observe.ts';
import { ifconfig, ifconfigIn, NO_INTERFACE } from '../programs/ifconfig.ts';
import { addDefault, ROUTE_EXISTS } from '../programs/route.ts';
import { hostEnd, jailEnd, mtuWords } from './network.ts';

export interface JailEpairArgs {
  readonly jail: string;
  readonly unit: number;
  readonly mac: string;
  readonly mtu?: number;
}

/** A pair of interfaces for a jail of somebody else's. Undo: both ends go, wherever the other one is. Source: epair(4) */
export const jailEpair: StepDef<JailEpairArgs, Seen> = {
  because: ({ jail }) => `an epair joins jail ${jail} to a network`,
  apply: ({ jail, unit, mac, mtu }) => [
    run(
      ifconfig(
        `epair${unit}`,
        'create',
        'description',
        jailMark(jail),
        'group',
        GROUP,
        'group',
        GUESTS,
        ...mtuWords(mtu),
        'up',
      ),
    ),
    run(ifconfig(jailEnd(unit), 'ether', mac, ...mtuWords(mtu))),
  ],
  undo: ({ unit }) => [run(ifconfig(hostEnd(unit), 'destroy'), { tolerate: [NO_INTERFACE] })],
  holds: ({ jail, unit }, seen) => {
    const found = seen.interfaces.get(hostEnd(unit));
    if (found?.description !== jailMark(jail)) return 'no';
    return found.flags.includes('UP') && found.groups.includes(GUESTS) ? 'yes' : 'partly';
  },
  repair: (args, seen) => {
    const name = hostEnd(args.unit);
    const found = seen.interfaces.get(name);
    if (!found) return jailEpair.apply(args);
    return found.description === jailMark(args.jail)
      ? [run(ifconfig(name, 'group', GUESTS, 'up'))]
      : { restart: `${name} has lost the mark ${jailMark(args.jail)}` };
  },
};

export interface JailJoinArgs {
  readonly jail: string;
  readonly unit: number;
  /** Shape: `10.77.0.5/24` */
  readonly addresses: readonly string[];
  /** Default routes; none: the jail's own stay. */
  readonly gateways: readonly string[];
}

const familyOf = (address: string): string => (address.includes(':') ? 'inet6' : 'inet');

/** The other end in the jail's vnet, with its addresses. Undo: nothing, for it goes with the pair. Source: ifconfig(8) "vnet" */
export const jailJoin: StepDef<JailJoinArgs, Seen> = {
  because: ({ jail, addresses }) => `jail ${jail} has ${addresses.join(', ') || 'an interface'} in its own vnet`,
  apply: ({ jail, unit, addresses, gateways }) => [
    run(ifconfig(jailEnd(unit), 'vnet', jail)),
    ...addresses.map((address) => run(ifconfigIn(jail, jailEnd(unit), familyOf(address), address, 'alias'))),
    run(ifconfigIn(jail, jailEnd(unit), 'up')),
    ...gateways.map((gateway) => run(addDefault(jail, gateway), { tolerate: [ROUTE_EXISTS] })),
  ],
  undo: () => [],
  holds: ({ jail, unit }, seen) => {
    // What is in a vnet is its jail's own business; what came home has left it.
    const isAway = seen.interfaces.has(hostEnd(unit)) && !seen.interfaces.has(jailEnd(unit));
    return isAway && jailNow(seen, jail) === 'there' ? 'yes' : 'no';
  },
  repair: (args, seen) =>
    seen.interfaces.has(jailEnd(args.unit)) ? jailJoin.apply(args) : { restart: `${jailEnd(args.unit)} is gone` },
};
