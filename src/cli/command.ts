import { parseArgs } from 'node:util';
import type { Client } from '../api/client.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { escapeControls, parseDurationMs } from '../base/units.ts';
import { nearest } from '../engine/nearest.ts';

export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

/** Names that brigd or a directory knows. `complete-names` has a source for each. */
export type Live =
  | 'vm'
  | 'context'
  | 'access-key'
  | 'secret'
  | 'principal'
  | 'object'
  | 'vm@snapshot'
  | 'snapshot'
  | 'network'
  | 'image'
  | 'base'
  | 'key'
  | 'label'
  | 'network-label'
  | 'template';

/** What a word is: a name, a file, a command of brig, a verb of that command, one of some words, or text that nobody can guess. */
export type Kind = Live | 'file' | 'command' | 'verb' | 'text' | readonly string[];

/** An option as parseArgs(3) of Node wants it, with what people are told of it. */
export type Option =
  | { readonly type: 'boolean'; readonly short?: string; readonly about: string }
  | {
      readonly type: 'string';
      readonly short?: string;
      readonly multiple?: boolean;
      readonly about: string;
      /** What comes after it. Shape: `FILE`, `CIDR`. */
      readonly value: string;
      readonly is: Kind;
    };
export type Options = Readonly<Record<string, Option>>;

/** What a command gets. */
export interface Call {
  readonly client: Client;
  readonly operands: readonly string[];
  readonly values: Values;
  readonly json: boolean;
}

/** What is said of a command or of one of its verbs: help, completions and the parser read the same. */
export interface About {
  /** With `brig` before it; of a verb, what comes after the command. */
  readonly usage: string;
  readonly summary: string;
  readonly options: Options;
  /** Least and most operands. */
  readonly operands: readonly [number, number];
  /** What each operand is. */
  readonly complete: readonly Kind[];
  /** Whole lines that work; a test parses them. */
  readonly examples: readonly string[];
  /** Lines that help says last. */
  readonly notes?: readonly string[];
}

/** One command of brig(8). */
export interface CliCommand extends About {
  /** What its first operand may be. */
  readonly verbs?: Readonly<Record<string, About>>;
  /** Whether it asks no brigd with these operands, so that a context which is broken is no hindrance. */
  readonly isLocal?: (operands: readonly string[]) => boolean;
  run(call: Call): Promise<void>;
}

/** A verb of a command: `brig COMMAND VERB`. */
export interface CliVerb extends About {
  readonly run: (call: Call, ...operands: string[]) => Promise<void>;
}

/** A command that does nothing without a verb. */
export const withVerbs = (
  name: string,
  summary: string,
  verbs: Readonly<Record<string, CliVerb>>,
  more: Pick<CliCommand, 'isLocal'> = {},
): CliCommand => {
  const all = Object.values(verbs);
  return {
    usage: `brig ${name} ${all.map(({ usage }) => usage).join(' | ')} [--json]`,
    summary,
    options: Object.assign({}, ...all.map(({ options }) => options)) as Options,
    operands: [1, 1 + Math.max(...all.map(({ operands }) => operands[1]))],
    complete: [Object.keys(verbs)],
    examples: all.flatMap(({ examples }) => examples.slice(0, 1)).slice(0, 4),
    verbs,
    ...more,
    run: async (call) => {
      const [verb = '', ...rest] = call.operands;
      await verbs[verb]?.run(call, ...rest);
    },
  };
};

/** Every command has it. */
export const JSON_OPTION: Option = { type: 'boolean', about: 'the answer as JSON, for programs' };

const refuse = (reason: string, usage: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: ${reason}`, { hint: `usage: ${usage}` });

const counted = ([least, most]: About['operands']): string =>
  `${least === most ? least : `${least} to ${most}`} operand${most === 1 ? '' : 's'}`;

/** A verb with what may come after it. Errors: usage.invalid with its usage line. */
const checkVerb = (
  command: CliCommand,
  verbs: Readonly<Record<string, About>>,
  operands: readonly string[],
  given: readonly string[],
): void => {
  const name = /^brig \S+/.exec(command.usage)?.[0] ?? 'brig';
  const [verb = '', ...rest] = operands;
  const about = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  const names = Object.keys(verbs);
  if (!about) {
    const near = nearest(verb, names);
    throw new BrigError('usage.invalid', `read arguments: expected ${names.join(', ')}, got ${escapeControls(verb)}`, {
      hint: near === undefined ? `usage: ${name} ${names.join('|')} ...` : `did you mean ${name} ${near}?`,
    });
  }
  const fail = (reason: string): BrigError => refuse(reason, `${name} ${about.usage}`);
  const [least, most] = about.operands;
  if (rest.length > most && most === 0)
    throw fail(`expected nothing after ${verb}, got ${escapeControls(rest.join(' '))}`);
  if (rest.length < least || rest.length > most)
    throw fail(`expected ${counted(about.operands)} after ${verb}, got ${rest.length || 'nothing'}`);
  const wrong = given.find((option) => option !== 'json' && !Object.hasOwn(about.options, option));
  if (wrong === undefined) return;
  const right = names.filter((each) => Object.hasOwn(verbs[each]?.options ?? {}, wrong));
  throw fail(`expected --${wrong} after ${right.join(' or ')} only`);
};

/** Options and operands, checked against the command and its verb. Errors: usage.invalid with its usage line. */
export const parseCall = (command: CliCommand, args: readonly string[]): Omit<Call, 'client'> => {
  const options: Options = { ...command.options, json: JSON_OPTION };
  const parsed = (() => {
    try {
      return parseArgs({ args: [...args], options, allowPositionals: true });
    } catch (error) {
      throw refuse(messageOf(error).split('. ')[0] ?? '', command.usage);
    }
  })();
  const { positionals, values } = parsed;
  const [least, most] = command.operands;
  const count = positionals.length;
  if (count < least || (count > most && !command.verbs))
    throw refuse(`expected ${counted(command.operands)}, got ${count}`, command.usage);
  if (command.verbs) checkVerb(command, command.verbs, positionals, Object.keys(values));
  return { operands: positionals, values, json: values.json === true };
};

/** The one operand of most commands. */
export const nameOf = (call: Call): string => call.operands.at(-1) ?? '';

/** --timeout of a command that stops something. */
export const TIMEOUT: Option = {
  type: 'string',
  about: 'how long the guest has until it is forced off: 500ms, 30s, 5m',
  value: 'DURATION',
  is: 'text',
};

/** Milliseconds of --timeout. Errors: usage.invalid. */
export const timeoutOf = (call: Call): number | undefined => {
  const text = call.values.timeout;
  if (typeof text !== 'string') return undefined;
  const ms = parseDurationMs(text);
  if (ms === undefined)
    throw new BrigError('usage.invalid', `read arguments: expected --timeout like 30s, 500ms or 5m, got ${text}`);
  return ms;
};

export const print = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);

/** One of many lines: resolves when there is room for the next one, so that a slow reader costs no memory. */
export const printAsRead = async (text: string): Promise<void> => {
  if (!process.stdout.write(`${text}\n`)) await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
};

/** JSON that is harmless to a terminal: it leaves DEL and the C1 controls as they are, which means the same escaped. */
export const toJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

export const printJson = (value: unknown): void => print(toJson(value, 2));

/** The answer as JSON, or as a person reads it. */
export const show = <T>(call: Pick<Call, 'json'>, value: T, render: (value: T) => string): void => {
  if (call.json) printJson(value);
  else print(render(value));
};
