import { Client } from '../api/client.ts';
import type { About, Kind, Live, Option, Options } from './command.ts';
import { JSON_OPTION } from './command.ts';
import { connectTo, GLOBALS, splitOption, takeGlobals, type Given } from './globals.ts';
import type { Commands } from './help.ts';

/** A word that may stand there, and what people are told of it. */
export interface Candidate {
  readonly word: string;
  readonly about: string;
}

/** What may come: words, files of the shell's own, or names that somebody knows. */
export interface Wanted {
  readonly words: readonly Candidate[];
  readonly kind?: Live | 'file';
  /** What stands before the name in the same word. Shape: `--label=`. */
  readonly before: string;
  readonly typed: string;
  readonly operands: readonly string[];
  readonly given: Given;
}

/** brigd answers in this time, or nothing is completed. */
const PATIENCE_MS = 300;

/** In a script's hands: let the shell complete files. */
const FILES = ':files';

const HELP: Options = { help: { type: 'boolean', short: 'h', about: 'options and examples' } };
const VERSION: Options = { version: { type: 'boolean', about: 'which brig this is' } };

interface Read {
  readonly operands: string[];
  readonly seen: Set<string>;
  /** The option whose value is the next word. */
  readonly open: Option | undefined;
  /** After `--` there are no options. */
  readonly isLiteral: boolean;
}

const optionOf = (word: string, options: Options): [string, Option] | undefined => {
  const [name] = word.startsWith('--') ? splitOption(word) : [''];
  return Object.entries(options).find(([each, { short }]) => each === name || word === `-${short}`);
};

/** Words before the one that is completed. Unknown options have no value. */
const readWords = (words: readonly string[], options: Options): Read => {
  const operands: string[] = [];
  const seen = new Set<string>();
  let [open, isLiteral]: [Option | undefined, boolean] = [undefined, false];
  for (const word of words)
    if (open) open = undefined;
    else if (isLiteral || !word.startsWith('-') || word === '-') operands.push(word);
    else if (word === '--') isLiteral = true;
    else {
      const found = optionOf(word, options);
      if (found?.[1].type === 'string' && !word.includes('=')) open = found[1];
      if (found) seen.add(found[0]);
    }
  return { operands, seen, open, isLiteral };
};

const toCandidates = (about: Readonly<Record<string, { readonly summary: string }>>): Candidate[] =>
  Object.entries(about).map(([word, { summary }]) => ({ word, about: summary }));

const optionWords = (options: Options, seen: ReadonlySet<string>): Candidate[] =>
  Object.entries({ ...options, json: JSON_OPTION, ...HELP })
    .filter(([name, option]) => !seen.has(name) || (option.type === 'string' && option.multiple === true))
    .map(([name, { about }]) => ({ word: `--${name}`, about }));

type Found = Pick<Wanted, 'words' | 'kind'>;

const ofKind = (kind: Kind, commands: Commands, operands: readonly string[]): Found => {
  if (kind === 'text') return { words: [] };
  if (kind === 'command') return { words: toCandidates(commands) };
  if (kind === 'verb') return { words: toCandidates(commands[operands[0] ?? '']?.verbs ?? {}) };
  if (typeof kind === 'string') return { words: [], kind };
  return { words: kind.map((word) => ({ word, about: '' })) };
};

type Place = Omit<Wanted, 'given'>;

/** `--name=value`, of which the value is completed. */
const inOption = (at: Place, options: Options, commands: Commands): Place => {
  const option = optionOf(at.typed, options)?.[1];
  const typed = splitOption(at.typed)[1] ?? '';
  if (option?.type !== 'string') return at;
  const before = at.typed.slice(0, at.typed.length - typed.length);
  return { ...at, ...ofKind(option.is, commands, at.operands), before, typed };
};

/** The operand, or an option where nobody knows what the operand may be. */
const inOperand = (at: Place, kind: Kind = 'text', options: readonly Candidate[], commands: Commands): Place =>
  kind === 'text' ? { ...at, words: options } : { ...at, ...ofKind(kind, commands, at.operands) };

/** Words after a command or its verb, of which `read` is what they say. */
const after = (about: About, read: Read, at: Place, commands: Commands): Place => {
  if (read.open?.type === 'string') return { ...at, ...ofKind(read.open.is, commands, at.operands) };
  const isOption = at.typed.startsWith('-') && !read.isLiteral;
  if (isOption && at.typed.includes('=')) return inOption(at, about.options, commands);
  const options = read.isLiteral ? [] : optionWords(about.options, read.seen);
  return isOption ? { ...at, words: options } : inOperand(at, about.complete[at.operands.length], options, commands);
};

