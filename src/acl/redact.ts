/** Parts of names of what is never logged, in lower case, without hyphens and underscores. */
const SECRET_PARTS = [
  ...['password', 'passwd', 'passphrase', 'secret', 'token', 'authorization', 'cookie', 'credential', 'signature'],
  ...['userdata', 'vendordata', 'privatekey', 'keymaterial', 'masterkey'],
];
/** Whole names: as a part, each is in harmless ones too. */
const SECRET_NAMES = ['seed', 'box', 'chap', 'nonce'];

/** Spellings that a log's filter by path, which knows no parts of names, must hide. */
const SPELLINGS = [
  ...[...SECRET_PARTS, ...SECRET_NAMES],
  ...['userData', 'vendorData', 'privateKey', 'keyMaterial', 'masterKey', 'secretKey', 'accessToken'],
  ...['user-data', 'vendor-data', 'private-key', 'set-cookie', 'proxy-authorization', 'Authorization', 'Cookie'],
];

/** How deep a filter by path looks. */
const DEPTHS = ['', '*.', '*.*.', '*.*.*.'];

const inPath = (depth: string, name: string): string =>
  /^\w+$/.test(name) ? `${depth}${name}` : `${depth.replace(/\.$/, '')}["${name}"]`;

/** Paths of what a log of objects hides. Source: pino, "redaction". */
export const SECRET_PATHS: readonly string[] = DEPTHS.flatMap((depth) => SPELLINGS.map((name) => inPath(depth, name)));

export const REDACTED = '[redacted]';

/** Secrets that say themselves what they are. */
const SECRET_TEXT = /PRIVATE KEY-----|\bed25519-secret\b|^(?:Bearer|Basic) /i;
const DEEPEST = 8;

const isSecretName = (name: string): boolean => {
  const plain = name.toLowerCase().replaceAll(/[-_]/g, '');
  return SECRET_NAMES.includes(plain) || SECRET_PARTS.some((part) => plain.includes(part));
};

const redactAt = (value: unknown, depth: number): unknown => {
  if (typeof value === 'string') return SECRET_TEXT.test(value) ? REDACTED : value;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEEPEST || ArrayBuffer.isView(value)) return REDACTED;
  if (Array.isArray(value)) return value.map((each) => redactAt(each, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, isSecretName(name) ? REDACTED : redactAt(each, depth + 1)]),
  );
};

/** The same without what the names of its fields, or its texts, say is secret; bytes are never shown. */
export const redact = (value: unknown): unknown => redactAt(value, 0);

const toField = (value: unknown): number | string =>
  typeof value === 'number' || typeof value === 'string' ? value : JSON.stringify(value);

/** The small record of an entry: redacted, and what is no number is text. */
export const toData = (record: Readonly<Record<string, unknown>>): Record<string, number | string> =>
  Object.fromEntries(
    Object.entries(redact(record) as object)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, toField(value)]),
  );
