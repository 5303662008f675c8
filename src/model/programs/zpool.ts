import { done, unknownArgv, type Program } from '../program.ts';

/** zpool(8) `list -Hp -o name,health`. */
export const zpool: Program = ({ pool, posture }, args) => {
  if (args.join(' ') !== 'list -Hp -o name,health')
    throw unknownArgv('zpool', args, 'expected list -Hp -o name,health');
  return done(pool === undefined ? '' : `${pool}\t${posture.poolHealth}\n`);
};
