import { findJail } from '../jails.ts';
import {
  createInterface,
  destroyInterface,
  findInterface,
  interfacesOf,
  moveInterface,
  wedgeHost,
  type Cloner,
} from '../network.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Outcome, type Program } from '../program.ts';
import type { Interface, World } from '../world.ts';
import { stuck, waitForHost } from '../wedge.ts';
import { renderInterfaces } from './ifconfig-print.ts';
import { runVerbs, type Target } from './ifconfig-verbs.ts';

const PROGRAM = 'ifconfig';
const failed = (message: string, stdout = ''): Answer => fail(`${PROGRAM}: ${message}`, 1, stdout);
const missing = (name: string): Answer => failed(`interface ${name} does not exist`);

/** ifconfig(8): listing, cloning and changing interfaces, on the host or by -j in a jail's vnet. */
export const ifconfig: Program = (world, args) => waitForHost(world) ?? inVnet(world, args);

const inVnet = (world: World, args: readonly string[]): Outcome => {
  if (args[0] !== '-j') return dispatch(world, args, 0);
  const name = must(PROGRAM, args, 1, 'jail');
  const jail = findJail(world, name);
  // Source: sbin/ifconfig/ifconfig.c, args_parse
  if (!jail) return failed('jail not found: No such file or directory');
  const rest = args.slice(2);
  return dispatch(world, rest.length === 0 ? ['-a'] : rest, jail.vnet ? jail.jid : 0);
};

const dispatch = (world: World, args: readonly string[], vnet: number): Outcome => {
  const [first, ...rest] = args;
  if (first === undefined) throw unknownArgv(PROGRAM, args, 'no interface');
  if (first === '-a' && rest.length === 0) return list(world, vnet);
  if (first === '-l' && rest.length === 0) {
    const names = interfacesOf(world, vnet).map((each) => each.name);
    return done(`${names.join(' ')}\n`);
  }
  if (first === '-g' && rest.length === 1) return listGroup(world, vnet, rest[0] ?? '');
  if (first.startsWith('-')) throw unknownArgv(PROGRAM, args, `unknown option ${first}`);
  if (rest[0] === 'create') return create(world, vnet, first, rest.slice(1));
  if (rest[0] === '-vnet') return reclaim(world, vnet, first, must(PROGRAM, args, 2, 'jail'));
  return change(world, vnet, first, rest);
};

const list = (world: World, vnet: number): Answer => done(renderInterfaces(interfacesOf(world, vnet)));

const listGroup = (world: World, vnet: number, group: string): Answer =>
  done(lines(interfacesOf(world, vnet).flatMap((each) => (each.groups.includes(group) ? [each.name] : []))));

const CLONED = /^(tap|epair|bridge|vlan|vxlan)(\d{1,5})?$/;
const MODULE: Readonly<Record<Cloner, string>> = {
  tap: 'if_tuntap',
  epair: 'if_epair',
  bridge: 'if_bridge',
  vlan: 'if_vlan',
  vxlan: 'if_vxlan',
};

/** A rename or a verb that fails leaves what was made; its name goes to stdout when nobody gave it (FACTS S.5). */
const create = (world: World, vnet: number, name: string, verbs: readonly string[]): Answer => {
  const match = CLONED.exec(name);
  if (!match)
    throw unknownArgv(PROGRAM, [name, 'create', ...verbs], 'only tap, epair, bridge, vlan and vxlan can be made');
  const kind = match[1] as Cloner;
  // ifconfig(8) loads the module of a cloner.
  world.modules.add(MODULE[kind]);
  const made = createInterface(world, kind, match[2] === undefined ? undefined : Number(match[2]), vnet);
  if (!made) return failed(`SIOCIFCREATE2 (${name}): File exists`);
  return apply({ world, vnet, interface: made, printsName: made.name !== name }, verbs);
};

const apply = (target: Target, verbs: readonly string[]): Answer => {
  const problem = runVerbs(target, verbs);
  const printed = target.printsName ? `${target.interface.name}\n` : '';
  return problem === undefined ? done(printed) : failed(problem, printed);
};

const change = (world: World, vnet: number, name: string, verbs: readonly string[]): Outcome => {
  const found = findInterface(world, vnet, name);
  if (!found) return missing(name);
  if (verbs.length === 0) return done(renderInterfaces([found]));
  if (verbs[0] === 'destroy' && verbs.length === 1) return destroy(world, found);
  if (verbs[0] === 'vnet' && verbs.length === 2) return move(world, found, verbs[1] ?? '');
  return apply({ world, vnet, interface: found, printsName: false }, verbs);
};

/** An open tap is destroyed only after its close; until then the whole host waits (FACTS 0.10). */
const destroy = (world: World, gone: Interface): Outcome => {
  if (['lo', 'ether', 'pflog'].includes(gone.kind)) return failed('SIOCIFDESTROY: Invalid argument');
  if (gone.openedBy === undefined) {
    destroyInterface(world, gone);
    return done();
  }
  wedgeHost(world, [gone], () => destroyInterface(world, gone));
  return stuck(world, done());
};

const move = (world: World, moved: Interface, name: string): Answer => {
  const jail = findJail(world, name);
  // unrecorded: the words are those of jls(8) and jexec(8)
  if (!jail) return failed(`jail "${name}" not found`);
  // unrecorded: a jail without a vnet of its own
  if (!jail.vnet) return failed('SIOCSIFVNET: Invalid argument');
  if (findInterface(world, jail.jid, moved.name)) return failed('SIOCSIFVNET: File exists');
  moveInterface(world, moved, jail.jid);
  return done();
};

const reclaim = (world: World, vnet: number, name: string, jailName: string): Answer => {
  const jail = findJail(world, jailName);
  if (!jail) return failed(`jail "${jailName}" not found`);
  const found = findInterface(world, jail.jid, name);
  // unrecorded: both texts
  if (!found) return failed('SIOCSIFRVNET: Device not configured');
  if (findInterface(world, vnet, name)) return failed('SIOCSIFRVNET: File exists');
  moveInterface(world, found, vnet);
  return done();
};
