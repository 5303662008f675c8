import type { Transport } from '../api/transport.ts';
import { Client } from '../api/client.ts';
import { BrigError } from '../base/errors.ts';
import type { Context } from '../spec/contexts.ts';
import { contextsPath, readContexts, readSecret } from './context-files.ts';

/** This node, by its socket. */
export const LOCAL = 'local';

const ROOTS_SOCKET = '/var/run/brig/brigd.sock';
const usersSocket = (uid: number): string => `/var/run/brig/users/${uid}.sock`;

/** Flags before the command. */
export interface Globals {
  readonly socket?: string;
  readonly context?: string;
}

/** What of flags and environment counts: a flag before any variable, a socket before a context. */
export const chosen = ({ socket, context }: Globals, env: NodeJS.ProcessEnv): Globals => {
  if (socket !== undefined) return { socket };
  if (context !== undefined) return { context };
  if (env.BRIG_SOCKET) return { socket: env.BRIG_SOCKET };
  return env.BRIG_CONTEXT ? { context: env.BRIG_CONTEXT } : {};
};

/** The socket of whoever calls. */
const ownSocket = (): string => {
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? ROOTS_SOCKET : usersSocket(uid);
};

/** Loaded only when a node elsewhere is asked. Errors: acl.invalid, acl.denied. */
export const remoteTransport = async ({ url, key, fingerprint, ca }: Context): Promise<Transport> => {
  const [{ RemoteTransport }, { parseSigner }] = await Promise.all([
    import('../api/remote.ts'),
    import('../acl/ed25519.ts'),
  ]);
  const text = await readSecret(key);
  if (text === undefined)
    throw new BrigError('acl.invalid', `read ${key}: not a key: nothing there`, { hint: 'brig login makes one' });
  return new RemoteTransport({
    url,
    signer: parseSigner(text, key),
    proof: fingerprint === undefined ? { ca: await readCa(ca ?? '') } : { fingerprint },
  });
};

export const readCa = async (path: string): Promise<string> => {
  const { readFile } = await import('node:fs/promises');
  return await readFile(path, 'utf8').catch(() => {
    throw new BrigError('config.invalid', `read ${path}: expected certificates in PEM, got nothing`);
  });
};

/** A client of the node that was meant: `local` is this one. Errors: usage.invalid, config.invalid, acl.*. */
export const openClient = async (globals: Globals): Promise<Client> => {
  if (globals.socket !== undefined && globals.context !== undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected one of --socket and --context, got both');
  const { socket, context } = chosen(globals, process.env);
  if (socket !== undefined) return new Client(socket);
  // This node is asked without looking for others.
  if (context === LOCAL) return new Client(ownSocket());
  const isHome = Boolean(process.env.HOME ?? process.env.XDG_CONFIG_HOME);
  const all = context !== undefined || isHome ? await readContexts(contextsPath()) : undefined;
  const name = context ?? all?.current;
  if (name === undefined || name === LOCAL) return new Client(ownSocket());
  const found = all && Object.hasOwn(all.contexts, name) ? all.contexts[name] : undefined;
  if (!found)
    throw new BrigError('usage.invalid', `find context: expected a name of brig context list, got another`, {
      hint: 'brig login URL makes one',
    });
  return new Client(await remoteTransport(found));
};
