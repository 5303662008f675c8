import { BrigError } from '../../base/errors.ts';
import { escapeControls, parseDurationMs } from '../../base/units.ts';
import type { AccessKeyView } from '../../engine/keys.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { asText } from '../document.ts';
import { table } from '../render.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${keyCommand.usage}` });

const day = (ms: number | undefined): string => (ms === undefined ? '-' : new Date(ms).toISOString().slice(0, 10));

const render = (keys: readonly AccessKeyView[]): string =>
  table([
    ['NAME', 'KEY', 'OWNER', 'BY', 'ADDED', 'EXPIRES', 'STATE'],
    ...keys.map(({ name, id, owner = '-', by, createdMs, expiresMs, state }) => [
      ...[name, id, owner, by, day(createdMs), day(expiresMs), state].map(escapeControls),
    ]),
  ])
    .map((row) => row.join('  ').trimEnd())
    .join('\n');

const came = (call: Call, view: AccessKeyView): void => {
  if (call.json) printJson(view);
  else print(`${view.name}  ${view.id}  ${view.state}`);
};

/** From now. Errors: usage.invalid. */
const expiryOf = (call: Call): number | undefined => {
  const text = asText(call.values.expires);
  if (text === undefined) return undefined;
  const ms = parseDurationMs(text);
  if (ms === undefined || ms === 0) throw usage('--expires like 90d or 12h, got another');
  return Date.now() + ms;
};

const add = async (call: Call, name: string, line: string): Promise<void> => {
  const [owner, expiresMs] = [asText(call.values.owner), expiryOf(call)];
  const about = { ...(owner === undefined ? {} : { owner }), ...(expiresMs === undefined ? {} : { expiresMs }) };
  came(call, await call.client.addAccessKey(name, { public: line, ...about }));
};

export const keyCommand: CliCommand = {
  usage: "brig key list | add NAME 'ed25519 BASE64' [--owner USER] [--expires 90d] | revoke NAME|KEY [--json]",
  summary: 'keys of people elsewhere: who may sign requests to this node',
  options: { owner: { type: 'string' }, expires: { type: 'string' } },
  operands: [1, 3],
  run: async (call) => {
    const [verb = '', name, line] = call.operands;
    const count = call.operands.length;
    if (verb === 'list' && count === 1) {
      const keys = await call.client.accessKeys();
      if (call.json) printJson(keys);
      else print(render(keys));
    } else if (verb === 'add' && name !== undefined && line !== undefined) await add(call, name, line);
    else if (verb === 'revoke' && name !== undefined && count === 2)
      came(call, await call.client.revokeAccessKey(name));
    else throw usage('list, add NAME KEY or revoke NAME, got something else');
  },
};

export const whoamiCommand: CliCommand = {
  usage: 'brig whoami [--json]',
  summary: 'who brigd says that you are',
  operands: [0, 0],
  run: async ({ client, json }) => {
    const who = await client.whoami();
    if (json) return printJson(who);
    const owner = who.owner === undefined ? '' : ` of ${who.owner}`;
    print(escapeControls(`${who.id}${owner}, from ${who.from}`));
  },
};
