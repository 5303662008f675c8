import { z } from 'zod';
import { NODE } from '../../acl/policy.ts';
import { BrigError } from '../../base/errors.ts';
import type { Secrets } from '../../engine/secrets.ts';
import type { ApiOptions } from '../options.ts';
import type { Call, Need, Route } from '../route.ts';
import { text } from './queries.ts';

/** Nothing of a body is in an error. Errors: api.invalid. */
const fieldsOf = async (call: Call, allowed: readonly string[]): Promise<Readonly<Record<string, string>>> => {
  const body = await call.body();
  const isRecord = typeof body === 'object' && body !== null && !Array.isArray(body);
  const entries: [string, unknown][] = isRecord ? Object.entries(body) : [];
  if (isRecord && entries.every(([key, value]) => allowed.includes(key) && typeof value === 'string'))
    return Object.fromEntries(entries) as Record<string, string>;
  throw new BrigError(
    'api.invalid',
    `read request: expected an object of ${allowed.join(', ')} and texts, got another`,
  );
};

const valueOf = ({ value, base64 }: Readonly<Record<string, string>>): Buffer => {
  if (value !== undefined && base64 === undefined) return Buffer.from(value);
  const bytes = Buffer.from(base64 ?? '', 'base64');
  if (value === undefined && base64 !== undefined && bytes.toString('base64') === base64) return bytes;
  throw new BrigError('api.invalid', 'read request: expected either value, a text, or base64, got another');
};

const query = z.strictObject({ owner: text.optional() });
const adminNode: Need = { verb: 'admin', on: 'node' };
const own: Need = { within: 'his own; all for admin on the node' };

/** What is in a secret, for a use that no effect of brigd's has. Errors: acl.denied; secret.unknown; secret.locked. */
const tell = async (call: Call, owner: string, secrets: Secrets): Promise<{ readonly base64: string }> => {
  if (!call.who.isRoot)
    throw new BrigError('acl.denied', `open secret: denied: only root of this host may`, { retry: 'operator' });
  const { value } = await secrets.reveal({ owner, name: call.params.secret ?? '' });
  call.response.setHeader('cache-control', 'no-store');
  try {
    return { base64: Buffer.from(value).toString('base64') };
  } finally {
    value.fill(0);
  }
};

/**
 * Secrets: a value comes in, and goes out to nobody but root of this host, who has the master key. Bodies of these are in
 * no log, and no digest of them is kept.
 */
export const secretRoutes = <Seen>({ engine: { secrets }, access }: ApiOptions<Seen>): Route[] => {
  const isAdmin = ({ who }: Call): boolean => access.can(who, 'admin', NODE);
  /** Whose it is: the caller's, or for an administrator whose he says. Errors: acl.denied. */
  const ownerOf = (call: Call): string => {
    const { owner } = call.query as { owner?: string };
    const his = call.who.isRoot ? '' : call.who.owner;
    const wanted = owner ?? his;
    if (wanted !== undefined && (isAdmin(call) || (wanted === his && wanted !== ''))) return wanted;
    throw new BrigError('acl.denied', `find secrets: denied: they are not of ${call.who.id}`, { retry: 'operator' });
  };
  const passphraseOf = async (call: Call): Promise<string | undefined> =>
    (await fieldsOf(call, ['passphrase'])).passphrase;
  return [
    {
      ...{ method: 'GET', path: '/secrets', summary: 'names of secrets, and who uses them', answer: 'SecretView[]' },
      ...{ needs: own, query, cost: 10 },
      run: {
        json: (call) =>
          Promise.resolve(
            call.query.owner === undefined && isAdmin(call) ? secrets.list() : secrets.list(ownerOf(call)),
          ),
      },
    },
    {
      ...{ method: 'GET', path: '/secrets/lock', summary: 'whether secrets wait for a passphrase', answer: 'LockView' },
      ...{ needs: adminNode, run: { json: () => secrets.lock() } },
    },
    {
      ...{ method: 'POST', path: '/secrets/rotate-master', summary: 'seal all secrets anew', answer: 'Rotated' },
      ...{ needs: adminNode, cost: 50, isSecret: true, body: 'Passphrase' },
      run: { json: async (call) => secrets.rotate(await passphraseOf(call)) },
    },
    {
      ...{ method: 'POST', path: '/secrets/unlock', summary: 'tell the passphrase of this start', answer: 'LockView' },
      ...{ needs: adminNode, cost: 50, isSecret: true, body: 'Passphrase' },
      run: { json: async (call) => secrets.unlock(await passphraseOf(call)) },
    },
    {
      ...{ method: 'PUT', path: '/secrets/{secret}', summary: 'seal a secret', answer: 'SecretView', isSecret: true },
      ...{ needs: own, query, body: 'SecretValue' },
      run: {
        json: async (call) => {
          const value = valueOf(await fieldsOf(call, ['value', 'base64']));
          try {
            return await secrets.set(ownerOf(call), call.params.secret ?? '', value);
          } finally {
            value.fill(0);
          }
        },
      },
    },
    {
      ...{ method: 'POST', path: '/secrets/{secret}/open', summary: 'tell root of this host what is in it' },
      ...{ needs: { within: 'root of this host alone' }, query, answer: 'SecretBytes', isSecret: true },
      run: { json: (call) => tell(call, ownerOf(call), secrets) },
    },
    {
      ...{ method: 'DELETE', path: '/secrets/{secret}', summary: 'remove a secret', answer: 'Removed' },
      ...{ needs: own, query },
      run: { json: async (call) => Promise.resolve(secrets.remove(ownerOf(call), call.params.secret ?? '')) },
    },
  ];
};
