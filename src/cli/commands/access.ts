import { BrigError } from '../../base/errors.ts';
import { escapeControls, renderAge } from '../../base/units.ts';
import type { GrantView } from '../../engine/access.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { amountsOf, paint, table } from '../render.ts';

const asked = ({ operands: [principal = '', role = '', object = ''] }: Call) => ({ principal, role, object });

const grant: CliCommand = {
  usage: 'brig grant PRINCIPAL ROLE OBJECT [--json]',
  summary: 'let somebody do something: user:NAME, group:NAME or key:NAME; viewer, operator, owner, admin, or verbs',
  operands: [3, 3],
  run: async (call) => {
    const outcome = await call.client.grant(asked(call));
    if (call.json) printJson(outcome);
    else if (!outcome.changed) process.stderr.write(`${call.operands[0] ?? ''}: has that already\n`);
  },
};

const revoke: CliCommand = {
  usage: 'brig revoke PRINCIPAL ROLE OBJECT [--json]',
  summary: 'take a rule back, and what was handed on by it',
  operands: [3, 3],
  run: async (call) => {
    const outcome = await call.client.revoke(asked(call));
    if (call.json) printJson(outcome);
    else if (!outcome.changed) process.stderr.write(`${call.operands[0] ?? ''}: has no such rule\n`);
  },
};

const render = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const [heading = [], ...lines] = table([head, ...rows]);
  return [paint('bold', heading.join('  ')), ...lines.map((line) => line.join('  ').trimEnd())].join('\n');
};

const renderGrants = (grants: readonly GrantView[], nowMs: number): string =>
  render(
    ['PRINCIPAL', 'ROLE', 'OBJECT', 'BY', 'AGE'],
    grants.map((each) => [
      ...[each.principal, each.role, escapeControls(each.object), each.by, renderAge(nowMs - each.createdMs)],
    ]),
  );

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${acl.usage}` });

const list = async (call: Call): Promise<void> => {
  const [, principal, ...more] = call.operands;
  if (more.length > 0) throw usage(`at most a principal after list, got ${call.operands.length - 1} operands`);
  const grants = (await call.client.grants()).filter(
    (each) => principal === undefined || [principal, `user:${principal}`].includes(each.principal),
  );
  if (call.json) printJson(grants);
  else print(renderGrants(grants, Date.now()));
};

const test = async (call: Call): Promise<void> => {
  const [, principal, verb, object] = call.operands;
  if (principal === undefined || verb === undefined || object === undefined)
    throw usage('PRINCIPAL VERB OBJECT after test, got less');
  const answer = await call.client.testAccess(principal, verb, object);
  if (call.json) printJson(answer);
  else print(`${answer.allow ? 'allowed' : 'denied'}: ${escapeControls(answer.rule)}`);
  if (!answer.allow) process.exitCode = 1;
};

const acl: CliCommand = {
  usage: 'brig acl list [PRINCIPAL] | test PRINCIPAL VERB OBJECT [--json]',
  summary: 'the rules that concern you, and whether somebody may do something; test exits with 1 for no',
  operands: [1, 4],
  run: async (call) => {
    const [verb = ''] = call.operands;
    if (verb === 'list') return await list(call);
    if (verb === 'test') return await test(call);
    throw usage(`list or test, got ${escapeControls(verb)}`);
  },
};

const quota: CliCommand = {
  usage: 'brig quota [OWNER] [--json]',
  summary: 'what owners have, and what they may have',
  operands: [0, 1],
  run: async (call) => {
    const [owner] = call.operands;
    const quotas = (await call.client.quotas()).filter((each) => owner === undefined || each.owner === owner);
    if (call.json) return printJson(quotas);
    const head = ['OWNER', 'VMS', 'CPUS', 'MEMORY', 'DISK', 'ADDRESSES'];
    print(
      render(
        head,
        quotas.map((each) => [each.owner, ...amountsOf(each)]),
      ),
    );
  },
};

export const accessCommands = { grant, revoke, acl, quota };
