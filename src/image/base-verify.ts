import { readTrust, type Trust, type TrustedKey } from '../acl/trust.ts';
import { messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import type { SignedManifest } from '../spec/manifest.ts';
import type { BaseKind } from './base-kind.ts';
import { isSigned, parseSigned } from './base-manifest.ts';

/** Where one base is. */
export interface BaseFiles {
  readonly digest: string;
  readonly file: string;
  readonly manifest: string;
  /** Directory of keys. */
  readonly keys: string;
}

/** What is known of a base, and what is wrong with it: nothing, where starts may use it. */
export interface Verdict {
  readonly signed?: SignedManifest;
  /** Every file that it rests on. Empty: it cannot be told. */
  readonly parts: readonly string[];
  readonly problems: readonly string[];
}

const readSigned = async (host: Host, { manifest }: BaseFiles): Promise<SignedManifest | string> => {
  const stat = await host.stat(manifest);
  if (!stat) return `unsigned: ${manifest} is not there`;
  if (stat.kind !== 'file' || stat.bytes > LIMITS.manifestBytes)
    return `${manifest} is no manifest: expected a file of at most ${LIMITS.manifestBytes} bytes`;
  try {
    return parseSigned((await host.readFile(manifest)) ?? '', manifest);
  } catch (error) {
    return messageOf(error).replaceAll(/\n */g, '; ');
  }
};

/** The key that a signature names, when it may sign a base here; a text is why not. */
const findKey = (signed: SignedManifest, { keys, revoked, problems }: Trust): TrustedKey | string => {
  const { key: id } = signed.signature;
  if (revoked.has(id)) return `signed by key ${id}, which was revoked here`;
  const named = keys.filter((key) => key.id === id);
  if (named.length === 0)
    return `signed by key ${id}, which is not trusted here${problems.map((p) => ` (${p})`).join('')}`;
  const key = named.find(({ rights }) => rights.includes('base'));
  if (!key) return `signed by key ${id} (${named[0]?.name ?? ''}), which has no right to sign a base here`;
  return isSigned(signed, key.bytes)
    ? key
    : `its signature is not one of key ${id} (${key.name}): the manifest was altered`;
};

const checkWords = async (
  host: Host,
  kind: BaseKind,
  files: BaseFiles,
  { manifest }: SignedManifest,
): Promise<string[]> => {
  const arch = await kind.arch(host);
  return [
    ...(manifest.platform === kind.platform
      ? []
      : [`it is for ${manifest.platform}, and this host is ${kind.platform}`]),
    ...(manifest.digest === files.digest
      ? []
      : [`its manifest is of another base: ${manifest.digest.slice(0, 12)}...`]),
    ...(manifest.arch === arch ? [] : [`it is for ${manifest.arch}, and this host is ${arch}`]),
  ];
};

/** All but the files themselves: who signed it, what for, and what it rests on. */
export const readBase = async (host: Host, kind: BaseKind, files: BaseFiles): Promise<Verdict> => {
  const signed = await readSigned(host, files);
  if (typeof signed === 'string') return { problems: [signed], parts: [] };
  const key = findKey(signed, await readTrust(host, files.keys));
  const refused = typeof key === 'string';
  return {
    signed,
    problems: [...(refused ? [key] : []), ...(await checkWords(host, kind, files, signed))],
    parts: refused ? [] : [files.manifest, key.path, ...kind.parts(files.file, signed.manifest)],
  };
};

/**
 * Whether a base is whole, signed by somebody who may, and for this host. The first reasons are enough for a start;
 * `deep` reads everything and finds them all.
 */
export const verifyBase = async (host: Host, kind: BaseKind, files: BaseFiles, deep: boolean): Promise<Verdict> => {
  const read = await readBase(host, kind, files);
  if (!read.signed || (!deep && read.problems.length > 0)) return read;
  const differences = await kind
    .differences(host, files.file, read.signed.manifest, deep)
    .catch((error: unknown) => [messageOf(error)]);
  return { ...read, problems: [...read.problems, ...differences] };
};
