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
  readonly bridge: Bridge;
}

/** The host's bridge of a network: brig's own (made for the first user, gone with the last) or somebody else's. */
export interface Bridge {
  readonly network: string;
  readonly name: string;
  readonly own: boolean;
}

/** Where brig keeps things on this node. */
export interface Paths {
  readonly stateDir: string;
  readonly runDir: string;
}
