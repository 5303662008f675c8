import { readFile } from 'node:fs/promises';
import { BrigError, messageOf } from '../../base/errors.ts';
import { escapeControls, renderAge } from '../../base/units.ts';
import type { SecretView } from '../../engine/secrets.ts';
import { askSecret } from '../ask.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { paint, table } from '../render.ts';

const usage = (expected: string, got = ''): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}${got}`, {
    hint: `usage: ${secretCommand.usage}`,
  });

/** Units: milliseconds in. */
const render = (secrets: readonly SecretView[], nowMs: number): string => {
  const head = ['NAME', 'OWNER', 'SET', 'USED BY'];
  const rows = secrets.map(({ name, owner, createdMs, usedBy }) => [
    ...[name, owner === '' ? '-' : owner, `${renderAge(nowMs - createdMs)} ago`, usedBy.join(',') || '-'],
  ]);
  const [heading = [], ...lines] = table([head, ...rows]);
  return [paint('bold', heading.join('  ')), ...lines.map((line) => line.join('  ').trimEnd())].join('\n');
};

const textOf = (call: Call, option: 'owner' | 'file'): string | undefined => {
  const value = call.values[option];
  return typeof value === 'string' ? value : undefined;
};

/** A file goes as it is, to the byte. */
const valueOf = async (call: Call, name: string): Promise<Buffer> => {
  const path = textOf(call, 'file');
  if (path === undefined) return await askSecret(`Secret ${name}`, true);
  try {
    return await readFile(path);
  } catch (error) {
    throw new BrigError('usage.invalid', `read ${path}: ${messageOf(error)}`);
  }
};

const named = (name: string | undefined, verb: string): string => {
  if (name === undefined) throw usage(`a name after ${verb}, got nothing`);
  return name;
};

const alone = (name: string | undefined, verb: string): void => {
  if (name !== undefined) throw usage(`nothing after ${verb}, got an operand`);
};

/** The new passphrase, where secrets have one. */
const newPassphrase = async (call: Call): Promise<string | undefined> =>
  (await call.client.secrets.lock()).asks ? (await askSecret('New passphrase', true)).toString('utf8') : undefined;

type Verb = (call: Call, name: string | undefined) => Promise<void>;

const VERBS: Readonly<Record<string, Verb>> = {
  set: async (call, name) => {
    const value = await valueOf(call, named(name, 'set'));
    const view = await call.client.secrets.set(named(name, 'set'), value, textOf(call, 'owner'));
    if (call.json) printJson(view);
  },
  list: async (call, name) => {
    alone(name, 'list');
    const all = await call.client.secrets.list(textOf(call, 'owner'));
    if (call.json) printJson(all);
    else print(render(all, Date.now()));
  },
  rm: async (call, name) => {
    const answer = await call.client.secrets.remove(named(name, 'rm'), textOf(call, 'owner'));
    if (call.json) printJson(answer);
  },
  'rotate-master': async (call, name) => {
    alone(name, 'rotate-master');
    const answer = await call.client.secrets.rotate(await newPassphrase(call));
    if (call.json) printJson(answer);
    else print(`${answer.secrets} secret${answer.secrets === 1 ? '' : 's'} under master ${answer.master}`);
  },
  unlock: async (call, name) => {
    alone(name, 'unlock');
    const { asks, isNew } = await call.client.secrets.lock();
    const what = isNew ? 'New passphrase' : 'Passphrase';
    const answer = await call.client.secrets.unlock(asks ? (await askSecret(what, isNew)).toString('utf8') : undefined);
    if (call.json) printJson(answer);
  },
};

const check = (call: Call, verb: string): void => {
  if (call.operands.length > 2)
    throw usage(
      'no value among the arguments, where everybody on the host sees it; it is asked for, or read from the standard input',
    );
  if (call.values.file !== undefined && verb !== 'set') throw usage('--file after set only');
  if (call.values.owner !== undefined && (verb === 'unlock' || verb === 'rotate-master'))
    throw usage('--owner after set, list and rm only');
};

export const secretCommand: CliCommand = {
  usage:
    'brig secret set NAME [--owner O] [--file FILE] | list [--owner O] | rm NAME [--owner O] | rotate-master | unlock [--json]',
  summary: 'passwords and keys that documents refer to, sealed',
  options: { owner: { type: 'string' }, file: { type: 'string' } },
  operands: [1, 9],
  run: async (call) => {
    const [verb = '', name] = call.operands;
    const work = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!work) throw usage(Object.keys(VERBS).join(', '), `, got ${escapeControls(verb)}`);
    check(call, verb);
    await work(call, name);
  },
};
