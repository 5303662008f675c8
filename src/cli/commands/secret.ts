import { readFile } from 'node:fs/promises';
import { BrigError, messageOf } from '../../base/errors.ts';
import { renderAge } from '../../base/units.ts';
import type { SecretView } from '../../engine/secrets.ts';
import { askSecret } from '../ask.ts';
import { printJson, show, withVerbs, type Call, type CliVerb } from '../command.ts';
import { asText } from '../document.ts';
import { renderTable } from '../render.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: brig secret ${set.usage}` });

/** Units: milliseconds in. */
const render = (secrets: readonly SecretView[], nowMs: number): string => {
  const head = ['NAME', 'OWNER', 'SET', 'USED BY'];
  const rows = secrets.map(({ name, owner, createdMs, usedBy }) => [
    ...[name, owner === '' ? '-' : owner, `${renderAge(nowMs - createdMs)} ago`, usedBy.join(',') || '-'],
  ]);
  return renderTable(head, rows);
};

/** A file goes as it is, to the byte. */
const valueOf = async (call: Call, name: string): Promise<Buffer> => {
  const path = asText(call.values.file);
  if (path === undefined) return await askSecret(`Secret ${name}`, true);
  try {
    return await readFile(path);
  } catch (error) {
    throw new BrigError('usage.invalid', `read ${path}: ${messageOf(error)}`);
  }
};

/** The new passphrase, where secrets have one. */
const newPassphrase = async (call: Call): Promise<string | undefined> =>
  (await call.client.secrets.lock()).asks ? (await askSecret('New passphrase', true)).toString('utf8') : undefined;

const OWNER = {
  owner: { type: 'string', about: 'whose it is; by default yours', value: 'OWNER', is: 'text' },
} as const;

const set: CliVerb = {
  usage: 'set NAME [--owner OWNER] [--file FILE]',
  summary: 'seal a value, which is asked for, or read from the standard input or a file',
  options: { ...OWNER, file: { type: 'string', about: 'the value, to the byte', value: 'FILE', is: 'file' } },
  operands: [1, 2],
  complete: ['secret', 'text'],
  examples: ['brig secret set vnc-web01', 'brig secret set seed --owner alice --file /root/user-data'],
  run: async (call, name: string, value?: string) => {
    if (value !== undefined)
      throw usage(
        'no value among the arguments, where everybody on the host sees it; it is asked for, or read from the standard input',
      );
    const view = await call.client.secrets.set(name, await valueOf(call, name), asText(call.values.owner));
    if (call.json) printJson(view);
  },
};

const list: CliVerb = {
  usage: 'list [--owner OWNER]',
  summary: 'names of secrets, and who uses them; never what they are',
  options: OWNER,
  operands: [0, 0],
  complete: [],
  examples: ['brig secret list', 'brig secret list --owner alice --json'],
  run: async (call) => {
    const all = await call.client.secrets.list(asText(call.values.owner));
    show(call, all, (secrets) => render(secrets, Date.now()));
  },
};

const remove: CliVerb = {
  usage: 'rm NAME [--owner OWNER]',
  summary: 'forget a secret that no VM refers to',
  options: OWNER,
  operands: [1, 1],
  complete: ['secret'],
  examples: ['brig secret rm vnc-web01', 'brig secret rm seed --owner alice'],
  run: async (call, name: string) => {
    const answer = await call.client.secrets.remove(name, asText(call.values.owner));
    if (call.json) printJson(answer);
  },
};

const rotate: CliVerb = {
  usage: 'rotate-master',
  summary: 'seal all secrets anew, under another master key',
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig secret rotate-master', 'brig secret rotate-master --json'],
  run: async (call) => {
    const answer = await call.client.secrets.rotate(await newPassphrase(call));
    show(call, answer, ({ secrets, master }) => `${secrets} secret${secrets === 1 ? '' : 's'} under master ${master}`);
  },
};

const unlock: CliVerb = {
  usage: 'unlock',
  summary: 'tell brigd the passphrase after its start; the first one is made by it',
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig secret unlock', 'brig secret unlock --json'],
  run: async (call) => {
    const { asks, isNew } = await call.client.secrets.lock();
    const what = isNew ? 'New passphrase' : 'Passphrase';
    const answer = await call.client.secrets.unlock(asks ? (await askSecret(what, isNew)).toString('utf8') : undefined);
    if (call.json) printJson(answer);
  },
};

export const secretCommand = withVerbs('secret', 'passwords and keys that documents refer to, sealed', {
  set,
  list,
  rm: remove,
  'rotate-master': rotate,
  unlock,
});
