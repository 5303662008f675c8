/** What the store leases to a VM before anything is made, so that every undo knows its names. */
export interface Placement {
  /** Leased number; uid = gid = devfs ruleset = slotBase + slot. */
  readonly slot: number;
  readonly uid: number;
  /** A name that nobody outside this node can guess: where a release lets any jail destroy any VM by name. */
  readonly secretName: string;
  readonly nics: readonly NicPlacement[];
}

export interface NicPlacement {
  /** Unit of the tap and of the epair (or veth) of this NIC. */
  readonly unit: number;
  readonly mac: string;
  readonly network: NetworkPlacement;
  readonly guest: GuestAddresses;
  /** What may pass; absent: everything, and only the bridge keeps guests apart. */
  readonly policy?: Policy;
  /** A link of its own to the host, on a network without a bridge. */
  readonly link?: Link;
}

/** A jail of somebody else's with an interface on a network. */
export interface Attached {
  readonly jail: string;
  readonly nic: NicPlacement;
  /** The network's routers are its default routes. */
  readonly gateway: boolean;
}

/** How a guest sets up a NIC; without addresses by DHCP. */
export interface GuestAddresses {
  /** Shape: `10.77.0.5/24` */
  readonly addresses: readonly string[];
  /** At most one of each family. */
  readonly gateways: readonly string[];
  readonly dns: readonly string[];
  /** Blocks that are routed to it. Shape: `fd00:1:2:3::/64` */
  readonly delegated: readonly string[];
}

/** The host's end of a link. */
export interface Link {
  /** Shape: `10.77.0.4/31` */
  readonly addresses: readonly string[];
  readonly routes: readonly Route[];
}

/** `via`: the guest's address; absent: the link itself. */
export interface Route {
  readonly to: string;
  readonly via?: string;
}

/** The host's bridge of a network: brig's own (made for the first user, gone with the last) or somebody else's. */
export interface Bridge {
  readonly network: string;
  readonly name: string;
  readonly own: boolean;
}

/** What may pass between a NIC and its network. The words are those of room net. */
export interface Policy {
  /** What the guest may send from. */
  readonly sources: readonly string[];
  /** The network's routers. */
  readonly gateways: readonly string[];
  /** Where other guests' addresses are: subnets, or FIRST-LAST. */
  readonly peers: readonly string[];
  readonly owner?: string;
  readonly isolation: 'vm' | 'owner' | 'none';
  /** Absent: everybody but other guests may send to it. */
  readonly allow?: readonly {
    readonly from?: readonly string[];
    readonly proto: 'tcp' | 'udp' | 'icmp' | 'any';
    readonly ports?: readonly [number, number];
  }[];
  /** Ports of the host that lead to it. */
  readonly forwards: readonly { readonly proto: 'tcp' | 'udp'; readonly port: number; readonly to: number }[];
  readonly addresses: readonly string[];
}

/** What a network is made of on this node. */
export interface NetworkPlacement {
  readonly name: string;
  readonly kind: 'bridge' | 'vlan' | 'vxlan' | 'routed' | 'nat' | 'external';
  /** Absent: each NIC has a link of its own. */
  readonly bridge?: Bridge;
  /** There is no such network any more: nothing is made of it, and nobody starts on it. */
  readonly isGone?: boolean;
  /** Of every interface that is made for it. */
  readonly unit: number;
  /** Absent: 1500, and whatever the bridge says. */
  readonly mtu?: number;
  /** What the host has on the bridge. Shape: `10.77.0.1/24` */
  readonly addresses: readonly string[];
  /** What else is on the bridge. */
  readonly uplinks: readonly Uplink[];
  /** Addresses and routes that were its uplink's before. */
  readonly moved?: Moved;
  /** The host forwards for it. */
  readonly routes: boolean;
  /** Who reaches whom, where no policy says more. */
  readonly isolation: 'vm' | 'owner' | 'none';
  /** What the host as its router does to packets; absent: nothing. */
  readonly router?: {
    readonly network: string;
    readonly subnets: readonly string[];
    readonly out?: string;
    readonly translates: boolean;
  };
  /** It is a VLAN of another network's bridge, which keeps them apart. */
  readonly trunk?: { readonly network: NetworkPlacement; readonly tag: number };
  /** Its bridge keeps VLANs apart, and carries all of them on its uplinks. */
  readonly aware?: boolean;
}

/** What an interface of the host had, and a bridge has in its place. */
export interface Moved {
  /** Shape: `192.0.2.5/24` */
  readonly addresses: readonly string[];
  /** By routers on its links. */
  readonly routes: readonly { readonly to: string; readonly via: string }[];
}

/** An interface on a network's bridge that is no VM's: there already, or made for it. */
export type Uplink =
  | { readonly kind: 'there'; readonly interface: string }
  | { readonly kind: 'vlan'; readonly interface: string; readonly parent: string; readonly tag: number }
  | { readonly kind: 'vxlan'; readonly interface: string; readonly tunnel: Tunnel };

export interface Tunnel {
  readonly vni: number;
  readonly local: string;
  readonly port: number;
  readonly to: { readonly remote: string } | { readonly group: string; readonly device: string };
}

/** Where brig keeps things on this node. */
export interface Paths {
  readonly stateDir: string;
  readonly runDir: string;
}
