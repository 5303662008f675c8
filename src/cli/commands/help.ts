import { print, type CliCommand } from '../command.ts';
import { renderHelp, type Groups } from '../help.ts';

/** Help reads the table that it is in. */
export const helpCommandOf = (groups: () => Groups): CliCommand => ({
  usage: 'brig help [COMMAND [VERB]]',
  summary: 'all commands, or one of them with its options and examples',
  options: {},
  operands: [0, 2],
  complete: ['command', 'verb'],
  isLocal: () => true,
  examples: ['brig help', 'brig help start', 'brig help image import'],
  run: async (call) => await Promise.resolve(print(renderHelp(groups(), call.operands))),
});
