import { parameterNames } from '../jail-parameters.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import type { World } from '../world.ts';

const READ_ONLY = /^(hw\.|kern\.os|kern\.racct|security\.jail\.param\.)/;

const assign = (world: World, name: string, value: string): Answer => {
  const old = world.sysctls.get(name);
  // unrecorded: both texts
  if (old === undefined) return fail(`sysctl: unknown oid '${name}'`);
  if (READ_ONLY.test(name)) return fail(`sysctl: oid '${name}' is read only`);
  world.sysctls.set(name, value);
  return done(`${name}: ${old} -> ${value}\n`);
};

/** unrecorded: the descriptions of -d; whether there is one tells a feature */
const query = (world: World, option: string, name: string): Answer => {
  const value = world.sysctls.get(name);
  if (value === undefined) return option === '-i' ? done() : fail(`sysctl: unknown oid '${name}'`);
  if (option === '-n') return done(`${value}\n`);
  return done(`${name}: ${option === '-d' ? 'model' : value}\n`);
};

const PARAMETERS = 'security.jail.param';

/** `-N NODE`: names alone. */
const listNames = (world: World, node: string): Answer => {
  const own = [...world.sysctls.keys()].filter((name) => name === node || name.startsWith(`${node}.`));
  const parameters = parameterNames(world).map((name) => `${PARAMETERS}.${name}`);
  return done(lines(node === PARAMETERS ? parameters : own.sort()));
};

/** sysctl(8): -n, -i, -d, -N, bare names and assignments. */
export const sysctl: Program = (world, args) => {
  if (args[0] === '-N') return listNames(world, must('sysctl', args, 1, 'node'));
  const option = /^-[nid]$/.test(args[0] ?? '') ? (args[0] ?? '') : '';
  const words = option === '' ? args : args.slice(1);
  if (words.length === 0 || words.some((word) => word.startsWith('-')))
    throw unknownArgv('sysctl', args, 'expected names');
  const answers = words.map((word) => {
    const at = word.indexOf('=');
    return at < 0 ? query(world, option, word) : assign(world, word.slice(0, at), word.slice(at + 1));
  });
  return {
    status: answers.some((answer) => answer.status !== 0) ? 1 : 0,
    stdout: answers.map((answer) => answer.stdout).join(''),
    stderr: answers.map((answer) => answer.stderr).join(''),
  };
};
