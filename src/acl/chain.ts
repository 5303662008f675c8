import { hash as digest } from 'node:crypto';
import { LIMITS } from '../base/limits.ts';

const PHASES = ['begin', 'end', 'told'] as const;
const DECISIONS = ['allow', 'deny'] as const;

/** What there is to say of a request. No secret is in it: `data` has been through redact(). */
export interface NewEntry {
  /** Shape: the id of a Principal, or `brigd` */
  readonly who: string;
  /** Shape: `unix`, or the address of a peer */
  readonly from: string;
  /** Shape: `POST /vms/{name}/start`, never with what came in its query or body. */
  readonly verb: string;
  /** Shape: `vm:web` */
  readonly object: string;
  /** What is carried out has two entries, around it; what is only answered, or what brigd says itself, has one. */
  readonly phase: (typeof PHASES)[number];
  readonly decision: (typeof DECISIONS)[number];
  readonly rule: string;
  /** `ok` or the code of an error. */
  readonly result?: string;
  readonly saga?: string;
  /** Of an end: the number of its begin. */
  readonly of?: number;
  readonly data?: Readonly<Record<string, number | string>>;
}

/** An entry of the audit log. `hash` is sha-256 of everything before it, and `prev` that of the entry before. */
export interface AuditEntry extends NewEntry {
  /** Counts from 1, without a gap. */
  readonly seq: number;
  readonly atMs: number;
  readonly prev: string;
  readonly hash: string;
}

/** An entry that is known to be there: whoever changes anything up to it changes its hash. */
export interface Anchor {
  readonly seq: number;
  readonly hash: string;
}

/** What comes before the first entry. */
export const NOTHING: Anchor = { seq: 0, hash: '0'.repeat(64) };

const sha256 = (text: string): string => digest('sha256', text, 'hex');

const cut = (text: string): string =>
  text.length <= LIMITS.auditFieldChars ? text : `${text.slice(0, LIMITS.auditFieldChars - 3)}...`;

/** In one order, few and short; a number that JSON has no word for is text. */
const boundData = (data: NonNullable<NewEntry['data']>): NonNullable<NewEntry['data']> =>
  Object.fromEntries(
    Object.entries(data)
      .slice(0, LIMITS.auditDataFields)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [cut(key), Number.isFinite(value) ? value : cut(String(value))]),
  );

const UNSAFE = /[^ -~]/;

