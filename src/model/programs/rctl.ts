import { findJail } from '../jails.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import type { World } from '../world.ts';

const PROGRAM = 'rctl';

/** Resources in the order of `rctl -u`, with what a jail with a running bhyve of 64 MiB was seen to use. */
const USAGE: readonly (readonly [string, number])[] = [
  ['cputime', 42],
  ['datasize', 2_781_184],
  ['stacksize', 0],
  ['coredumpsize', 0],
  ['memoryuse', 10_932_224],
  ['memorylocked', 0],
  ['maxproc', 1],
  ['openfiles', 0],
  ['vmemoryuse', 114_954_240],
  ['pseudoterminals', 0],
  ['swapuse', 0],
  ['nthr', 11],
  ['msgqqueued', 0],
  ['msgqsize', 0],
  ['nmsgq', 0],
  ['nsem', 0],
  ['nsemop', 0],
  ['nshm', 0],
  ['shmsize', 0],
  ['wallclock', 43],
  ['pcpu', 99],
  ['readbps', 0],
  ['writebps', 0],
  ['readiops', 0],
  ['writeiops', 0],
];

const FACTOR: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** The rule as it is kept, amounts in full. unrecorded: that 16m is shown as bytes */
const canonical = (rule: string): string | undefined => {
  const match = /^jail:([^:]+):([a-z]+):(deny|log|throttle|sig[a-z]+)=(\d+)([kmgt]?)$/i.exec(rule);
  if (!match || !USAGE.some(([resource]) => resource === match[2])) return undefined;
  const amount = Number(match[4]) * (FACTOR[(match[5] ?? '').toLowerCase()] ?? 1);
  return `jail:${match[1] ?? ''}:${match[2] ?? ''}:${match[3] ?? ''}=${amount}`;
};

const add = (world: World, rule: string): Answer => {
  if (!rule.includes(':')) return fail(`rctl: malformed rule '${rule}': missing subject`);
  if (!rule.startsWith('jail:')) throw unknownArgv(PROGRAM, ['-a', rule], 'only rules for jails are in the model');
  const kept = canonical(rule);
  if (kept === undefined) return fail(`rctl: failed to add rule '${rule}': Invalid argument`);
  if (!world.limits.includes(kept)) world.limits.push(kept);
  return done();
};

const matches = (rule: string, filter: string): boolean => rule === filter || rule.startsWith(`${filter}:`);

const remove = (world: World, filter: string): Answer => {
  const kept = world.limits.filter((rule) => !matches(rule, filter));
  // unrecorded
  if (kept.length === world.limits.length) return fail(`rctl: failed to remove rule '${filter}': No such process`);
  world.limits = kept;
  return done();
};

const use = (world: World, filter: string): Answer => {
  const jail = findJail(world, filter.slice('jail:'.length));
  // unrecorded
  if (!jail) return fail(`rctl: failed to show resource consumption for '${filter}': No such process`);
  const runs = [...world.processes.values()].some((process) => process.jid === jail.jid);
  return done(lines(USAGE.map(([resource, amount]) => `${resource}=${runs ? amount : 0}`)));
};

/** rctl(8): rules for jails, which outlive them. */
export const rctl: Program = (world, args) => {
  if (world.sysctls.get('kern.racct.enable') !== '1')
    return fail('rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable');
  if (args.length === 0) return done(lines(world.limits));
  const [option = '', ...more] = args;
  if (/^jail:[^:]+$/.test(option) && more.length === 0)
    return done(lines(world.limits.filter((rule) => matches(rule, option))));
  const action = { '-a': add, '-r': remove, '-u': use }[option];
  const word = must(PROGRAM, args, 1, 'rule');
  if (!action || args.length !== 2 || (option !== '-a' && !word.startsWith('jail:')))
    throw unknownArgv(PROGRAM, args, 'expected -a, -r or -u with a rule for a jail');
  return action(world, word);
};
