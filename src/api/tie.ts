import type { Duplex } from 'node:stream';

/** Bytes both ways, each side as fast as the other takes them; the end of one is the end of both. */
export const tie = (one: Duplex, other: Duplex): void => {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on('error', () => from.destroy());
    from.on('close', () => to.destroy());
    // Who was gone before does not say so any more.
    if (from.destroyed) to.destroy();
  }
};
