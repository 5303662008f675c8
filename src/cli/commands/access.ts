import { ROLES, VERBS } from '../../acl/roles.ts';
import { escapeControls, renderAge } from '../../base/units.ts';
import type { GrantView } from '../../engine/access.ts';
import type { QuotaView } from '../../engine/quota.ts';
import { printJson, show, withVerbs, type Call, type CliCommand, type CliVerb } from '../command.ts';
import { amountsOf, renderTable } from '../render.ts';

const asked = ({ operands: [principal = '', role = '', object = ''] }: Call) => ({ principal, role, object });

const grant: CliCommand = {
  usage: 'brig grant PRINCIPAL ROLE OBJECT [--json]',
  summary: 'let somebody do something: user:NAME, group:NAME or key:NAME; viewer, operator, owner, admin, or verbs',
  options: {},
  operands: [3, 3],
  complete: ['principal', [...Object.keys(ROLES), ...VERBS], 'object'],
  examples: [
    'brig grant user:alice operator vm:web01',
    'brig grant group:ops viewer node',
    'brig grant alice create,view node',
    'brig grant key:ci power,console tag:stage=test',
  ],
  run: async (call) => {
    const outcome = await call.client.access.grant(asked(call));
    if (call.json) printJson(outcome);
    else if (!outcome.changed) process.stderr.write(`${call.operands[0] ?? ''}: has that already\n`);
  },
};

const revoke: CliCommand = {
  usage: 'brig revoke PRINCIPAL ROLE OBJECT [--json]',
  summary: 'take a rule back, and what was handed on by it',
  options: {},
  operands: [3, 3],
  complete: ['principal', [...Object.keys(ROLES), ...VERBS], 'object'],
  examples: ['brig revoke user:alice operator vm:web01', 'brig revoke group:ops viewer node'],
  run: async (call) => {
    const outcome = await call.client.access.revoke(asked(call));
    if (call.json) printJson(outcome);
    else if (!outcome.changed) process.stderr.write(`${call.operands[0] ?? ''}: has no such rule\n`);
  },
};

const renderGrants = (grants: readonly GrantView[], nowMs: number): string =>
  renderTable(
    ['PRINCIPAL', 'ROLE', 'OBJECT', 'BY', 'AGE'],
    grants.map((each) => [...[each.principal, each.role, each.object, each.by, renderAge(nowMs - each.createdMs)]]),
  );

const list: CliVerb = {
  usage: 'list [PRINCIPAL]',
  summary: 'the rules that concern you: about you, made by you, or about what is yours',
  options: {},
  operands: [0, 1],
  complete: ['principal'],
  examples: ['brig acl list', 'brig acl list user:alice --json'],
  run: async (call, principal?: string) => {
    const grants = (await call.client.access.grants()).filter(
      (each) => principal === undefined || [principal, `user:${principal}`].includes(each.principal),
    );
    show(call, grants, (all) => renderGrants(all, Date.now()));
  },
};

const test: CliVerb = {
  usage: 'test PRINCIPAL VERB OBJECT',
  summary: 'whether somebody may do something, and by which rule; exits with 1 for no',
  options: {},
  operands: [3, 3],
  complete: ['principal', VERBS, 'object'],
  examples: ['brig acl test user:alice power vm:web01', 'brig acl test key:ci console web01'],
  run: async (call, principal: string, verb: string, object: string) => {
    const answer = await call.client.access.test(principal, verb, object);
    show(call, answer, ({ allow, rule }) => `${allow ? 'allowed' : 'denied'}: ${escapeControls(rule)}`);
    if (!answer.allow) process.exitCode = 1;
  },
};

const acl = withVerbs('acl', 'the rules, and what follows from them', { list, test });

const renderQuotas = (quotas: readonly QuotaView[]): string =>
  renderTable(
    ['OWNER', 'VMS', 'CPUS', 'MEMORY', 'DISK', 'ADDRESSES', 'SNAPSHOTS'],
    quotas.map((each) => [each.owner, ...amountsOf(each)]),
  );

const quota: CliCommand = {
  usage: 'brig quota [OWNER] [--json]',
  summary: 'what owners have, and what they may have',
  options: {},
  operands: [0, 1],
  complete: ['text'],
  examples: ['brig quota', 'brig quota alice --json'],
  run: async (call) => {
    const [owner] = call.operands;
    const quotas = (await call.client.access.quotas()).filter((each) => owner === undefined || each.owner === owner);
    show(call, quotas, renderQuotas);
  },
};

export const accessCommands = { grant, revoke, acl, quota };
