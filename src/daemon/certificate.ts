import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { createSecureContext } from 'node:tls';
import { BrigError, messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { command } from '../platform/command.ts';
import type { Config } from '../spec/config.ts';

/** What a node shows to clients elsewhere. */
export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM. In no log and no error. */
  readonly key: string;
  /** sha-256 of the certificate, 64 hexadecimal digits. */
  readonly fingerprint: string;
  readonly endsMs: number;
}

/** In the base of FreeBSD, and in Debian's package of that name. */
const OPENSSL = '/usr/bin/openssl';
const DAYS = 3650;
const ANY = new Set(['0.0.0.0', '::']);

/** A name that openssl(1) takes as it is. */
const nodeName = (): string => (/^[A-Za-z0-9.-]{1,64}$/.test(hostname()) ? hostname() : 'brig');

const argvOf = (cert: string, key: string, address: string): string[] => {
  const names = [`DNS:${nodeName()}`, ...(ANY.has(address) ? [] : [`IP:${address}`])];
  return [
    ...['req', '-x509', '-config', '/dev/null', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', String(DAYS), '-subj', `/CN=${nodeName()}`, '-addext', `subjectAltName=${names.join(',')}`],
    ...['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=serverAuth'],
    ...['-keyout', key, '-out', cert],
  ];
};

/** Both in place, or neither: the key comes first, and a certificate without one is made anew. */
const make = async (host: Pick<Host, 'run'>, dir: string, address: string): Promise<void> => {
  const [cert, key] = [`${dir}/new-cert.pem`, `${dir}/new-key.pem`];
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  for (const path of [`${dir}/cert.pem`, cert, key]) await rm(path, { force: true });
  // Nobody else reads it from the first moment on, whatever openssl(1) makes of its mode.
  await (await open(key, 'wx', 0o600)).close();
  const { status, stderr } = await host.run(command(OPENSSL, argvOf(cert, key, address)));
  if (status !== 0)
    throw new BrigError('host.failed', `make certificate: openssl: ${stderr.trim().split('\n').at(-1) ?? ''}`);
  await chmod(key, 0o600);
  await rename(key, `${dir}/key.pem`);
  await rename(cert, `${dir}/cert.pem`);
};

const read = async (path: string): Promise<string> =>
  await readFile(path, 'utf8').catch((error: unknown) => {
    throw new BrigError('config.invalid', `read ${path}: ${messageOf(error).split(', ')[0]}`);
  });

/** Of root's, or of who runs brigd on the model, and closed to everybody else. */
const checkSecret = async (path: string): Promise<void> => {
  const { uid, mode } = await stat(path).catch((error: unknown) => {
    throw new BrigError('config.invalid', `read ${path}: ${messageOf(error).split(', ')[0]}`);
  });
  if ((uid === 0 || uid === process.getuid?.()) && (mode & 0o077) === 0) return;
  throw new BrigError(
    'acl.denied',
    `read ${path}: others may read or change it (uid ${uid}, mode ${(mode & 0o777).toString(8)})`,
    {
      hint: `chown 0:0 ${path} && chmod 600 ${path}`,
    },
  );
};

/** Digits of a fingerprint as OpenSSL prints them. */
const digitsOf = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase();

const parse = (cert: string, key: string, source: string): Certificate => {
  try {
    createSecureContext({ cert, key });
    const { fingerprint256, validTo } = new X509Certificate(cert);
    return { cert, key, fingerprint: digitsOf(fingerprint256), endsMs: Date.parse(validTo) };
  } catch {
    // What OpenSSL says of a key may quote it.
    throw new BrigError('config.invalid', `read ${source}: expected a certificate and its key in PEM, got another`);
  }
};

/**
 * The certificate that the configuration names, or brigd's own in `dir`, made once.
 * Errors: config.invalid; acl.denied when others may read the key; host.failed.
 */
export const openCertificate = async (
  host: Pick<Host, 'run'>,
  listen: NonNullable<Config['listen']>,
  dir: string,
): Promise<Certificate> => {
  const { cert = `${dir}/cert.pem`, key = `${dir}/key.pem` } = listen;
  const isThere = await stat(cert).then(
    () => true,
    () => false,
  );
  if (listen.cert === undefined && !isThere) await make(host, dir, listen.address);
  await checkSecret(key);
  return parse(await read(cert), await read(key), cert);
};
