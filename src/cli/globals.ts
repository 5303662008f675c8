import type { Client } from '../api/client.ts';
import { BrigError } from '../base/errors.ts';
import { JSON_OPTION, type Options } from './command.ts';
import { openClient } from './connection.ts';
import { asText } from './document.ts';

/** What may stand before the command. */
export const GLOBALS: Options = {
  socket: { type: 'string', about: "brigd's socket, by default $BRIG_SOCKET", value: 'PATH', is: 'file' },
  context: { type: 'string', value: 'NAME', about: 'a node elsewhere, by default $BRIG_CONTEXT', is: 'context' },
  json: JSON_OPTION,
};

export type Given = Readonly<Record<string, string | true>>;

/** `--name=value` in its two halves. */
export const splitOption = (word: string): [string, string | undefined] => {
  const at = word.indexOf('=');
  return at < 0 ? [word.slice(2), undefined] : [word.slice(2, at), word.slice(at + 1)];
};

/** Global options, and what comes after them. Errors: usage.invalid. */
export const takeGlobals = (args: readonly string[]): { readonly given: Given; readonly rest: string[] } => {
  const given: Record<string, string | true> = {};
  const rest = [...args];
  while (rest[0]?.startsWith('--')) {
    const [name, inline] = splitOption(rest[0]);
    const option = Object.hasOwn(GLOBALS, name) ? GLOBALS[name] : undefined;
    if (!option || (option.type === 'boolean' && inline !== undefined)) break;
    rest.shift();
    const value = option.type === 'boolean' ? true : (inline ?? rest.shift());
    if (value === undefined && option.type === 'string')
      throw new BrigError(
        'usage.invalid',
        `read arguments: expected a ${option.value.toLowerCase()} after --${name}, got nothing`,
      );
    given[name] = value ?? true;
  }
  return { given, rest };
};

/** The brigd that is meant. Errors: usage.invalid, config.invalid, acl.*. */
export const connectTo = ({ socket, context }: Given): Promise<Client> => {
  const [path, name] = [asText(socket), asText(context)];
  return openClient({
    ...(path === undefined ? {} : { socket: path }),
    ...(name === undefined ? {} : { context: name }),
  });
};
