import { BrigError } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';
import { nearest } from '../engine/nearest.ts';
import { JSON_OPTION, type About, type CliCommand, type Option, type Options } from './command.ts';
import { GLOBALS } from './globals.ts';

export type Commands = Readonly<Record<string, CliCommand>>;

/** Commands under what they are about. */
export type Groups = Readonly<Record<string, Commands>>;

/** Errors: usage.invalid with the name that was probably meant. */
const pick = <T>(from: Readonly<Record<string, T>>, name: string, what: string): T => {
  const found = Object.hasOwn(from, name) ? from[name] : undefined;
  if (found !== undefined) return found;
  const near = nearest(name, Object.keys(from));
  throw new BrigError('usage.invalid', `read arguments: no command ${escapeControls(`${what}${name}`)}`, {
    hint: near === undefined ? `brig help ${what}`.trimEnd() + ' lists them' : `did you mean brig ${what}${near}?`,
  });
};

export const findCommand = (commands: Commands, name: string): CliCommand => pick(commands, name, '');

const rows = (cells: readonly (readonly [string, string])[]): string[] => {
  const width = Math.max(...cells.map(([first]) => first.length));
  return cells.map(([first, second]) => `  ${first.padEnd(width)}  ${second}`);
};

const optionRow = ([name, option]: [string, Option]): [string, string] => [
  [
    option.short === undefined ? '    ' : `-${option.short}, `,
    `--${name}${option.type === 'string' ? ` ${option.value}` : ''}`,
  ].join(''),
  option.about + (option.type === 'string' && option.multiple === true ? ' (may come again)' : ''),
];

const optionRows = (options: Options): string[] => rows(Object.entries(options).map(optionRow));

const optionsAndExamples = ({ options, examples, notes = [] }: About): string[] => [
  'options:',
  ...optionRows({ ...options, json: JSON_OPTION }),
  '',
  'examples:',
  ...examples.map((line) => `  ${line}`),
  ...(notes.length === 0 ? [] : ['', ...notes]),
];

const renderVerbs = (name: string, command: CliCommand, verbs: Readonly<Record<string, About>>): string =>
  [
    `usage: brig ${name} VERB ... [--json]`,
    '',
    command.summary,
    '',
    'verbs:',
    ...rows(Object.entries(verbs).map(([verb, { summary }]) => [verb, summary])),
    '',
    'examples:',
    ...command.examples.map((line) => `  ${line}`),
    '',
    `brig help ${name} VERB says more.`,
  ].join('\n');

const renderOne = (usage: string, about: About): string =>
  [`usage: ${usage}`, '', about.summary, '', ...optionsAndExamples(about)].join('\n');

const renderAll = (groups: Groups): string => {
  const width = Math.max(...Object.values(groups).flatMap((group) => Object.keys(group).map(({ length }) => length)));
  return [
    'usage: brig [--socket PATH | --context NAME] [--json] COMMAND ...',
    ...Object.entries(groups).flatMap(([title, commands]) => [
      '',
      `${title}:`,
      ...Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    ]),
    '',
    'before the command:',
    ...optionRows(GLOBALS),
    '',
    'brig help COMMAND says more; so does brig(8). brig --version says which one this is.',
  ].join('\n');
};

/** What `brig help` says of a command, of its verb, or of all. Errors: usage.invalid. */
export const renderHelp = (groups: Groups, [name, verb]: readonly string[]): string => {
  if (name === undefined) return renderAll(groups);
  const commands = Object.assign({}, ...Object.values(groups)) as Commands;
  const command = findCommand(commands, name);
  if (verb === undefined)
    return command.verbs ? renderVerbs(name, command, command.verbs) : renderOne(command.usage, command);
  const about = pick(command.verbs ?? {}, verb, `${name} `);
  return renderOne(`brig ${name} ${about.usage} [--json]`, about);
};
