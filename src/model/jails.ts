import { addInterface, interfacesOf, wedgeHost } from './network.ts';
import { endProcess } from './processes.ts';
import { reapJails } from './reap.ts';
import type { Interface, Jail, World } from './world.ts';

/** By name or by number; dying ones only when asked for. The newest of a name wins. */
export const findJail = (world: World, name: string, withDying = false): Jail | undefined =>
  world.jails.findLast(
    (jail) => (withDying || !jail.dying) && (jail.name === name || (/^\d+$/.test(name) && jail.jid === Number(name))),
  ) ?? undefined;

export const createJail = (
  world: World,
  name: string | undefined,
  path: string,
  parameters: Map<string, string | boolean>,
): Jail => {
  world.lastJid += 1;
  const jail: Jail = {
    jid: world.lastJid,
    name: name ?? String(world.lastJid),
    path,
    vnet: parameters.has('vnet'),
    dying: false,
    parameters,
    cpuset: undefined,
    pinned: false,
  };
  world.jails.push(jail);
  if (jail.vnet) addInterface(world, 'lo', 'lo0', 0, jail.jid);
  return jail;
};

/** Open taps that the jail's own vnet made: removing it waits for them before anything is killed (FACTS 0.10). */
const ownOpenTaps = (world: World, jail: Jail): Interface[] =>
  interfacesOf(world, jail.jid).filter(
    (each) => each.kind === 'tap' && each.home === jail.jid && each.openedBy !== undefined,
  );

const finishRemoval = (world: World, jail: Jail): void => {
  for (const process of [...world.processes.values()])
    if (process.jid === jail.jid) endProcess(world, process, 128 + 9);
  reapJails(world);
};

/** False: the host is wedged until somebody else closes the taps. */
export const removeJail = (world: World, jail: Jail): boolean => {
  jail.dying = true;
  const taps = ownOpenTaps(world, jail);
  if (taps.length === 0) {
    finishRemoval(world, jail);
    return true;
  }
  wedgeHost(world, taps, () => finishRemoval(world, jail));
  return false;
};