/** One spelling: keys in this order, no blanks, and only the printable half of ASCII: a line stays one, on any terminal. */
const canonical = (entry: Omit<AuditEntry, 'hash'>): string => {
  const { seq, atMs, who, from, verb, object, phase, decision, rule, result, saga, of, data, prev } = entry;
  // Written out: it is what every request pays for.
  const text = JSON.stringify({
    seq,
    atMs,
    who,
    from,
    verb,
    object,
    phase,
    decision,
    rule,
    result,
    saga,
    of,
    data,
    prev,
  });
  if (!UNSAFE.test(text)) return text;
  return text.replaceAll(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
};

const seal = (body: string, hash: string): string => `${body.slice(0, -1)},"hash":"${hash}"}`;

/** The next entry of a chain, with its line; what is too long in it is cut. */
export const chain = (
  prev: Anchor,
  entry: NewEntry,
  atMs: number,
): { readonly entry: AuditEntry; readonly line: string } => {
  const { result, saga, of, data } = entry;
  const whole: Omit<AuditEntry, 'hash'> = {
    seq: prev.seq + 1,
    atMs,
    who: cut(entry.who),
    from: cut(entry.from),
    verb: cut(entry.verb),
    object: cut(entry.object),
    phase: entry.phase,
    decision: entry.decision,
    rule: cut(entry.rule),
    ...(result === undefined ? undefined : { result: cut(result) }),
    ...(saga === undefined ? undefined : { saga: cut(saga) }),
    ...(of === undefined ? undefined : { of }),
    ...(data === undefined ? undefined : { data: boundData(data) }),
    prev: prev.hash,
  };
  const body = canonical(whole);
  const hash = sha256(body);
  return { entry: { ...whole, hash }, line: seal(body, hash) };
};

/** Shape: JSON of printable ASCII, without an end of line. */
export const renderLine = (entry: AuditEntry): string => seal(canonical(entry), entry.hash);

const isText = (value: unknown): boolean => typeof value === 'string';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
const isHash = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
const isOneOf = (words: readonly string[], value: unknown): boolean => words.some((each) => each === value);
const isData = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(value).every((each) => isText(each) || isNumber(each));
const isNumber = (value: unknown): boolean => Number.isFinite(value);
const orAbsent = (is: (value: unknown) => boolean, value: unknown): boolean => value === undefined || is(value);

const isEntry = (value: unknown): value is AuditEntry => {
  if (typeof value !== 'object' || value === null) return false;
  const each = value as Record<string, unknown>;
  return (
    [each.who, each.from, each.verb, each.object, each.rule].every(isText) &&
    [each.seq, each.atMs].every(isCount) &&
    [each.prev, each.hash].every(isHash) &&
    isOneOf(PHASES, each.phase) &&
    isOneOf(DECISIONS, each.decision) &&
    [each.result, each.saga].every((text) => orAbsent(isText, text)) &&
    orAbsent(isCount, each.of) &&
    orAbsent(isData, each.data)
  );
};

const parseJson = (line: string): unknown => {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
};

/** The entry of a line; `isTrue` when the line is its one spelling and its hash is right. Undefined: it is no entry. */
export const parseLine = (line: string): { readonly entry: AuditEntry; readonly isTrue: boolean } | undefined => {
  const entry = parseJson(line);
  if (!isEntry(entry)) return undefined;
  const body = canonical(entry);
  return { entry, isTrue: seal(body, entry.hash) === line && sha256(body) === entry.hash };
};

/** Bytes that are no entry: the rest of a write that was cut off by a loss of power or a full disk. */
export const tornEntry = (torn: string): NewEntry => ({
  ...{ who: 'brigd', from: 'brigd', verb: 'audit-log', object: 'node', phase: 'told', decision: 'allow' },
  rule: `torn line of ${torn.length} bytes before this entry`,
  data: { tornBytes: torn.length, tornSha256: digest('sha256', Buffer.from(torn, 'latin1'), 'hex') },
});

const isToldBy = (torn: string, { who, phase, rule, data }: AuditEntry): boolean => {
  const told = tornEntry(torn);
  return (
    who === told.who &&
    phase === told.phase &&
    rule === told.rule &&
    data?.tornBytes === told.data?.tornBytes &&
    data?.tornSha256 === told.data?.tornSha256
  );
};

/** What is wrong with a chain, and from which entry on. */
export interface Break {
  readonly seq: number;
  readonly why: string;
}

/** Checks the lines of a log one after the other, and keeps none. */
export class Verifier {
  readonly #known: readonly Anchor[];
  readonly #wanted: string | undefined;
  #isFound = false;
  #torn = '';
  #tornCount = 0;
  #first = 0;
  #last: Anchor | undefined;
  #entries = 0;

  /** `known`: entries that must be there, or come before the first one; `wanted`: a hash that somebody wrote down. */
  constructor(known: readonly Anchor[] = [], wanted?: string) {
    this.#known = known;
    this.#wanted = wanted;
  }

  /** Without its end of line, bytes as latin1. */
  take(line: string): Break | undefined {
    const parsed = parseLine(line);
    if (!parsed) {
      this.#torn += `${line}\n`;
      return undefined;
    }
    const { entry } = parsed;
    const why = parsed.isTrue ? this.#wrongIn(entry) : 'its hash is not of what it says';
    if (why !== undefined) return { seq: this.#last ? this.#last.seq + 1 : entry.seq, why };
    this.#keep(entry);
    return undefined;
  }

  #wrongIn(entry: AuditEntry): string | undefined {
    const { seq, prev } = entry;
    const last = this.#last ?? (seq === 1 ? NOTHING : undefined);
    if (last && seq !== last.seq + 1) return `expected entry ${last.seq + 1}, got ${seq}`;
    if (last && prev !== last.hash) return `it does not follow entry ${last.seq}`;
    if (this.#torn !== '' && !isToldBy(this.#torn, entry))
      return `${this.#torn.length} bytes before it are no entry, and no entry tells of them`;
    return this.#known.map((each) => wrongBy(each, entry)).find((why) => why !== undefined);
  }

  #keep(entry: AuditEntry): void {
    if (this.#torn !== '') this.#tornCount++;
    this.#torn = '';
    this.#first ||= entry.seq;
    this.#last = entry;
    this.#entries++;
    this.#isFound ||= entry.hash === this.#wanted;
  }

  /** After the last line. */
  end(): Break | undefined {
    const seq = (this.#last?.seq ?? 0) + 1;
    if (this.#torn !== '') return { seq, why: `the last ${this.#torn.length} bytes are no entry` };
    const lost = this.#known.find((each) => each.seq >= seq);
    if (lost) return { seq, why: `the log ends before it; entry ${lost.seq} was there` };
    if (this.#wanted === undefined || this.#isFound) return undefined;
    return { seq: seq - 1, why: `no entry up to this one has the hash ${this.#wanted}` };
  }

  /** What was found good. */
  get sum(): { readonly entries: number; readonly first: number; readonly torn: number; readonly head: Anchor } {
    const { seq, hash } = this.#last ?? NOTHING;
    return { entries: this.#entries, first: this.#first, torn: this.#tornCount, head: { seq, hash } };
  }
}

const wrongBy = (known: Anchor, { seq, hash, prev }: AuditEntry): string | undefined => {
  if (seq === known.seq && hash !== known.hash) return 'it is not the entry that was there before';
  if (seq === known.seq + 1 && prev !== known.hash) return `it does not follow the entry ${known.seq} that was there`;
  return undefined;
};
