import { BrigError } from '../base/errors.ts';
import type { World } from './world.ts';

/** What a program answers. */
export interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that does not answer yet: a wedged host, or a process that runs. */
export interface Pending {
  /** Called with the answer, or with `again` when the program is to be run anew. */
  readonly wait: (resume: (answer: Answer | 'again') => void) => void;
  /** Whoever waited has lost patience and sent SIGKILL. */
  readonly abandon: () => void;
  /** What it printed so far. */
  readonly partial?: () => { readonly stdout: string; readonly stderr: string };
}

export type Outcome = Answer | Pending;

/** What the model's FreeBSD does when somebody runs a program. Errors: model.argv for what it does not know. */
export type Program = (world: World, args: readonly string[], stdin: string) => Outcome;

export const isPending = (outcome: Outcome): outcome is Pending => 'wait' in outcome;

/** Success; the text goes to stdout as it is. */
export const done = (stdout = ''): Answer => ({ status: 0, stdout, stderr: '' });

/** Failure; the message becomes a line of stderr. */
export const fail = (message: string, status = 1, stdout = ''): Answer => ({
  status,
  stdout,
  stderr: message === '' ? '' : `${message}\n`,
});

/** Lines as a program prints them. */
export const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join('');

/** The model does not know this use of a program: never a silent success. */
export const unknownArgv = (program: string, args: readonly string[], why: string): BrigError =>
  new BrigError('model.argv', `model ${program} ${args.join(' ')}: ${why}`, { details: { program, args } });

/** The argument that must be there. */
export const must = (program: string, args: readonly string[], index: number, what: string): string => {
  const word = args[index];
  if (word === undefined) throw unknownArgv(program, args, `${what} is missing`);
  return word;
};
