import { isIPv6, type Socket } from 'node:net';
import { LIMITS } from '../base/limits.ts';
import { Pace } from '../engine/pace.ts';

/** An IPv4 peer of a socket for both families is an IPv4 peer. */
export const addressOf = (socket: { readonly remoteAddress?: string | undefined }): string =>
  (socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '');

/** Whoever has a /64 has all its addresses. */
export const blockOf = (address: string): string => {
  if (!isIPv6(address)) return address;
  const [before = '', after = ''] = (address.split('%')[0] ?? '').split('::');
  const [first, last] = [before, after].map((part) => (part === '' ? [] : part.split(':')));
  const zeros = Array.from({ length: Math.max(0, 8 - (first?.length ?? 0) - (last?.length ?? 0)) }, () => '0');
  return [...(first ?? []), ...zeros, ...(last ?? [])].slice(0, 4).join(':');
};

interface Share {
  readonly pace: Pace;
  open: number;
}

/** Connections by the address that they come from, so that one address takes no other's place. */
export class Addresses {
  readonly #most: number;
  readonly #shares = new Map<string, Share>();

  /** `most`: of one address at once. */
  constructor(most: number) {
    this.#most = most;
  }

  /** How many are open. */
  get open(): number {
    return [...this.#shares.values()].reduce((sum, share) => sum + share.open, 0);
  }

  /** Counts a connection until it closes; answers whether it is within its address's share. */
  enter(socket: Socket): boolean {
    const share = this.#share(blockOf(addressOf(socket)));
    share.open++;
    socket.once('close', () => share.open--);
    return share.pace.take(1, performance.now()) && share.open <= this.#most;
  }

  #share(block: string): Share {
    const known = this.#shares.get(block);
    if (known) return known;
    if (this.#shares.size >= LIMITS.principalsKnown) this.#forget();
    const pace = new Pace(LIMITS.connectionsPerSecond, LIMITS.connectionsBurst, performance.now());
    const share = { pace, open: 0 };
    this.#shares.set(block, share);
    return share;
  }

  #forget(): void {
    for (const [block, { open }] of this.#shares) if (open === 0) this.#shares.delete(block);
  }
}
