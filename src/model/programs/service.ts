import { done, fail, must, unknownArgv, type Program } from '../program.ts';

/** service(8) NAME enabled. unrecorded: what it says of an unknown script */
export const service: Program = ({ posture }, args) => {
  const name = must('service', args, 0, 'name');
  if (args[1] !== 'enabled') throw unknownArgv('service', args, 'expected NAME enabled');
  return posture.enabled.has(name) ? done() : fail('');
};
