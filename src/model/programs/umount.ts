import { detach, find, isWithin, normal } from '../files.ts';
import { done, fail, unknownArgv, type Program } from '../program.ts';
import { reapJails } from '../reap.ts';
import type { Mount, World } from '../world.ts';

/** What is mounted below, a jail that has its root there, a process that has something open there. */
const isBusy = (world: World, mount: Mount): boolean => {
  const { node } = mount;
  const covers = world.mounts.some((other) => other !== mount && other.node !== node && isWithin(other.node, node));
  const rooted = world.jails.some((jail) => jail.path === node);
  const lingers = (world.lingering.get(node) ?? 0) > world.clock.now();
  const inUse = [...world.processes.values()].some((process) =>
    [...process.opened].some((path) => isWithin(path, node)),
  );
  return covers || rooted || lingers || inUse;
};

/** umount(8); -f asks nobody. */
export const umount: Program = (world, args) => {
  const force = args[0] === '-f';
  const [text, ...more] = force ? args.slice(1) : args;
  if (text === undefined || text.startsWith('-') || more.length > 0)
    throw unknownArgv('umount', args, 'expected [-f] and one directory');
  const node = normal(text);
  const found = world.mountsAt.get(node)?.at(-1);
  if (!found) {
    if (find(world, node)) return fail(`umount: ${text}: not a file system root directory`);
    // unrecorded
    return fail(`umount: ${text}: statfs: No such file or directory\numount: ${text}: unknown file system`);
  }
  if (!force && isBusy(world, found)) return fail(`umount: unmount of ${node} failed: Device busy`);
  detach(world, found);
  // A ruleset that had no rules lived through its mounts only.
  const ruleset = found.devfs?.ruleset ?? 0;
  const isUsed = world.mounts.some((each) => each.devfs?.ruleset === ruleset);
  if (world.rulesets.get(ruleset)?.length === 0 && !isUsed) world.rulesets.delete(ruleset);
  reapJails(world);
  return done();
};
