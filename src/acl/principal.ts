/** Who calls, as the kernel or a signature tells. Nothing that a request says of itself is in it. */
export interface Principal {
  /** For people and the log. Shape: `root`, `user:alice`, `key:laptop` */
  readonly id: string;
  /** The node's own administrator: no rule limits root. */
  readonly isRoot: boolean;
  /** Whose grants count. Shape: `user:alice`, `group:ops`, `key:laptop` */
  readonly subjects: readonly string[];
  /** Whose VMs are his own: the `owner` of a document. Absent: he owns none. */
  readonly owner?: string;
  /** Where from. Shape: `unix`, or the address of a peer */
  readonly from: string;
}

/** brigd itself, and whoever is root of this node. */
export const ROOT: Principal = { id: 'root', isRoot: true, subjects: [], from: 'unix' };
