import { createHash } from 'node:crypto';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Signer } from './ed25519.ts';

/**
 * HTTP Message Signatures in the one profile that brig speaks; whatever is not of it is refused.
 * Shape:  Signature-Input: LABEL=("@method" "@target-uri" "brig-node" ...);created=N;nonce="...";keyid="...";alg="ed25519";tag="brig"
 *         Signature: LABEL=:BASE64:
 *         `@target-uri` has scheme, authority, path and query. Of COVERED, those that the request has are covered, too.
 * Source: RFC 9421; RFC 9530 for Content-Digest.
 */
const TAG = 'brig';
const ALGORITHM = 'ed25519';
const LABEL = 'brig';

/** Of which node a request is for: the sha-256 of its certificate, so that no other node takes what one was sent. */
export const NODE_HEADER = 'brig-node';
/** What a brigd that has just started gives out, so that nothing counts that was signed before. */
export const START_HEADER = 'brig-start';

/** Headers that change what a request does. One that is there is covered; each is there once at most. */
const COVERED: readonly string[] = [
  NODE_HEADER,
  START_HEADER,
  'content-digest',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-none-match',
  'last-event-id',
  'transfer-encoding',
  'upgrade',
];

/** The one route whose body is not signed: an image is gigabytes that nobody has read before they are sent. */
const UPLOAD = { method: 'POST', target: '/v1/images' };

/** Beginning of a request, as it came. */
export interface Head {
  readonly method: string;
  readonly target: string;
  /** Name and value in turn, as Node's `rawHeaders`. */
  readonly rawHeaders: readonly string[];
}

/** What a request says of itself. Nothing of it is true before its signature was checked. */
export interface Claim {
  readonly keyId: string;
  readonly nonce: string;
  readonly createdMs: number;
  readonly expiresMs: number | undefined;
  /** Of the brigd that it was signed for. */
  readonly start: string | undefined;
  /** sha-256 of the body, base64; undefined: the request has no body, or is an upload. */
  readonly digest: string | undefined;
  readonly base: Uint8Array;
  readonly signature: Uint8Array;
}

/** One that is to be answered with 401. */
export const unauthenticated = (reason: string, hint?: string): BrigError =>
  new BrigError('acl.denied', `check signature: ${reason}`, {
    details: { authenticate: true },
    ...(hint === undefined ? {} : { hint }),
  });

/** What is signed. Source: RFC 9421, section 2.5. */
export const renderBase = (components: readonly (readonly [string, string])[], params: string): string =>
  [...components.map(([name, value]) => `"${name}": ${value}`), `"@signature-params": ${params}`].join('\n');

/** RFC 9530. */
export const digestOf = (body: Uint8Array): string => createHash('sha256').update(body).digest('base64');

const PRINTABLE = /^[\x20-\x7e]*$/;

/** Headers by name. Errors: acl.denied for one that is there twice: two readers may believe either. */
const fieldsOf = (rawHeaders: readonly string[]): Map<string, string> => {
  const fields = new Map<string, string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (fields.has(name)) throw unauthenticated(`expected each header once, got ${name} twice`);
    fields.set(name, (rawHeaders[i + 1] ?? '').trim());
  }
  return fields;
};

const required = (fields: ReadonlyMap<string, string>, name: string): string => {
  const value = fields.get(name);
  if (value === undefined || value === '')
    throw unauthenticated(
      `expected a signed request, got none with ${name}`,
      'brig login URL makes a key and a context',
    );
  return value;
};

/** A name or an address, and a port: nothing that may end where another reader does not expect it. */
const AUTHORITY = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;
const TARGET = /^\/[\x21\x22\x24-\x7e]*$/;

const targetUri = (fields: ReadonlyMap<string, string>, target: string): string => {
  const host = required(fields, 'host');
  if (!AUTHORITY.test(host)) throw unauthenticated('expected a host and its port in lower case, got another Host');
  if (!TARGET.test(target)) throw unauthenticated('expected a path that begins with /, got another target');
  return `https://${host}${target}`;
};

/** Value of a component of this request. Errors: acl.denied when it has none, or one that is no plain text. */
const valueOf = (name: string, { method, target }: Head, fields: ReadonlyMap<string, string>): string => {
  if (name === '@method') return method;
  if (name === '@target-uri') return targetUri(fields, target);
  const value = required(fields, name);
  if (!PRINTABLE.test(value)) throw unauthenticated(`expected printable characters in ${name}, got others`);
  return value;
};

/** What of this request has to be covered, no less and no more. */
const coveredOf = (fields: ReadonlyMap<string, string>): string[] => [
  '@method',
  '@target-uri',
  ...COVERED.filter((name) => name === NODE_HEADER || fields.has(name)),
];

const INPUT =
  /^([a-z*][a-z0-9_.*-]{0,31})=(\(("[a-z0-9@-]+"(?: "[a-z0-9@-]+")*)\)((?:;[a-z]+=(?:\d{1,12}|"[\x20\x21\x23-\x5b\x5d-\x7e]*"))*))$/;
const SIGNATURE = /^([a-z*][a-z0-9_.*-]{0,31})=:([A-Za-z0-9+/]{86}==):$/;
const PARAMETERS = ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag'];
const NUMBERS = ['created', 'expires'];

