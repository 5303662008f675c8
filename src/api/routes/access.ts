import { z } from 'zod';
import { NODE } from '../../acl/policy.ts';
import { BrigError } from '../../base/errors.ts';
import type { Asked } from '../../engine/access.ts';
import { onClosed } from '../answer.ts';
import type { ApiOptions } from '../options.ts';
import type { Call, Route } from '../route.ts';
import { listKeys, putKey, revokeKey } from '../keys.ts';
import { sendAuditLog } from '../audit-log.ts';
import { flag, text, whole } from './queries.ts';

const WORDS = ['principal', 'role', 'object'] as const;

/** Errors: api.invalid. */
const askedOf = async (call: Call): Promise<Asked> => {
  const body = (await call.body()) as Record<string, unknown> | null;
  const isAsked =
    typeof body === 'object' &&
    body !== null &&
    WORDS.every((key) => typeof body[key] === 'string') &&
    Object.keys(body).length === WORDS.length;
  if (!isAsked)
    throw new BrigError('api.invalid', `read rule: expected ${WORDS.join(', ')} as texts, got something else`);
  return body as unknown as Asked;
};

/** The audit log: all of it for an administrator, what he did himself for everybody else. */
export const auditRoutes = <Seen>({ access, ledger, sessions }: ApiOptions<Seen>): Route[] => [
  {
    ...{
      method: 'GET',
      path: '/audit-log',
      summary: 'who asked for what, and what came of it',
      answer: 'AuditEntry[]',
    },
    ...{ needs: { within: 'what the caller did himself; all of it for admin on the node' }, cost: 50 },
    media: ['application/x-ndjson'],
    query: z.strictObject({
      ...{ after: whole.optional(), limit: whole.optional(), follow: flag.optional() },
      ...{ who: text.optional(), object: text.optional() },
    }),
    run: {
      raw: async ({ who: caller, query, response }) => {
        const { after = 0, limit = Infinity, follow = false, ...filter } = query as AuditAsked;
        const isAdmin = access.can(caller, 'admin', NODE);
        const over = sessions.add(
          caller,
          (now) => access.can(now, 'admin', NODE) === isAdmin,
          () => response.destroy(),
        );
        onClosed(response, over);
        const asked = { ...filter, after, limit, isFollowing: follow };
        await sendAuditLog(ledger, asked, response, ({ who }) => isAdmin || who === caller.id);
      },
    },
  },
  {
    ...{ method: 'POST', path: '/audit-log/verify', summary: 'read the audit log and compare', answer: 'AuditReport' },
    ...{ needs: { verb: 'admin', on: 'node' }, cost: 50 },
    query: z.strictObject({
      head: z
        .string()
        .regex(/^[0-9a-f]{64}$/, { error: 'expected a hash of 64 hexadecimal digits' })
        .optional(),
    }),
    run: { json: ({ query }) => ledger.verify((query as { head?: string }).head) },
  },
];

interface AuditAsked {
  readonly after?: number;
  readonly limit?: number;
  readonly follow?: boolean;
  readonly who?: string;
  readonly object?: string;
}

/** Keys that sign requests from elsewhere. */
export const keyRoutes = <Seen>({ access, keys, settle }: ApiOptions<Seen>): Route[] => {
  const ownerOf = ({ who }: Call): string | undefined =>
    access.can(who, 'admin', NODE) ? undefined : (who.owner ?? NOBODY);
  return [
    {
      ...{ method: 'GET', path: '/access/keys', summary: 'keys that may sign requests', answer: 'AccessKeyView[]' },
      ...{ needs: { within: 'his own; all for admin on the node' } },
      run: { json: (call) => Promise.resolve(listKeys(keys, ownerOf(call))) },
    },
    {
      ...{ method: 'PUT', path: '/access/keys/{key}', summary: 'let a key sign requests', answer: 'AccessKeyView' },
      // A stolen key must not make another, nor somebody who is local become one who is anywhere.
      ...{ needs: { verb: 'admin', on: 'node' }, body: 'KeyRequest' },
      run: { json: async (call) => putKey(keys, call.params.key ?? '', await call.body(), call.who) },
    },
    {
      ...{ method: 'DELETE', path: '/access/keys/{key}', summary: 'at once and for ever', answer: 'AccessKeyView' },
      ...{ needs: { within: 'his own; all for admin on the node' } },
      run: {
        json: async (call) => {
          const [name, owner] = [call.params.key ?? '', ownerOf(call)];
          const isHis = listKeys(keys, owner).some((key) => key.name === name || key.id === name);
          if (owner !== undefined && !isHis) throw new BrigError('key.unknown', `find key ${name}: no such key`);
          const revoked = revokeKey(keys, name);
          await settle();
          return revoked;
        },
      },
    },
  ];
};

/** No owner has such a name. */
const NOBODY = '';

/** Who may do what. */
export const accessRoutes = <Seen>({ access, settle }: ApiOptions<Seen>): Route[] => [
  {
    ...{ method: 'GET', path: '/whoami', summary: 'who the caller is here', answer: 'WhoAmI' },
    needs: { within: 'himself' },
    run: {
      json: ({ who: { id, isRoot, subjects, owner, from } }) =>
        Promise.resolve({ id, isRoot, subjects, ...(owner === undefined ? {} : { owner }), from }),
    },
  },
  {
    ...{ method: 'GET', path: '/access/grants', summary: 'the rules that concern the caller', answer: 'Grant[]' },
    ...{ needs: { within: 'about him, by him, or about what is his' }, cost: 10 },
    run: { json: ({ who }) => Promise.resolve(access.list(who)) },
  },
  {
    ...{ method: 'POST', path: '/access/grants', summary: 'make a rule', body: 'AskedGrant', answer: 'Outcome' },
    ...{ needs: { within: 'what the caller owns or administers, and no more than he has' }, cost: 10 },
    run: {
      json: async (call) => {
        const outcome = await access.grant(call.who, await askedOf(call));
        await settle();
        return outcome;
      },
    },
  },
  {
    ...{ method: 'POST', path: '/access/revoke', summary: 'take a rule back', body: 'AskedGrant', answer: 'Outcome' },
    ...{ needs: { within: 'his own rules, and those about what he owns or administers' }, cost: 10 },
    run: {
      json: async (call) => {
        const outcome = access.revoke(call.who, await askedOf(call));
        await settle();
        return outcome;
      },
    },
  },
  {
    ...{ method: 'GET', path: '/access/test', summary: 'whether somebody may do something, and why' },
    ...{ needs: { within: 'about himself, or about what he owns or administers' }, answer: 'AccessAnswer' },
    query: z.strictObject({ principal: text, verb: text, object: text }),
    run: {
      json: ({ who, query }) =>
        Promise.resolve(access.test(who, query as { principal: string; verb: string; object: string })),
    },
  },
];
