import { z } from 'zod';
import { BrigError } from '../../base/errors.ts';
import type { Asked } from '../../engine/access.ts';
import type { ApiOptions } from '../options.ts';
import type { Call, Route } from '../route.ts';
import { text } from './queries.ts';

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
    ...{ needs: { within: 'about him, by him, or about what is his' } },
    run: { json: ({ who }) => Promise.resolve(access.list(who)) },
  },
  {
    ...{ method: 'POST', path: '/access/grants', summary: 'make a rule', body: 'AskedGrant', answer: 'Outcome' },
    needs: { within: 'what the caller owns or administers, and no more than he has' },
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
    needs: { within: 'his own rules, and those about what he owns or administers' },
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
