import { findJail } from '../jails.ts';
import { done, fail, must, unknownArgv, type Program } from '../program.ts';
import type { World } from '../world.ts';

const parseCpus = (world: World, text: string): number[] | undefined => {
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) return undefined;
    for (let cpu = Number(match[1]); cpu <= Number(match[2] ?? match[1]); cpu++) found.add(cpu);
  }
  return [...found].every((cpu) => cpu < world.cpus) ? [...found].sort((a, b) => a - b) : undefined;
};

/** cpuset(1) `-l LIST -j JAIL` and `-g -j JAIL`. Source of the text: FACTS 3.4. */
export const cpuset: Program = (world, args) => {
  const list = args[0] === '-l' ? must('cpuset', args, 1, 'list') : undefined;
  const rest = args.slice(list === undefined ? 1 : 2);
  if ((list === undefined && args[0] !== '-g') || rest[0] !== '-j' || rest.length !== 2)
    throw unknownArgv('cpuset', args, 'expected -l LIST -j JAIL or -g -j JAIL');
  const name = rest[1] ?? '';
  const jail = findJail(world, name);
  // unrecorded: both texts of failure
  if (!jail) return fail(`cpuset: jail "${name}" not found`);
  const cpus = parseCpus(world, list ?? jail.cpuset ?? `0-${world.cpus - 1}`);
  if (!cpus) return fail('cpuset: setaffinity: Resource deadlock avoided');
  if (list === undefined)
    return done(`jail ${jail.jid} mask: ${cpus.join(', ')}\njail ${jail.jid} domain policy: first-touch mask: 0\n`);
  jail.cpuset = list;
  return done();
};
