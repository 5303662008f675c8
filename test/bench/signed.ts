/** What a signature costs a request: client and node in one process, so that all of it counts. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authenticator } from '../../src/acl/authenticator.ts';
import { signerOf, verifierOf } from '../../src/acl/ed25519.ts';
import { ROOT } from '../../src/acl/principal.ts';
import { signRequest } from '../../src/acl/signatures.ts';
import { openCertificate } from '../../src/daemon/certificate.ts';
import { RemoteDoor, type Inside } from '../../src/daemon/remote-door.ts';
import { realHost } from '../../src/io/host.ts';
import { median } from './script.ts';

const TARGET = '/v1/vms/web01';
const HOUR = 3_600_000;

const answer = async (response: ServerResponse, body: AsyncIterable<Buffer>): Promise<void> => {
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.length;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ name: 'web01', bytes }));
};

/** Reads the body, and answers as a small resource does. */
const inside: Inside = {
  handle: (_, response, { body }) => void answer(response, body),
  upgrade: () => undefined,
};

const once = (agent: Agent, port: number, body: Buffer, headers: Record<string, string>): Promise<number> =>
  new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: TARGET, method: 'PUT', agent, headers, rejectUnauthorized: false };
    const sent = request(options, (response) => {
      response.on('end', () => resolve(response.statusCode ?? 0)).resume();
    });
    sent.on('error', reject);
    sent.end(body);
  });

interface Pair {
  readonly signed: number;
  readonly plain: number;
}

/** Medians of as many requests of each kind, in turn. Units: milliseconds. */
export const signedCost = async (rounds: number): Promise<{ readonly kept: Pair; readonly fresh: Pair }> => {
  const dir = mkdtempSync(join(tmpdir(), 'brig-signed-'));
  const certificate = await openCertificate(realHost, { address: '127.0.0.1', port: 1 }, dir);
  const signer = signerOf(randomBytes(32));
  const about = { name: 'bench', owner: 'bench', expiresMs: undefined, revokedMs: undefined };
  const known = { ...verifierOf(signer.publicBytes), ...about };
  let startMs = Date.now() - HOUR;
  const authenticator = new Authenticator({ find: () => known, now: () => startMs });
  const place = { address: '127.0.0.1', port: 0, certificate, inside, refused: () => undefined };
  const signedDoor = new RemoteDoor({
    ...place,
    admit: (...args) => {
      startMs = Date.now();
      return authenticator.admit(...args);
    },
  });
  const plainDoor = new RemoteDoor({ ...place, admit: () => ({ principal: ROOT, digest: undefined }) });
  await Promise.all([signedDoor.open(), plainDoor.open()]);
  const body = Buffer.from(JSON.stringify({ name: 'web01', memory: '64M' }));
  const plainHeaders = { 'content-type': 'application/json', 'content-length': String(body.length) };
  const sign = (): Record<string, string> => {
    const headers = { host: `127.0.0.1:${signedDoor.port}`, 'brig-node': certificate.fingerprint, ...plainHeaders };
    return signRequest({ method: 'PUT', target: TARGET, headers, body }, signer, Date.now(), randomBytes(18));
  };
  const measure = async (agent: Agent, count: number): Promise<Pair> => {
    const [signed, plain]: [number[], number[]] = [[], []];
    const kinds = [
      [plain, plainDoor, () => plainHeaders],
      [signed, signedDoor, sign],
    ] as const;
    for (let i = -20; i < count; i++)
      // Each is the first as often as the second: what the one before leaves to do hits both.
      for (const [times, door, headersOf] of i % 2 === 0 ? kinds : [...kinds].reverse()) {
        const beganMs = performance.now();
        const status = await once(agent, door.port, body, headersOf());
        if (status !== 200) throw new Error(`expected 200, got ${status}`);
        if (i >= 0) times.push(performance.now() - beganMs);
      }
    return { signed: median(signed), plain: median(plain) };
  };
  const agent = new Agent({ keepAlive: true });
  try {
    const kept = await measure(agent, rounds);
    const fresh = await measure(new Agent({ keepAlive: false, maxCachedSessions: 0 }), Math.floor(rounds / 5));
    return { kept, fresh };
  } finally {
    agent.destroy();
    for (const door of [signedDoor, plainDoor]) {
      door.close();
      door.end();
    }
    rmSync(dir, { recursive: true });
  }
};
