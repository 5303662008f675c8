import type { Answer, Pending } from './program.ts';
import type { World } from './world.ts';

/** Waits in the kernel for the taps to be closed. Killing it does not help (FACTS 0.10). */
export const stuck = (world: World, answer: Answer | 'again'): Pending => {
  const wedge = world.wedge;
  let waiter: (() => void) | undefined;
  return {
    wait: (resume) => {
      waiter = () => resume(answer);
      if (wedge) wedge.waiters.add(waiter);
    },
    abandon: () => {
      if (waiter) wedge?.waiters.delete(waiter);
    },
  };
};

/** Undefined when the host's network lock is free; otherwise everybody who needs it waits and then begins anew. */
export const waitForHost = (world: World): Pending | undefined => (world.wedge ? stuck(world, 'again') : undefined);
