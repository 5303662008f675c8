import type { Paths } from '../base/placed.ts';
import type { Finding } from '../platform/platform.ts';
import type { Layout } from '../platform/layout.ts';
import type { Vm } from '../platform/platform.ts';
import type { Where } from './devices.ts';
import type { Fragments } from './fragments.ts';

/** What this node can do, found by probing. */
export interface Features {
  /** /dev/vmmctl is there (15): bhyve needs no root. Without it this node is reduced (14). */
  readonly vmmctl: boolean;
  /** Names of the jail parameters that this kernel has and an audit asks for; each `allow.` among them. */
  readonly jailParameters: readonly string[];
  /** jail(8) has `meta` (15). */
  readonly meta: boolean;
  /** kern.racct.enable=1: rctl(8) rules work. */
  readonly racct: boolean;
  /** Units: CPUs; hw.vmm.maxcpu. */
  readonly maxCpus: number;
  /** The interface of the default route; absent: none. */
  readonly egress?: string;
  /** hw.physmem: bhyve itself starts with more (FACTS S.23). */
  readonly memoryBytes: number;
}

/** A FreeBSD node as brig is configured on it. */
export interface Node {
  readonly paths: Paths;
  readonly layout: Layout;
  /** Parent of zvols. */
  readonly dataset: string | undefined;
  /** Volumes have all their space from the beginning. */
  readonly reserve?: boolean;
  readonly features: Features;
  /** The texts of devfs/*.rules. */
  readonly fragments: Fragments;
  /** Devices that documents may ask for although their record is bad. */
  readonly allowDevices: readonly string[];
  /** Kinds of step, of those that only some networks need, that this brigd has planned: others need no look. */
  readonly asks: ReadonlySet<string>;
  /** What rules of pf can say: known once pf has been seen at work. */
  readonly pf: { receivedOn?: boolean };
  /** Anchors as they were first seen under their stamp. */
  readonly trusted: Map<string, { readonly stamp: string; readonly text: string }>;
  /** What prepare found; problems among it block every start. */
  readonly findings: readonly Finding[];
  /** The tarfs image that a start mounts as the jail's root; a running VM may have an older one. */
  readonly base: string;
  /** brig's own test guest, as a file. */
  readonly testRom: string;
}

export const jailOf = (vm: string): string => `brig-${vm}`;

/** Every interface of a VM carries this description. */
export const markOf = (vm: string): string => `brig:vm/${vm}`;
/** Of a jail of somebody else's. */
export const jailMark = (jail: string): string => `brig:jail/${jail}`;
export const networkMark = (network: string): string => `brig:net/${network}`;
/** Where a VM's rules of pf are, and a network's: no VM's name has a dot. */
export const vmAnchorName = (vm: string): string => `brig/${vm}`;
export const networkAnchorName = (network: string): string => `brig/net.${network}`;
/** Interface group of everything brig makes; a group name may not end in a digit. */
export const GROUP = 'brig';
/** Where packets of guests come in: their NICs' host ends, and bridges that only guests are on. */
export const GUESTS = 'brigguest';

/** The VM's name in vmm(4): on a reduced node one that other jails cannot guess (FACTS 1.7). */
export const machineOf = (node: Node, { spec, place }: Vm): string =>
  node.features.vmmctl ? spec.name : place.secretName;

export const whereOf = (node: Node, vm: Vm): Where => ({ dataset: node.dataset, machine: machineOf(node, vm) });

/** Why this node gives less than brig promises. */
export const reducedBy = ({ features }: Node): string | undefined =>
  features.vmmctl
    ? undefined
    : 'this FreeBSD has no /dev/vmmctl: bhyve runs as root of its jail, and only the random names of VMs keep jails from destroying those of others';

/** Passthru needs a privilege that only root of a jail can have (FACTS 1.7). */
export const runsAsRoot = (node: Node, vm: Vm): boolean => !node.features.vmmctl || vm.spec.devices.passthru.length > 0;
