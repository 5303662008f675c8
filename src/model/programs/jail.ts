import { find, normal } from '../files.ts';
import { hasMeta, switchesOf, VALUES } from '../jail-parameters.ts';
import { createJail, findJail, removeJail } from '../jails.ts';
import { done, fail, must, unknownArgv, type Answer, type Outcome, type Program } from '../program.ts';
import { stuck, waitForHost } from '../wedge.ts';
import type { World } from '../world.ts';

const PROGRAM = 'jail';

const isSwitch = (world: World, name: string): boolean =>
  name === 'persist' || name === 'vnet' || name in switchesOf(world);

type Parameters = Map<string, string | boolean>;

/** `allow.novmm` -> `allow.vmm`, off. */
const negated = (name: string): string | undefined => {
  const match = /^(.*\.)?no([^.]+)$/.exec(name);
  return match ? `${match[1] ?? ''}${match[2] ?? ''}` : undefined;
};

/** Undefined when jail(8) knows no such parameter. */
const parseParameter = (world: World, text: string): readonly [string, string | boolean] | undefined => {
  const at = text.indexOf('=');
  const name = at < 0 ? text : text.slice(0, at);
  if (at >= 0)
    return VALUES.has(name) || (hasMeta(world) && /^(meta|env)\.[^.]+$/.test(name))
      ? [name, text.slice(at + 1)]
      : undefined;
  if (isSwitch(world, name)) return [name, true];
  const positive = negated(name);
  return positive !== undefined && isSwitch(world, positive) ? [positive, false] : undefined;
};

/** Parameters by name, or the message for the first that is unknown. */
const parseParameters = (world: World, words: readonly string[]): Parameters | string => {
  const found: Parameters = new Map();
  for (const word of words) {
    const name = word.split('=')[0] ?? '';
    if (/^(exec|mount|vnet\.interface|ip4|ip6|command|depend|stop|zfs)\b/.test(name))
      throw unknownArgv(PROGRAM, words, `parameter ${name} is not in the model`);
    const parameter = parseParameter(world, word);
    if (!parameter) return `unknown parameter: ${name}`;
    found.set(...parameter);
  }
  return found;
};

/** jail(8) with parameters on its command line: -c, -m and -R. */
export const jail: Program = (world, args) => {
  const options = args.slice(0, args.findIndex((word) => /^-[cmR]$/.test(word)) + 1);
  const action = options.at(-1);
  const strange = options.slice(0, -1).find((word) => word !== '-q' && word !== '-i');
  if (action === undefined || strange !== undefined) throw unknownArgv(PROGRAM, args, 'expected [-qi] -c, -m or -R');
  const waiting = waitForHost(world);
  if (waiting) return waiting;
  const rest = args.slice(options.length);
  if (action === '-R') return remove(world, must(PROGRAM, args, options.length, 'jail'));
  const parameters = parseParameters(world, rest);
  if (typeof parameters === 'string') return fail(`jail: ${parameters}`);
  return action === '-c' ? create(world, args, parameters, options) : modify(world, args, parameters, options);
};

const textOf = (parameters: Parameters, name: string): string | undefined => {
  const value = parameters.get(name);
  return typeof value === 'string' ? value : undefined;
};

const create = (world: World, args: readonly string[], parameters: Parameters, options: readonly string[]): Answer => {
  const name = textOf(parameters, 'name');
  const path = textOf(parameters, 'path');
  if (parameters.get('persist') !== true)
    throw unknownArgv(PROGRAM, args, 'a jail without persist is not in the model');
  if (path === undefined) throw unknownArgv(PROGRAM, args, 'a jail without path is not in the model');
  const parent = name?.includes('.') ? name.split('.')[0] : undefined;
  if (parent !== undefined) return fail(`jail: jail "${parent}" not found`);
  const there = name === undefined ? undefined : findJail(world, name);
  // The number, not the name (FACTS S.10).
  if (there) return fail(`jail: "${there.jid}" already exists`);
  if (find(world, path)?.kind !== 'directory') return fail(`jail: path ${path}: No such file or directory`);
  if (parameters.get('vnet') === 'inherit') parameters.delete('vnet');
  const made = createJail(world, name, normal(path), parameters);
  return answer(options, made.jid, `${made.name}: created`);
};

/** unrecorded: what -c prints without -q */
const answer = (options: readonly string[], jid: number, said: string): Answer => {
  const quiet = options.includes('-q');
  return done(options.includes('-i') ? `${jid}\n` : quiet ? '' : `${said}\n`);
};

const modify = (world: World, args: readonly string[], parameters: Parameters, options: readonly string[]): Answer => {
  const name = textOf(parameters, 'name') ?? textOf(parameters, 'jid');
  if (name === undefined) throw unknownArgv(PROGRAM, args, '-m needs name= or jid=');
  const found = findJail(world, name);
  if (!found) return fail(`jail: "${name}" not found`);
  if (['path', 'vnet'].some((fixed) => parameters.has(fixed)))
    throw unknownArgv(PROGRAM, args, 'path and vnet cannot be changed in the model');
  for (const [key, value] of parameters) if (key !== 'name' && key !== 'jid') found.parameters.set(key, value);
  return options.includes('-i') ? done(`${found.jid}\n`) : done();
};

/** Exit 0 for one that is dying already (FACTS S.9). */
const remove = (world: World, name: string): Outcome => {
  const found = findJail(world, name);
  if (!found) return findJail(world, name, true) ? done() : fail(`jail: "${name}" not found`);
  return removeJail(world, found) ? done() : stuck(world, done());
};
