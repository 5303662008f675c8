import type { NicPlacement } from '../base/placed.ts';
import type { NetworkSpec } from '../spec/network.ts';

/** Where no rules say more, the bridge itself keeps guests apart. */
export const isApart = ({ network, policy }: Pick<NicPlacement, 'network' | 'policy'>): boolean =>
  policy
    ? (policy.isolation === 'vm' || (policy.isolation === 'owner' && policy.owner === undefined)) && !policy.allow
    : network.isolation !== 'none';

/** One network as `brig network list` and `show` give it. Shape is stable: keys are added, never changed. */
export interface NetworkView {
  readonly name: string;
  readonly kind: 'bridge' | 'vlan' | 'vxlan' | 'routed' | 'nat' | 'external';
  readonly group: string;
  readonly labels: Readonly<Record<string, string>>;
  /** up: all of it is on the host; partly: somebody took some of it away; down: nothing of it is. */
  readonly state: 'up' | 'partly' | 'down';
  /** Its interface on the host; absent: each VM has a link of its own. */
  readonly interface?: string;
  readonly mtu?: number;
  readonly persistent: boolean;
  readonly isolation: 'vm' | 'owner' | 'none';
  readonly subnets: readonly SubnetView[];
  /** VMs with a NIC on it. */
  readonly vms: readonly string[];
  readonly jails: readonly JailView[];
  /** What is not as it should be and brig leaves so. */
  readonly faults: readonly { readonly step: string; readonly because: string; readonly reason: string }[];
  /** From brig's configuration, or brig's own: no document says what it is. */
  readonly builtin: boolean;
}

/** A network in full. */
export type NetworkDetail = NetworkView & { readonly spec?: NetworkSpec };

export interface SubnetView {
  readonly cidr: string;
  readonly gateway?: string;
  /** Leases that it can give, and how many it gave. Units: addresses, or blocks where each NIC has one; decimal digits. */
  readonly size: string;
  readonly free: string;
}

/** A jail of somebody else's on a network. Shape is stable. */
export interface JailView {
  readonly jail: string;
  /** waiting: nothing of it is on the host, and `reason` says why. */
  readonly state: 'attached' | 'waiting';
  readonly labels: Readonly<Record<string, string>>;
  readonly unit: number;
  readonly mac: string;
  /** Shape: `10.77.0.5/24` */
  readonly addresses: readonly string[];
  readonly reason?: string;
}

/** Whose an address is. Shape is stable. */
export interface LeaseView {
  readonly network: string;
  /** Shape: `10.77.0.5`, or a block. */
  readonly address: string;
  /** A VM, or `jail/NAME`. */
  readonly holder: string;
  readonly nic: number;
  readonly mac?: string;
  readonly kind: 'dynamic' | 'static' | 'reserved' | 'delegated';
  readonly sinceMs: number;
}
