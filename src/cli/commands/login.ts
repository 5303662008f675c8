import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import type { Signer } from '../../acl/ed25519.ts';
import type { WhoAmI } from '../../api/protocol.ts';
import { Client } from '../../api/client.ts';
import { BrigError } from '../../base/errors.ts';
import { escapeControls } from '../../base/units.ts';
import type { Context } from '../../spec/contexts.ts';
import { askLine } from '../ask.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { readCa, remoteTransport } from '../connection.ts';
import { changeContexts, configDir, makePrivate, readSecret } from '../context-files.ts';
import { asText } from '../document.ts';

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** What a context is called when nobody says: as the node. */
const nameFor = (url: string): string =>
  URL.canParse(url)
    ? new URL(url).hostname.replaceAll(/[^a-z0-9._-]/g, '-').replace(/^[^a-z0-9]+/, '') || 'node'
    : 'node';

/** What the administrator may call the key. */
const keyNameFor = ({ id }: Signer): string => {
  const user = (process.env.USER ?? '').toLowerCase();
  return /^[a-z0-9][a-z0-9._-]{0,40}$/.test(user) ? `${user}-${id.slice(0, 4)}` : `key-${id.slice(0, 8)}`;
};

/** The key of a file, or a new one at brig's own place. Errors: acl.invalid, acl.denied. */
const openKey = async (path: string, mayMake: boolean): Promise<Signer> => {
  const [{ parseSigner }, { renderSecretKey }] = await Promise.all([
    import('../../acl/ed25519.ts'),
    import('../../acl/keys.ts'),
  ]);
  const text = await readSecret(path);
  if (text !== undefined) return parseSigner(text, path);
  if (!mayMake) throw new BrigError('acl.invalid', `read ${path}: not a key: nothing there`);
  await makePrivate(path, renderSecretKey(randomBytes(32)));
  // Of two logins at once one made it.
  return parseSigner((await readSecret(path)) ?? '', path);
};

/** Only a person says yes to a certificate that nobody signed. Errors: acl.denied; saga.cancelled. */
const confirm = async (url: string, fingerprint: string): Promise<void> => {
  say(`certificate of ${url}: sha256 ${fingerprint}`);
  const refused = (reason: string): BrigError =>
    new BrigError('acl.denied', `login ${url}: ${reason}`, {
      hint: 'brigd tells its fingerprint in its log and to brig doctor; then brig login --fingerprint SHA256',
    });
  if (!process.stdin.isTTY) throw refused('expected --fingerprint, for nobody is here to compare it');
  const answer = await askLine('Is that what brigd says on the node? yes or no: ');
  if (answer.toLowerCase() !== 'yes') throw refused('expected yes, got another answer');
};

/** How the node proves itself from now on. Errors: acl.denied, daemon.unreachable. */
const proofOf = async (call: Call, url: string): Promise<Pick<Context, 'fingerprint' | 'ca'>> => {
  const { askFingerprint } = await import('../../api/remote.ts');
  const { fingerprint: wanted } = call.values;
  const ca = asText(call.values.ca);
  if (ca !== undefined) {
    await askFingerprint(url, await readCa(ca));
    return { ca: resolve(ca) };
  }
  const fingerprint = await askFingerprint(url);
  if (typeof wanted !== 'string') await confirm(url, fingerprint);
  else if (wanted.replaceAll(':', '').toLowerCase() !== fingerprint)
    throw new BrigError('acl.denied', `login ${url}: expected the certificate of --fingerprint, got ${fingerprint}`, {
      hint: 'somebody may be between, or it is another node',
    });
  return { fingerprint };
};

const save = (name: string, context: Context): Promise<void> =>
  changeContexts(({ contexts }) => ({ current: name, contexts: { ...contexts, [name]: context } }));

const isUnknown = (error: unknown): boolean =>
  error instanceof BrigError && error.code === 'acl.denied' && error.details.unknownKey !== undefined;

/** Who the node says that we are; undefined: it does not know the key. */
const askWho = async (context: Context): Promise<WhoAmI | undefined> => {
  try {
    return await new Client(await remoteTransport(context)).whoami();
  } catch (error) {
    if (isUnknown(error)) return undefined;
    throw error;
  }
};

/** What the caller wants, checked before anything is made or asked. Errors: usage.invalid. */
const wantedOf = async (call: Call): Promise<{ name: string; context: Context; ownsKey: boolean }> => {
  const { parseContext } = await import('../../spec/contexts.ts');
  const url = call.operands[0] ?? '';
  // No error shows what came: a password may be in it.
  if (url.includes('@'))
    throw new BrigError('usage.invalid', 'read arguments: expected https://HOST:PORT, got one with a user or password');
  const name = asText(call.values.name) ?? nameFor(url);
  const given = asText(call.values.key);
  const key = given === undefined ? join(configDir(), 'keys', `${name}.key`) : resolve(given);
  const unproved = { fingerprint: asText(call.values.fingerprint) ?? '0'.repeat(64) };
  return { name, context: parseContext({ url, key, ...unproved }, name), ownsKey: given === undefined };
};

export const loginCommand: CliCommand = {
  usage: 'brig login URL [--name CONTEXT] [--fingerprint SHA256 | --ca FILE] [--key FILE] [--json]',
  summary: 'make a key for a node elsewhere, and a context that uses it',
  options: {
    name: { type: 'string', about: 'what the context is called; by default as the host', value: 'CONTEXT', is: 'text' },
    fingerprint: { type: 'string', about: "sha256 of the node's certificate", value: 'SHA256', is: 'text' },
    ca: { type: 'string', about: "certificates that sign the node's", value: 'FILE', is: 'file' },
    key: { type: 'string', about: 'a secret key that is there already', value: 'FILE', is: 'file' },
  },
  operands: [1, 1],
  complete: ['text'],
  examples: [
    'brig login https://node1.example.org:8443',
    'brig login https://192.0.2.7:8443 --name lab --ca /etc/ssl/lab.pem',
  ],
  isLocal: () => true,
  run: async (call) => {
    if (call.values.fingerprint !== undefined && call.values.ca !== undefined)
      throw new BrigError('usage.invalid', 'read arguments: expected one of --fingerprint and --ca, got both');
    const { name, context: wanted, ownsKey } = await wantedOf(call);
    const { url, key } = wanted;
    const signer = await openKey(key, ownsKey);
    const context: Context = { url, key, ...(await proofOf(call, url)) };
    await save(name, context);
    const who = await askWho(context);
    const { renderPublicHalf } = await import('../../acl/keys.ts');
    const add = `brig key add ${keyNameFor(signer)} '${renderPublicHalf(signer.publicBytes)}'`;
    if (who === undefined)
      throw new BrigError('acl.denied', `login ${url}: the node does not know key ${signer.id} yet`, {
        hint: `its administrator types: ${add} [--owner USER] [--expires 90d]`,
      });
    if (call.json) printJson({ context: name, ...who });
    else print(`${name}: ${escapeControls(who.id)} on ${url}; brig context use local goes back`);
  },
};