/** Parameters by name, each known, of its kind and once. */
const parametersOf = (text: string): Map<string, string> => {
  const found = new Map<string, string>();
  for (const [, name = '', number, quoted] of text.matchAll(/;([a-z]+)=(?:(\d+)|"([^"]*)")/g)) {
    if (!PARAMETERS.includes(name) || found.has(name) || (number !== undefined) !== NUMBERS.includes(name))
      throw unauthenticated(`expected parameters ${PARAMETERS.join(', ')}, each once, got another ${name}`);
    found.set(name, number ?? quoted ?? '');
  }
  return found;
};

const NONCE = /^[A-Za-z0-9+/=_-]{22,64}$/;
const KEY_ID = /^[0-9a-f]{16}$/;

const checkParameters = (found: ReadonlyMap<string, string>): void => {
  const wrong = (name: string, expected: string): never => {
    throw unauthenticated(`expected parameter ${name} ${expected}, got ${found.has(name) ? 'another' : 'none'}`);
  };
  if (!found.has('created')) wrong('created', 'in seconds');
  if (found.get('alg') !== ALGORITHM) wrong('alg', ALGORITHM);
  if (found.get('tag') !== TAG) wrong('tag', TAG);
  if (!KEY_ID.test(found.get('keyid') ?? '')) wrong('keyid', 'of 16 hexadecimal digits');
  if (!NONCE.test(found.get('nonce') ?? '')) wrong('nonce', 'of 16 random bytes in base64');
};

const checkCoverage = (listed: readonly string[], wanted: readonly string[]): void => {
  const missing = wanted.find((name) => !listed.includes(name));
  if (missing !== undefined) throw unauthenticated(`expected ${missing} among what is signed, got none`);
  const more = listed.find((name, i) => !wanted.includes(name) || listed.indexOf(name) !== i);
  if (more !== undefined) throw unauthenticated(`expected no ${more} among what is signed, got it`);
};

const DIGEST = /^sha-256=:([A-Za-z0-9+/]{43}=):$/;

/** What the body has to be. Errors: acl.denied for a body that nobody signed. */
const bodyDigestOf = ({ method, target }: Head, fields: ReadonlyMap<string, string>): string | undefined => {
  const hasBody = fields.has('transfer-encoding') || (fields.get('content-length') ?? '0') !== '0';
  const text = fields.get('content-digest');
  const isUpload = method === UPLOAD.method && target === UPLOAD.target && fields.has('transfer-encoding');
  if (text === undefined && hasBody && !isUpload)
    throw unauthenticated('expected content-digest of the body, got none');
  const digest = text === undefined ? undefined : DIGEST.exec(text)?.[1];
  if (text !== undefined && digest === undefined)
    throw unauthenticated('expected content-digest with sha-256 alone, got another');
  return digest;
};

/**
 * What a request claims, after all checks that need neither key nor clock.
 * `node`: sha-256 of this node's certificate. Errors: acl.denied, in one line.
 */
export const readClaim = (head: Head, node: string): Claim => {
  const fields = fieldsOf(head.rawHeaders);
  const input = required(fields, 'signature-input');
  const sent = SIGNATURE.exec(required(fields, 'signature'));
  const match = input.length > LIMITS.signatureInputBytes ? null : INPUT.exec(input);
  if (!match || !sent || match[1] !== sent[1])
    throw unauthenticated('expected one signature with its components and parameters, got another shape');
  const [, , text = '', list = '', rest = ''] = match;
  const listed = list.slice(1, -1).split('" "');
  const parameters = parametersOf(rest);
  checkParameters(parameters);
  checkCoverage(listed, coveredOf(fields));
  if (fields.get(NODE_HEADER) !== node)
    throw unauthenticated(
      'expected a request for this node, got one for another',
      'brig login URL asks for its certificate',
    );
  const expires = parameters.get('expires');
  return {
    keyId: parameters.get('keyid') ?? '',
    nonce: parameters.get('nonce') ?? '',
    createdMs: Number(parameters.get('created')) * 1000,
    expiresMs: expires === undefined ? undefined : Number(expires) * 1000,
    start: fields.get(START_HEADER),
    digest: bodyDigestOf(head, fields),
    base: Buffer.from(
      renderBase(
        listed.map((name) => [name, valueOf(name, head, fields)] as const),
        text,
      ),
    ),
    signature: Buffer.from(sent[2] ?? '', 'base64'),
  };
};

export interface ToSign {
  readonly method: string;
  /** Shape: `/v1/vms?label=a` */
  readonly target: string;
  /** Host among them; names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

/** Headers of a request with its digest and signature. `nonce`: of random bytes, at least 16, used once. */
export const signRequest = (what: ToSign, signer: Signer, nowMs: number, nonce: Uint8Array): Record<string, string> => {
  const { method, target, body } = what;
  const headers = {
    ...what.headers,
    ...(body === undefined ? {} : { 'content-digest': `sha-256=:${digestOf(body)}:` }),
  };
  const fields = new Map(Object.entries(headers));
  const names = coveredOf(fields);
  const list = names.map((name) => `"${name}"`).join(' ');
  const created = Math.floor(nowMs / 1000);
  const random = Buffer.from(nonce).toString('base64url');
  const params = `(${list});created=${created};nonce="${random}";keyid="${signer.id}";alg="${ALGORITHM}";tag="${TAG}"`;
  const values = names.map((name) => [name, valueOf(name, { method, target, rawHeaders: [] }, fields)] as const);
  const signature = Buffer.from(signer.sign(Buffer.from(renderBase(values, params)))).toString('base64');
  return { ...headers, 'signature-input': `${LABEL}=${params}`, signature: `${LABEL}=:${signature}:` };
};
