import { z } from 'zod';
import { parseText, parseWith, renderYaml } from './document.ts';
import { expected } from './fields.ts';

/** This node, by its socket. */
const LOCAL = 'local';

/** A name for a node elsewhere, safe in a path. */
const contextName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, expected('a name of [a-z0-9._-], at most 63 characters'))
  .refine((name) => name !== LOCAL, expected(`another name than ${LOCAL}, which is this node`));

/** sha-256 as people have it: with colons or without. */
const fingerprint = z
  .string(expected('sha-256 of a certificate'))
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, expected('sha-256 of a certificate, 64 hexadecimal digits')));

const isNodeUrl = (text: string): boolean => {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, pathname, search, hash, hostname } = new URL(text);
  const isBare = username === '' && password === '' && pathname === '/' && search === '' && hash === '';
  return protocol === 'https:' && hostname !== '' && isBare;
};

const file = z.string(expected('a path')).regex(/^\//, expected('an absolute path'));

const context = z
  .strictObject({
    url: z.string(expected('https://HOST:PORT')).refine(isNodeUrl, expected('https://HOST:PORT')),
    /** File of the secret key. */
    key: file,
    fingerprint: fingerprint.optional(),
    /** File of who signs the node's certificate. */
    ca: file.optional(),
  })
  .refine(
    ({ fingerprint: own, ca }) => (own === undefined) !== (ca === undefined),
    expected('one of fingerprint and ca'),
  );

const contexts = z.strictObject({
  current: contextName.optional(),
  contexts: z.record(contextName, context).default({}),
});

/** A node elsewhere, as `brig login` writes it down. */
export type Context = z.output<typeof context>;
export type Contexts = z.output<typeof contexts>;

/** Errors: config.invalid with every problem at once. */
export const parseContexts = (text: string, source: string): Contexts =>
  parseWith(contexts, parseText(text, source) ?? {}, source, 'config.invalid');

/** Errors: usage.invalid. */
export const parseContext = (value: unknown, name: string): Context => {
  parseWith(contextName, name, 'name of a context', 'usage.invalid');
  return parseWith(context, value, `context ${name}`, 'usage.invalid');
};

export const renderContexts = (all: Contexts): string => renderYaml(all);
