import { unknownArgv, type Program } from '../program.ts';

/** ping(8): -4|-6 -n -c 1 -t N ADDRESS. A neighbour answers by an interface that is up, unless it is mute. unrecorded: its text */
export const ping: Program = (world, args) => {
  if (!/^-[46] -n -c 1 -t \d+ \S+$/.test(args.join(' ')))
    throw unknownArgv('ping', args, 'expected -4|-6 -n -c 1 -t N ADDRESS');
  const address = args.at(-1) ?? '';
  const head = address.slice(0, address.lastIndexOf(address.includes(':') ? ':' : '.'));
  const isNear = world.interfaces.some(
    (each) => each.vnet === 0 && each.up && each.addresses.some((text) => text.includes(` ${head}`)),
  );
  const answers = isNear && !world.posture.mute.has(address);
  return { status: answers ? 0 : 2, stdout: `PING ${address}\n`, stderr: '' };
};
