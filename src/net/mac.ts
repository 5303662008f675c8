import { createHash } from 'node:crypto';

/**
 * A stable address for a NIC that names none: FreeBSD's own prefix for virtual NICs, then 24 bits of a digest.
 * Shape:  58:9c:fc:xx:xx:xx; `attempt` gives another one when it is taken on this node.
 * Source: FACTS 5.3; bhyve's own default collides between nodes that run a VM of the same name.
 */
export const deriveMac = (salt: string, vm: string, index: number, attempt: number): string => {
  const digest = createHash('sha256').update(`${salt}/${vm}/${index}/${attempt}`).digest('hex');
  return `58:9c:fc:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`;
};
