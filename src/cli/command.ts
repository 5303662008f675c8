import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { Client } from '../api/client.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { parseDurationMs } from '../base/units.ts';

type Options = NonNullable<ParseArgsConfig['options']>;
export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

/** What a command gets. */
export interface Call {
  readonly client: Client;
  readonly operands: readonly string[];
  readonly values: Values;
  readonly json: boolean;
}

/** One command of brig(8). */
export interface CliCommand {
  readonly usage: string;
  readonly summary: string;
  readonly options?: Options;
  /** Least and most operands. */
  readonly operands: readonly [number, number];
  run(call: Call): Promise<void>;
}

/** Options and operands, checked against the command. Errors: usage.invalid with its usage line. */
export const parseCall = (command: CliCommand, args: readonly string[]): Omit<Call, 'client'> => {
  const fail = (reason: string): BrigError =>
    new BrigError('usage.invalid', `read arguments: ${reason}`, { hint: `usage: ${command.usage}` });
  const options: Options = { ...command.options, json: { type: 'boolean' } };
  const parsed = (() => {
    try {
      return parseArgs({ args: [...args], options, allowPositionals: true });
    } catch (error) {
      throw fail(messageOf(error).split('. ')[0] ?? '');
    }
  })();
  const [least, most] = command.operands;
  const count = parsed.positionals.length;
  if (count < least || count > most)
    throw fail(
      `expected ${least === most ? least : `${least} to ${most}`} operand${most === 1 ? '' : 's'}, got ${count}`,
    );
  return { operands: parsed.positionals, values: parsed.values, json: parsed.values.json === true };
};

/** The one operand of most commands. */
export const nameOf = (call: Call): string => call.operands.at(-1) ?? '';

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

/** JSON that is harmless to a terminal: it leaves DEL and the C1 controls as they are, which means the same escaped. */
export const toJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

export const printJson = (value: unknown): void => print(toJson(value, 2));
