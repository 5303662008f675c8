import { isWithin } from './files.ts';
import { dissolveVnet } from './network.ts';
import type { Jail, World } from './world.ts';

/** How long the root of a jail stays busy after the jail is gone (FACTS S.4: `Device busy` for a moment). unrecorded: how long */
const LINGER_MS = 30;

/**
 * What keeps a removed jail dying: its machines in vmm(4), its processes, its devfs, or a device cloned inside.
 * A jail whose root is the host's own does not wait for the host's /dev.
 * unrecorded: that a devfs holds a jail in which no machine ever ran; the strict answer is taken
 */
const isHeld = (world: World, jail: Jail): boolean =>
  jail.pinned ||
  [...world.vms.values()].some((vm) => vm.jid === jail.jid) ||
  [...world.processes.values()].some((process) => process.jid === jail.jid) ||
  (jail.path !== '/' && world.mounts.some((mount) => mount.devfs && isWithin(mount.node, jail.path)));

/** Lets go of the jails that nothing holds any more; their interfaces come home. */
export const reapJails = (world: World): void => {
  for (const jail of world.jails.filter((each) => each.dying && !isHeld(world, each))) {
    world.jails = world.jails.filter((each) => each !== jail);
    dissolveVnet(world, jail.jid);
    world.lingering.set(jail.path, world.clock.now() + LINGER_MS);
  }
};
