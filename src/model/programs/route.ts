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

/** route(8): `-n add [-inet|-inet6] -net TO -interface IF`, or a neighbour's address in its place. */
/** A jail's own routes are nobody's concern here. unrecorded: its texts */
const inJail = (world: World, args: readonly string[]): ReturnType<Program> => {
  const [jail = '', ...words] = args;
  if (!/^-n add -inet6? default \S+$/.test(words.join(' ')))
    throw unknownArgv('route', args, 'expected -n add -inet|-inet6 default ADDRESS in a jail');
  return findJail(world, jail)
    ? done(`add net default: gateway ${words[3] ?? ''}\n`)
    : fail(`route: jail "${jail}" not found`);
};

export const route: Program = (world, args) => {
  if (args[0] === '-j') return inJail(world, args.slice(1));
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
  flags: 'US',
  'interface-name': name,
});

/** netstat(1): -rn --libxo=json. */
export const netstat: Program = (world, args) => {
  if (args.join(' ') !== '-rn --libxo=json') throw unknownArgv('netstat', args, 'expected -rn --libxo=json');
  const uplink = findInterface(world, 0, 'vtnet0');
  const out = uplink ? [entry('default', '10.0.2.2', 'vtnet0')] : [];
  const entries = out.concat(
    world.routes.map(({ to, via, interface: name }) => entry(to.replace(/\/(32|128)$/, ''), via ?? name, name)),
  );
  const family = (text: string) => ({
    'address-family': text,
    'rt-entry': entries.filter(({ destination }) => destination.includes(':') === (text === 'Internet6')),
  });
  const table = { 'rt-family': [family('Internet'), family('Internet6')] };
  return done(`${JSON.stringify({ statistics: { 'route-information': { 'route-table': table } } })}\n`);
};