const afterCommand = (commands: Commands, name: string, words: readonly string[]): Place => {
  const at: Place = { words: [], before: '', typed: words.at(-1) ?? '', operands: [] };
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) return at;
  const read = readWords(words.slice(0, -1), command.options);
  const { verbs } = command;
  if (!verbs) return after(command, read, { ...at, operands: read.operands }, commands);
  const [verb, ...operands] = read.operands;
  if (verb !== undefined)
    return Object.hasOwn(verbs, verb) ? after(verbs[verb] as About, read, { ...at, operands }, commands) : at;
  if (at.typed.startsWith('-')) return { ...at, words: optionWords({}, read.seen) };
  return { ...at, words: toCandidates(verbs) };
};

/** What the last of the words after `brig` may be. */
export const wantedAt = (words: readonly string[], commands: Commands): Wanted => {
  const typed = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const last = before.at(-1);
  const open = GLOBALS[last?.replace(/^--/, '') ?? ''];
  const isOpen = open?.type === 'string' && takeGlobals([...before, typed]).rest.length === 0;
  const { given, rest } = isOpen ? takeGlobals([...before, typed]) : takeGlobals(before);
  const at = { before: '', typed, operands: [], given };
  if (isOpen) return { ...at, words: [], kind: last === '--context' ? 'context' : 'file' };
  const [name, ...more] = rest;
  if (name !== undefined) return { ...afterCommand(commands, name, [...more, typed]), given };
  if (!typed.startsWith('-')) return { ...at, words: toCandidates(commands) };
  return { ...at, words: optionWords({ ...GLOBALS, ...VERSION }, new Set(Object.keys(given))) };
};

/** No word that a shell reads as more than a word. What is left out nobody can complete; it can be typed. */
const SAFE = /^[A-Za-z0-9][A-Za-z0-9._:@=+,/-]*$/;
const OPTION = /^--[a-z0-9-]+$/;

/** Lines for a shell: `word<TAB>about`, nothing in them but what can be printed. */
export const renderCandidates = ({ before, typed, kind }: Wanted, candidates: readonly Candidate[]): string[] =>
  candidates
    .filter(({ word }) => word.startsWith(typed) && (SAFE.test(word) || (kind === undefined && OPTION.test(word))))
    .map(({ word, about }) => `${before}${word}\t${about.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 100)}`);

const bounded = async <T>(work: Promise<T>, otherwise: T): Promise<T> => {
  const late = new Promise<T>((resolve) => setTimeout(() => resolve(otherwise), PATIENCE_MS));
  return await Promise.race([work.catch(() => otherwise), late]);
};

const namesOf = async (wanted: Wanted, kind: Live): Promise<readonly Candidate[]> => {
  const { NAMES } = await import('./complete-names.ts');
  const ask = async (): Promise<readonly Candidate[]> =>
    // Names of nodes are known without asking one.
    NAMES[kind](
      kind === 'context' ? new Client('/nowhere') : await connectTo(wanted.given),
      wanted.operands,
      wanted.typed,
    );
  return await bounded(ask(), []);
};

/** The words of tcsh's line: quotes and backslashes go, nothing is expanded. */
export const splitLine = (line: string): string[] => {
  const words = line.trimStart().split(/[ \t]+/);
  return words.slice(1).map((word) => word.replaceAll(/["'\\]/g, ''));
};

/** Shape: `__complete -- WORD...`, or `__complete --tcsh` with the line in $COMMAND_LINE. */
const linesFor = async (args: readonly string[], commands: Commands): Promise<string[]> => {
  const isTcsh = args[0] === '--tcsh';
  const words = isTcsh ? splitLine(process.env.COMMAND_LINE ?? '') : args.slice(1);
  const wanted = wantedAt(words, commands);
  if (wanted.kind === 'file') return isTcsh ? [] : [FILES];
  const names = wanted.kind === undefined ? wanted.words : await namesOf(wanted, wanted.kind);
  const lines = renderCandidates(wanted, names);
  return isTcsh ? lines.map((line) => line.split('\t')[0] ?? '') : lines;
};

/** Prints what may come; whatever goes wrong, nothing. */
export const complete = async (args: readonly string[], commands: Commands): Promise<void> => {
  const lines = await linesFor(args, commands).catch(() => []);
  await new Promise<void>((resolve) =>
    process.stdout.write(lines.map((line) => `${line}\n`).join(''), () => resolve()),
  );
};
