import { randomBytes } from 'node:crypto';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { checkServerIdentity, connect as tlsConnect, type PeerCertificate, type TLSSocket } from 'node:tls';
import type { Signer } from '../acl/ed25519.ts';
import { NODE_HEADER, signRequest, START_HEADER } from '../acl/signatures.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { answerTo, type Ask, type Transport } from './transport.ts';

/** How a node elsewhere proves that it is the one: by its very certificate, or by who signed it. */
export type Proof = { readonly fingerprint: string } | { readonly ca: string };

/** A node elsewhere. */
export interface Remote {
  /** Shape: `https://node.example:7480` */
  readonly url: string;
  readonly signer: Signer;
  readonly proof: Proof;
  /** Its clock; this process's by default. */
  readonly now?: () => number;
}

/** As OpenSSL prints it to 64 hexadecimal digits. */
const digitsOf = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase();

/** An address has no name that TLS could ask for. */
const serverNameOf = (host: string): string => (/^[0-9.]+$|:/.test(host) ? '' : host);

const explainRemote = (where: string, error: Error): BrigError =>
  error instanceof BrigError
    ? error
    : new BrigError('daemon.unreachable', `connect ${where}: ${messageOf(error)}`, { cause: error });

/** A connection, and sha-256 of the certificate at its other end. */
interface Connection {
  readonly socket: TLSSocket;
  readonly fingerprint: string;
}

/** TLS with whoever is there; with `ca`, only with a node whose certificate that one signed. Errors: daemon.unreachable. */
const connect = (url: string, ca?: string): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const { hostname, port, origin } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, '');
    let seen = '';
    // Node gives the certificate out once: to who checks it, or to who asks first.
    const check = (name: string, cert: PeerCertificate): Error | undefined => {
      seen = digitsOf(cert.fingerprint256);
      return checkServerIdentity(name, cert);
    };
    const trust = ca === undefined ? { rejectUnauthorized: false } : { ca, checkServerIdentity: check };
    const where = { host, port: Number(port || 443), servername: serverNameOf(host) };
    const socket = tlsConnect({ ...where, ...trust, minVersion: 'TLSv1.2', ALPNProtocols: ['http/1.1'] });
    const fail = (error: Error): void => {
      socket.destroy();
      reject(explainRemote(origin, error));
    };
    const late = setTimeout(
      () => fail(new Error(`no answer in ${LIMITS.loginTimeoutMs / 1000} s`)),
      LIMITS.loginTimeoutMs,
    );
    // It stays: nobody else listens before there is a request.
    socket.on('error', fail);
    socket.once('secureConnect', () => {
      const fingerprint = seen === '' ? digitsOf(socket.getPeerX509Certificate()?.fingerprint256 ?? '') : seen;
      if (fingerprint === '') fail(new Error('it shows no certificate'));
      else resolve({ socket, fingerprint });
    });
    for (const event of ['secureConnect', 'close'] as const) socket.once(event, () => clearTimeout(late));
  });

/** sha-256 of the certificate that a node shows, for a person to compare. Nothing is sent to it. Errors: daemon.unreachable. */
export const askFingerprint = async (url: string, ca?: string): Promise<string> => {
  const { socket, fingerprint } = await connect(url, ca);
  socket.destroy();
  return fingerprint;
};

/** brigd of another node: TLS to the one that was meant, and each request signed. */
export class RemoteTransport implements Transport {
  readonly where: string;
  readonly isElsewhere = true;
  readonly #remote: Remote;
  /** The word of a brigd that had just started. */
  #start: string | undefined;

  constructor(remote: Remote) {
    this.#remote = remote;
    this.where = new URL(remote.url).origin;
  }

  /** Nothing is sent before it is known to whom. */
  async #connect(): Promise<Connection> {
    const { url, proof } = this.#remote;
    const connection = await connect(url, 'ca' in proof ? proof.ca : undefined);
    const got = connection.fingerprint;
    if ('ca' in proof || got === proof.fingerprint) return connection;
    connection.socket.destroy();
    throw new BrigError('acl.denied', `connect ${this.where}: expected certificate ${proof.fingerprint}, got ${got}`, {
      hint: 'somebody may be between; if the node has a new certificate: brig login',
    });
  }

  async open({ method, path, headers, body }: Ask): Promise<ClientRequest> {
    const { socket, fingerprint } = await this.#connect();
    const own = {
      host: new URL(this.#remote.url).host,
      [NODE_HEADER]: fingerprint,
      ...(this.#start === undefined ? {} : { [START_HEADER]: this.#start }),
    };
    const what = {
      method,
      target: path,
      headers: { ...own, ...headers },
      body: body === undefined ? body : Buffer.from(body),
    };
    const signed = signRequest(what, this.#remote.signer, (this.#remote.now ?? Date.now)(), randomBytes(18));
    return httpRequest({ method, path, headers: signed, createConnection: () => socket });
  }

  isOnceMore({ statusCode, headers }: IncomingMessage): boolean {
    const start = headers[START_HEADER];
    if (statusCode !== 401 || typeof start !== 'string' || start === this.#start || !/^[\w-]{1,64}$/.test(start))
      return false;
    this.#start = start;
    return true;
  }

  async prepare(): Promise<void> {
    const ask = { method: 'GET', path: '/v1/whoami' };
    const response = await answerTo(this, ask).catch((error: unknown) => {
      throw this.explain(error as Error);
    });
    response.destroy();
  }

  explain(error: Error): BrigError {
    return explainRemote(this.where, error);
  }
}
