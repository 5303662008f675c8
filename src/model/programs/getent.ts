import { done, fail, unknownArgv, type Program } from '../program.ts';

/** getent(1) `passwd UID`; 2 when nobody has it. unrecorded: the line of somebody */
export const getent: Program = (world, args) => {
  const [database, key = '', ...more] = args;
  if (database !== 'passwd' || key === '' || more.length > 0) throw unknownArgv('getent', args, 'expected passwd KEY');
  const found = [...world.users].find(([uid, name]) => String(uid) === key || name === key);
  return found ? done(`${found[1]}:*:${found[0]}:${found[0]}::/nonexistent:/usr/sbin/nologin\n`) : fail('', 2);
};
