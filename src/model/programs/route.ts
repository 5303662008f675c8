import { findJail } from '../jails.ts';
import { findInterface } from '../network.ts';
import { done, fail, unknownArgv, type Program } from '../program.ts';
import type { World } from '../world.ts';

const bare = (text: string): string => text.replace(/\/.*$/, '');

/** The interface whose network a neighbour is in: by the first words of their addresses, which is enough here. */
const towards = (world: World, via: string): string | undefined => {
  const head = via.slice(0, via.lastIndexOf(via.includes(':') ? ':' : '.'));
  return world.interfaces.find((each) => each.vnet === 0 && each.addresses.some((text) => text.includes(` ${head}`)))
    ?.name;
};

const changeDefault = (world: World, verb: string, via: string): ReturnType<Program> => {
  const before = world.routes.findIndex((each) => each.to === 'default' && each.via === via);
  // unrecorded: both texts
  if (verb === 'delete' && before < 0) return fail(`delete net default: gateway ${via} fib 0: not in table`);
  if (verb === 'add' && before >= 0)
    return fail(`add net default: gateway ${via} fib 0: route already in table: File exists`);
  if (verb === 'delete') world.routes.splice(before, 1);
  else {
    const found = towards(world, via);
    if (found === undefined) return fail('route: Network is unreachable');
    world.routes.push({ to: 'default', via, interface: found });
  }
  return done(`${verb} net default: gateway ${via}\n`);
};

/** A jail's own routes are nobody's concern here. unrecorded: its texts */
const inJail = (world: World, args: readonly string[]): ReturnType<Program> => {
  const [jail = '', ...words] = args;
  if (!/^-n add -inet6? default \S+$/.test(words.join(' ')))
    throw unknownArgv('route', args, 'expected -n add -inet|-inet6 default ADDRESS in a jail');
  return findJail(world, jail)
    ? done(`add net default: gateway ${words[3] ?? ''}\n`)
    : fail(`route: jail "${jail}" not found`);
};

/** route(8): `-n add [-inet|-inet6] -net TO -interface IF`, or a neighbour's address in its place; `-n add|delete default`. */
export const route: Program = (world, args) => {
  if (args[0] === '-j') return inJail(world, args.slice(1));
  const [, verb = '', , , via = ''] = args;
  if (/^-n (add|delete) -inet6? default \S+$/.test(args.join(' '))) return changeDefault(world, verb, via);
  return addNet(world, args);
};

const addNet = (world: World, args: readonly string[]): ReturnType<Program> => {
  const [to = '', key, name = ''] = args.slice(4);
  if (!/^-n add -inet6? -net \S+ \S+/.test(args.join(' ')))
    throw unknownArgv('route', args, 'expected -n add -inet|-inet6 -net TO -interface IF, or an address');
  const via = key === '-interface' ? undefined : key;
  const found = via === undefined ? findInterface(world, 0, name)?.name : towards(world, via);
  // unrecorded: all three texts
  if (found === undefined)
    return fail(via === undefined ? `route: bad address: ${name}` : 'route: Network is unreachable');
  if (world.routes.some((each) => each.to === to))
    return fail(`add net ${bare(to)}: gateway ${via ?? name}: route already in table: File exists`);
  world.routes.push({ to, via, interface: found });
  return done(`add net ${bare(to)}: gateway ${via ?? name}\n`);
};

const entry = (destination: string, gateway: string, name: string) => ({
  destination,
  gateway,
  flags: destination === 'default' ? 'UGS' : 'US',
  'interface-name': name,
});

/** netstat(1): -rn --libxo=json. */
export const netstat: Program = (world, args) => {
  if (args.join(' ') !== '-rn --libxo=json') throw unknownArgv('netstat', args, 'expected -rn --libxo=json');
  const entries = world.routes.map(({ to, via, interface: name }) =>
    entry(to.replace(/\/(32|128)$/, ''), via ?? name, name),
  );
  const family = (text: string) => ({
    'address-family': text,
    'rt-entry': entries.filter(({ destination }) => destination.includes(':') === (text === 'Internet6')),
  });
  const table = { 'rt-family': [family('Internet'), family('Internet6')] };
  return done(`${JSON.stringify({ statistics: { 'route-information': { 'route-table': table } } })}\n`);
};
