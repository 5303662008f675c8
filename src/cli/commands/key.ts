import { BrigError } from '../../base/errors.ts';
import { escapeControls, parseDurationMs } from '../../base/units.ts';
import type { AccessKeyView } from '../../engine/keys.ts';
import { print, printJson, show, withVerbs, type Call, type CliCommand, type CliVerb } from '../command.ts';
import { asText } from '../document.ts';
import { renderTable } from '../render.ts';

const day = (ms: number | undefined): string => (ms === undefined ? '-' : new Date(ms).toISOString().slice(0, 10));

const render = (keys: readonly AccessKeyView[]): string =>
  renderTable(
    ['NAME', 'KEY', 'OWNER', 'BY', 'ADDED', 'EXPIRES', 'STATE'],
    keys.map(({ name, id, owner = '-', by, createdMs, expiresMs, state }) => [
      ...[name, id, owner, by, day(createdMs), day(expiresMs), state],
    ]),
  );

const came = (call: Call, view: AccessKeyView): void =>
  show(call, view, ({ name, id, state }) => `${name}  ${id}  ${state}`);

/** From now. Errors: usage.invalid. */
const expiryOf = (call: Call): number | undefined => {
  const text = asText(call.values.expires);
  if (text === undefined) return undefined;
  const ms = parseDurationMs(text);
  if (ms === undefined || ms === 0)
    throw new BrigError('usage.invalid', 'read arguments: expected --expires like 90d or 12h, got another');
  return Date.now() + ms;
};

const list: CliVerb = {
  usage: 'list',
  summary: 'keys that may sign requests here: all for an administrator, else your own',
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig key list', 'brig key list --json'],
  run: async (call) => show(call, await call.client.access.keys(), render),
};

const add: CliVerb = {
  usage: "add NAME 'ed25519 BASE64' [--owner USER] [--expires 90d]",
  summary: 'let a key sign requests, as the line says that brig login prints',
  options: {
    owner: { type: 'string', about: 'whose rights it has beside its own', value: 'USER', is: 'text' },
    expires: { type: 'string', about: 'for how long it counts: 90d, 12h', value: 'DURATION', is: 'text' },
  },
  operands: [2, 2],
  complete: ['text', 'text'],
  examples: [
    "brig key add laptop 'ed25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' --owner alice --expires 90d",
    "brig key add ci 'ed25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='",
  ],
  run: async (call, name: string, line: string) => {
    const [owner, expiresMs] = [asText(call.values.owner), expiryOf(call)];
    const about = { ...(owner === undefined ? {} : { owner }), ...(expiresMs === undefined ? {} : { expiresMs }) };
    came(call, await call.client.access.addKey(name, { public: line, ...about }));
  },
};

const revoke: CliVerb = {
  usage: 'revoke NAME|KEY',
  summary: 'at once, and for ever: what it has open ends',
  options: {},
  operands: [1, 1],
  complete: ['access-key'],
  examples: ['brig key revoke laptop', 'brig key revoke 0123456789abcdef'],
  run: async (call, name: string) => came(call, await call.client.access.revokeKey(name)),
};

export const keyCommand = withVerbs('key', 'keys of people elsewhere: who may sign requests to this node', {
  list,
  add,
  revoke,
});

export const whoamiCommand: CliCommand = {
  usage: 'brig whoami [--json]',
  summary: 'who brigd says that you are',
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig whoami', 'brig whoami --json'],
  run: async ({ client, json }) => {
    const who = await client.whoami();
    if (json) return printJson(who);
    const owner = who.owner === undefined ? '' : ` of ${who.owner}`;
    print(escapeControls(`${who.id}${owner}, from ${who.from}`));
  },
};
