import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { Authenticator, type Admitted } from '../../../src/acl/authenticator.ts';
import { signerOf } from '../../../src/acl/ed25519.ts';
import { renderPublicHalf } from '../../../src/acl/keys.ts';
import { ROOT } from '../../../src/acl/principal.ts';
import { RemoteTransport } from '../../../src/api/remote.ts';
import { toErrorBody } from '../../../src/base/errors.ts';
import { openCertificate, type Certificate } from '../../../src/daemon/certificate.ts';
import { RemoteDoor, type Caller, type Inside, type RemoteDoorOptions } from '../../../src/daemon/remote-door.ts';
import { Keys } from '../../../src/engine/keys.ts';
import { realHost } from '../../../src/io/host.ts';
import { Store } from '../../../src/store/store.ts';

const HOUR = 3_600_000;

/** What the handler behind the door was told. */
export interface Told {
  readonly method: string;
  readonly url: string;
  readonly id: string;
  readonly body: string;
}

const bodyOf = async ({ body }: Caller): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
};

/** A door over real TLS with real keys, and a handler that tells what reached it. */
export class Node {
  readonly dir = mkdtempSync(join(tmpdir(), 'brig-door-'));
  readonly told: Told[] = [];
  readonly refused: string[] = [];
  readonly store = new Store(join(this.dir, 'brig.db'));
  /** Of its clock. */
  aheadMs = 0;
  readonly keys = new Keys({ store: this.store, now: () => this.now() });
  certificate!: Certificate;
  door!: RemoteDoor;
  authenticator!: Authenticator;

  now(): number {
    return Date.now() + this.aheadMs;
  }

  async open(
    bounds: RemoteDoorOptions['bounds'] = {},
    started: 'long ago' | 'now' = 'long ago',
    inside?: Inside,
  ): Promise<this> {
    this.certificate = await openCertificate(realHost, { address: '127.0.0.1', port: 1 }, join(this.dir, 'tls'));
    this.restart(started);
    this.door = new RemoteDoor({
      ...{ address: '127.0.0.1', port: 0, certificate: this.certificate, bounds },
      admit: (head, node, from): Admitted => this.authenticator.admit(head, node, from),
      inside: inside ?? this.#inside(),
      refused: ({ from }, error) => void this.refused.push(`${from} ${(error as Error).message}`),
    });
    this.keys.onRevoked((principal) => this.door.drop(principal));
    await this.door.open();
    return this;
  }

  /** Nonces of before are forgotten. */
  restart(started: 'long ago' | 'now'): void {
    const real = this.aheadMs;
    if (started === 'long ago') this.aheadMs -= HOUR;
    this.authenticator = new Authenticator({ find: this.keys.find, now: () => this.now() });
    this.aheadMs = real;
  }

  #inside(): Inside {
    return {
      handle: (request, response, caller) => void this.#answer(request, response, caller),
      upgrade: (_, socket, head, caller) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: brig-console\r\n\r\n');
        socket.write(`${caller.principal.id}\n`);
        socket.write(head);
        socket.on('data', (chunk: Buffer) => socket.write(chunk));
      },
    };
  }

  async #answer(request: IncomingMessage, response: ServerResponse, caller: Caller): Promise<void> {
    const { method = '', url = '' } = request;
    try {
      const body = await bodyOf(caller);
      this.told.push({ method, url, id: caller.principal.id, body });
      response.setHeader('content-type', 'application/json');
      if (url.endsWith('/follow')) response.write('{}\n');
      else response.end(JSON.stringify(caller.principal));
    } catch (error) {
      response.writeHead(401).end(JSON.stringify({ error: toErrorBody(error) }));
    }
  }

  get url(): string {
    return `https://127.0.0.1:${this.door.port}`;
  }

  /** A key that the node knows. */
  addKey(name: string, seed: Uint8Array, about: { owner?: string; expiresMs?: number } = {}): void {
    const document = { public: renderPublicHalf(signerOf(seed).publicBytes), ...about };
    this.keys.add(name, document, ROOT.id);
  }

  transport(seed: Uint8Array, fingerprint = this.certificate.fingerprint): RemoteTransport {
    return new RemoteTransport({ url: this.url, signer: signerOf(seed), proof: { fingerprint } });
  }

  /** A TLS connection that nobody's HTTP is on. */
  async raw(): Promise<TLSSocket> {
    const socket = connect({ host: '127.0.0.1', port: this.door.port, rejectUnauthorized: false });
    socket.on('error', () => undefined);
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', () => resolve());
      socket.once('close', () => reject(new Error('closed')));
    });
    return socket;
  }

  /** All that comes back until the node closes. */
  async exchange(text: string): Promise<string> {
    const socket = await this.raw();
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(text, 'latin1');
    await closed;
    return Buffer.concat(chunks).toString('latin1');
  }

  close(): void {
    this.door.close();
    this.door.end();
    this.store.close();
    rmSync(this.dir, { recursive: true });
  }
}
