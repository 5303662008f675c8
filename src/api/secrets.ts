import { BrigError } from '../base/errors.ts';
import type { LockView, Secrets, SecretView } from '../engine/secrets.ts';

/** What the routes of secrets ask of a call. */
export interface SecretCall {
  /** In the path. */
  readonly name: string;
  readonly query: URLSearchParams;
  body(): Promise<unknown>;
}

type Kept = Pick<Secrets, 'set' | 'list' | 'remove' | 'rotate' | 'lock' | 'unlock'>;

/** Nothing of a body is in an error. Errors: api.invalid. */
const fieldsOf = async (call: SecretCall, allowed: readonly string[]): Promise<Readonly<Record<string, string>>> => {
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

const set = async (secrets: Kept, call: SecretCall): Promise<SecretView> => {
  const value = valueOf(await fieldsOf(call, ['value', 'base64']));
  try {
    return await secrets.set(call.query.get('owner') ?? '', call.name, value);
  } finally {
    value.fill(0);
  }
};

type Work = (call: SecretCall) => Promise<unknown>;

/** Routes of secrets. A value comes in, and none goes out; whoever logs bodies must not log these. */
export const secretRoutes = (secrets: Kept): readonly (readonly [RegExp, Work])[] => [
  [/^GET \/secrets$/, ({ query }) => Promise.resolve(secrets.list(query.get('owner') ?? undefined))],
  [/^GET \/secrets\/lock$/, () => secrets.lock()],
  [/^PUT \/secrets\/([^/]+)$/, (call) => set(secrets, call)],
  [
    /^DELETE \/secrets\/([^/]+)$/,
    ({ name, query }) => Promise.resolve().then(() => secrets.remove(query.get('owner') ?? '', name)),
  ],
  [
    /^POST \/secrets\/rotate-master$/,
    async (call) => secrets.rotate((await fieldsOf(call, ['passphrase'])).passphrase),
  ],
  [/^POST \/secrets\/unlock$/, async (call) => secrets.unlock((await fieldsOf(call, ['passphrase'])).passphrase)],
];

type Ask = <T>(method: string, path: string, body?: unknown) => Promise<T>;

/** Secrets of a brigd: names come back, and never a value. */
export class SecretClient {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** Of one owner, or all; the node's own has an empty one. */
  list(owner?: string): Promise<SecretView[]> {
    return this.#ask('GET', `/secrets${owner === undefined ? '' : `?owner=${encodeURIComponent(owner)}`}`);
  }

  set(name: string, value: Uint8Array, owner = ''): Promise<SecretView> {
    const base64 = Buffer.from(value).toString('base64');
    return this.#ask('PUT', `/secrets/${encodeURIComponent(name)}?owner=${encodeURIComponent(owner)}`, { base64 });
  }

  remove(name: string, owner = ''): Promise<{ removed: string }> {
    return this.#ask('DELETE', `/secrets/${encodeURIComponent(name)}?owner=${encodeURIComponent(owner)}`);
  }

  /** The new passphrase, where there is one. */
  rotate(passphrase?: string): Promise<{ secrets: number; master: string }> {
    return this.#ask('POST', '/secrets/rotate-master', passphrase === undefined ? {} : { passphrase });
  }

  lock(): Promise<LockView> {
    return this.#ask('GET', '/secrets/lock');
  }

  unlock(passphrase?: string): Promise<LockView> {
    return this.#ask('POST', '/secrets/unlock', passphrase === undefined ? {} : { passphrase });
  }
}
