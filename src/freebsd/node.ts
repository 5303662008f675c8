import type { Paths } from '../base/placed.ts';
import type { Finding } from '../platform/platform.ts';
import type { Layout } from '../platform/layout.ts';

/** What this node can do, found by probing. */
export interface Features {
  /** jail(8) has `meta` (15). */
  readonly meta: boolean;
  /** kern.racct.enable=1: rctl(8) rules work. */
  readonly racct: boolean;
  /** Units: CPUs; hw.vmm.maxcpu. */
  readonly maxCpus: number;
  /** hw.physmem: bhyve itself starts with more (FACTS S.23). */
  readonly memoryBytes: number;
}

/** A FreeBSD node as brig is configured on it. */
export interface Node {
  readonly paths: Paths;
  readonly layout: Layout;
  /** Parent of zvols. */
  readonly dataset: string | undefined;
  readonly features: Features;
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
export const networkMark = (network: string): string => `brig:net/${network}`;
/** Interface group of everything brig makes; a group name may not end in a digit. */
export const GROUP = 'brig';
