import type { Bridge } from '../../base/placed.ts';
import type { StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import { GROUP, markOf, networkMark } from '../node.ts';
import type { Seen } from '../observe.ts';
import { EXISTS, ifconfig, ifconfigIn, NO_INTERFACE, NO_MEMBER, type Interface } from '../programs/ifconfig.ts';

export interface BridgeArgs {
  readonly bridge: Bridge;
}

/**
 * The host's bridge of a network that brig owns: no uplink, made for the first user, gone with the last.
 * Source: if_bridge(4). Created by explicit unit: creating by name leaks a bridge when the name is taken (FACTS S.5).
 */
export const bridge: StepDef<BridgeArgs, Seen> = {
  because: ({ bridge: { network } }) => `network ${network} needs its bridge on the host`,
  // Two VMs may start at once on a network of no bridge yet; a stranger's was refused before.
  apply: ({ bridge: { name, network } }) => [
    run(ifconfig(name, 'create', 'description', networkMark(network), 'group', GROUP, 'up'), { tolerate: [EXISTS] }),
  ],
  undo: ({ bridge: { name } }) => [run(ifconfig(name, 'destroy'), { tolerate: [NO_INTERFACE] })],
  holds: ({ bridge: { name, network } }, seen) =>
    seen.interfaces.get(name)?.description === networkMark(network) ? 'yes' : 'no',
  shared: ({ bridge: { name } }) => `bridge/${name}`,
};

export interface NicArgs {
  readonly vm: string;
  readonly unit: number;
  readonly bridge: Bridge;
}

const tapOf = (unit: number): string => `tap${unit}`;
const hostEnd = (unit: number): string => `epair${unit}a`;
const jailEnd = (unit: number): string => `epair${unit}b`;

/** An interface by name that carries the VM's mark, on the host or in the VM's vnet. */
const owned = (vm: string, name: string, seen: Seen): Interface | undefined => {
  const found = seen.interfaces.get(name) ?? seen.focus?.inside.get(name);
  return found?.description === markOf(vm) ? found : undefined;
};

const member = (bridgeName: string, name: string, seen: Seen): boolean =>
  seen.interfaces.get(bridgeName)?.members.includes(name) ?? false;

/**
 * A tap made on the host: one made inside the jail would hang the host when the jail goes (FACTS 0.10).
 * Undo:  only after bhyve is gone; destroying an open tap wedges the host.
 */
export const tap: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `${vm} has a NIC, and bhyve drives it through a tap`,
  apply: ({ vm, unit }) => [run(ifconfig(tapOf(unit), 'create', 'description', markOf(vm), 'group', GROUP))],
  undo: ({ unit }) => [run(ifconfig(tapOf(unit), 'destroy'), { tolerate: [NO_INTERFACE] })],
  holds: ({ vm, unit }, seen) => (owned(vm, tapOf(unit), seen) ? 'yes' : 'no'),
};

/**
 * A pair of interfaces: a stays on the host, b goes into the jail's vnet. Destroying either end removes both.
 * Source: epair(4)
 */
export const epair: StepDef<NicArgs, Seen> = {
  because: ({ vm }) => `${vm} has a vnet of its own, and an epair is its only way out`,
  apply: ({ vm, unit }) => [run(ifconfig(`epair${unit}`, 'create', 'description', markOf(vm), 'group', GROUP, 'up'))],
  undo: ({ unit }) => [run(ifconfig(hostEnd(unit), 'destroy'), { tolerate: [NO_INTERFACE] })],
  holds: ({ vm, unit }, seen) => (owned(vm, hostEnd(unit), seen) ? 'yes' : 'no'),
};

const memberStep = (nameOf: (unit: number) => string, why: string): StepDef<NicArgs, Seen> => ({
  because: ({ vm, bridge: { network } }) =>
    `${vm} is on network ${network}${why}; private: guests on it reach the network, not each other`,
  apply: ({ unit, bridge: { name } }) => [run(ifconfig(name, 'addm', nameOf(unit), 'private', nameOf(unit)))],
  undo: ({ unit, bridge: { name } }) => [
    run(ifconfig(name, 'deletem', nameOf(unit)), { tolerate: [NO_MEMBER, NO_INTERFACE] }),
  ],
  holds: ({ unit, bridge: { name } }, seen) => (member(name, nameOf(unit), seen) ? 'yes' : 'no'),
});

/** The host's end of the epair on the network's bridge. */
export const epairMember = memberStep(hostEnd, '');

/** Mode direct: the tap itself on the network's bridge; the jail's vnet stays empty. */
export const tapMember = memberStep(tapOf, ' directly');

export interface InsideArgs {
  readonly vm: string;
  readonly jail: string;
  readonly unit: number;
  /** Unit of the bridge inside the vnet: the NIC's index. */
  readonly inside: number;
}

/**
 * The vnet's own network: tap and epair moved in and joined by a bridge.
 * Undo:  nothing: when the jail is gone, both are home and the bridge is destroyed (FACTS 3.3).
 */
export const inside: StepDef<InsideArgs, Seen> = {
  because: ({ vm }) => `what ${vm} sends meets a bridge in its own vnet before it meets the host`,
  apply: ({ jail, unit, inside: index }) => [
    run(ifconfig(jailEnd(unit), 'vnet', jail)),
    run(ifconfig(tapOf(unit), 'vnet', jail)),
    run(ifconfigIn(jail, `bridge${index}`, 'create')),
    run(ifconfigIn(jail, `bridge${index}`, 'addm', jailEnd(unit), 'addm', tapOf(unit), 'up')),
    run(ifconfigIn(jail, jailEnd(unit), 'up')),
  ],
  undo: () => [],
  holds: ({ unit, inside: index }, seen) => {
    const members = seen.focus?.inside.get(`bridge${index}`)?.members ?? [];
    if (members.includes(jailEnd(unit)) && members.includes(tapOf(unit))) return 'yes';
    return seen.focus?.inside.has(jailEnd(unit)) ? 'partly' : 'no';
  },
};
