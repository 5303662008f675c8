import type { About, Options } from './command.ts';
import { GLOBALS } from './globals.ts';
import type { Commands } from './help.ts';

/** After these words comes a file. Source: tcsh(1) "complete": n is the word before, N the one before that. */
const optionRules = (options: Options): string[] =>
  Object.entries(options).flatMap(([name, option]) =>
    option.type === 'string' && option.is === 'file'
      ? [`n/--${name}/f/`, ...(option.short === undefined ? [] : [`n/-${option.short}/f/`])]
      : [],
  );

const operandRules = (verb: string, { complete }: About): string[] =>
  complete.flatMap((kind, at) => (kind === 'file' && at < 2 ? [`${at === 0 ? 'n' : 'N'}/${verb}/f/`] : []));

/** tcsh asks a program for names only: where files are meant, rules of its own say so. */
export const fillRules = (script: string, commands: Commands): string => {
  const rules = Object.entries(commands).flatMap(([name, command]) => [
    ...optionRules(command.options),
    ...(command.verbs
      ? Object.entries(command.verbs).flatMap(([verb, about]) => operandRules(verb, about))
      : operandRules(name, command)),
  ]);
  const all = [...new Set([...optionRules(GLOBALS), ...rules])];
  return script.replace('FILES', all.map((rule) => `'${rule}'`).join(' '));
};
