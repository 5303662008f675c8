import type { AuditReport } from '../../acl/audit-log.ts';
import { renderLine, type AuditEntry } from '../../acl/chain.ts';
import { BrigError } from '../../base/errors.ts';
import { verifyFiles } from '../../io/audit-read.ts';
import { printAsRead, show, type Call, type CliCommand } from '../command.ts';
import { asText } from '../document.ts';
import { paint } from '../render.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${auditLogCommand.usage}` });

/** Nothing of it reaches a terminal raw. */
const plain = (text: string): string =>
  text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** A word as it is, anything else in quotes. */
const word = (text: string | number): string =>
  /^[!-~]+$/.test(String(text)) ? String(text) : plain(JSON.stringify(text));

/** Shape: `TIME SEQ WHO from FROM: VERB OBJECT PHASE DECISION (RULE) RESULT NAME=VALUE...` */
export const renderEntry = (entry: AuditEntry): string => {
  const { seq, atMs, who, from, verb, object, phase, decision, rule, result, saga, of, data = {} } = entry;
  const more = Object.entries({ saga, of, ...data }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${word(name)}=${word(value)}`],
  );
  const said = decision === 'deny' ? paint('red', 'deny') : decision;
  return [
    ...[new Date(Math.min(atMs, LATEST_MS)).toISOString(), String(seq), word(who), 'from', `${word(from)}:`],
    ...[plain(verb), word(object), phase, said, `(${plain(rule)})`, ...(result === undefined ? [] : [word(result)])],
    ...more,
  ].join(' ');
};
const LATEST_MS = 8.64e15;

/** A name alone is a user's, as in rules; root and brigd are nobody else's. */
const principalOf = (text: string): string =>
  text.includes(':') || text === 'root' || text === 'brigd' ? text : `user:${text}`;

const follow = async ({ client, values, json }: Call): Promise<void> => {
  const [after, who, vm, limit] = [values.after, values.who, values.vm, values.limit].map(asText);
  for (const [name, text] of Object.entries({ after, limit }))
    if (text !== undefined && !/^\d{1,15}$/.test(text)) throw usage(`--${name} and a number, got another`);
  const entries = client.auditLog({
    ...(after === undefined ? {} : { after: Number(after) }),
    ...(limit === undefined ? {} : { limit: Number(limit) }),
    ...(who === undefined ? {} : { who: principalOf(who) }),
    ...(vm === undefined ? {} : { object: `vm:${vm}` }),
    follow: values.follow === true,
  });
  for await (const entry of entries) await printAsRead(json ? renderLine(entry) : renderEntry(entry));
};

const renderReport = (report: AuditReport): string => {
  if (!report.ok) return `broken at entry ${report.seq}, in ${report.file}: ${report.why}`;
  const { entries, first, head, files, torn } = report;
  if (entries === 0) return 'good: no entries';
  const older = first === 1 ? '' : `, older ones are not here`;
  const cut = torn === 0 ? '' : `, ${torn} torn and told`;
  return `good: ${entries} entries, ${first} to ${head.seq}, in ${files} files${older}${cut}; head ${head.hash}`;
};

/** An option that does nothing is no answer. Errors: usage.invalid. */
const check = ({ values, operands: [verb] }: Call): void => {
  if (verb !== undefined && verb !== 'verify') throw usage('verify or nothing, got another word');
  const wrong = Object.keys(values).find((name) => name !== 'json' && (name === 'head') !== (verb === 'verify'));
  if (wrong === 'head') throw usage('--head with verify only, got it without');
  if (wrong !== undefined) throw usage(`--${wrong} without verify, got it with it`);
};

/** brigd's own, with what it remembers of it; or files that were moved away, oldest first. */
const verify = async ({ client, values, json, operands: [, ...paths] }: Call): Promise<void> => {
  const head = asText(values.head);
  const wanted = head === undefined ? {} : { wanted: head };
  const report = paths.length === 0 ? await client.verifyAuditLog(head) : await verifyFiles(paths, wanted);
  show({ json }, report, renderReport);
  if (!report.ok) process.exitCode = 1;
};

export const auditLogCommand: CliCommand = {
  usage:
    'brig audit-log [-f] [--after SEQ] [--limit N] [--who ID] [--vm NAME] [--json] | verify [--head HASH] [FILE]... [--json]',
  summary: 'who asked for what, what was decided and what came of it; verify finds what was changed',
  options: {
    follow: { type: 'boolean', short: 'f', about: 'go on with what comes' },
    after: { type: 'string', about: 'entries after this number', value: 'SEQ', is: 'text' },
    limit: { type: 'string', about: 'so many at most', value: 'N', is: 'text' },
    who: { type: 'string', about: 'of one principal: root, a user, key:NAME or brigd', value: 'ID', is: 'text' },
    vm: { type: 'string', about: 'about one VM', value: 'NAME', is: 'vm' },
    head: { type: 'string', about: 'verify: the hash of an entry that must be there', value: 'HASH', is: 'text' },
  },
  operands: [0, 10_000],
  complete: [['verify'], 'file'],
  isLocal: ([, file]) => file !== undefined,
  examples: ['brig audit-log -f', 'brig audit-log --who user:alice --vm web01', 'brig audit-log verify'],
  run: async (call) => {
    check(call);
    if (call.operands.length === 0) await follow(call);
    else await verify(call);
  },
};
