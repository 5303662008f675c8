import { z } from 'zod';
import { isScalar, LineCounter, parseDocument, stringify, visit, type Document } from 'yaml';
import { BrigError, messageOf, type ErrorCode } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { escapeControls } from '../base/units.ts';

/** One thing wrong with a document: where, what was expected, what came. */
export interface Problem {
  readonly path: string;
  readonly expected: string;
  readonly got: string;
}

/**
 * The value of a YAML or JSON text (JSON is YAML).
 * Errors: spec.invalid with line and column of the first syntax error; duplicate keys are errors.
 */
export const parseText = (text: string, source: string): unknown => {
  const invalid = (reason: string): BrigError =>
    new BrigError('spec.invalid', `parse ${source}: ${escapeControls(reason)}`, {
      hint: 'a document is YAML or JSON; see brig.yaml(5)',
    });
  try {
    const lines = new LineCounter();
    // Neither of what they do by themselves is linear: to look for keys that come twice, and to quote the text.
    const document = parseDocument(text, {
      ...{ uniqueKeys: false, prettyErrors: false },
      logLevel: 'error',
      lineCounter: lines,
    });
    const wrong = document.errors[0] ?? twiceIn(document);
    if (wrong) {
      const { line, col } = lines.linePos(wrong.pos[0]);
      throw invalid(`line ${line} column ${col}: ${wrong.message.split('\n')[0] ?? 'not YAML'}`);
    }
    // 50 aliases are more than any document needs and less than an expansion bomb.
    const value = document.toJS({ maxAliasCount: 50 }) as unknown;
    if (isRound(value)) throw invalid('expected nothing within itself, got an alias of what it is in');
    return value;
  } catch (error) {
    // Of the parser, which recurses: too many levels, or aliases.
    throw error instanceof BrigError ? error : invalid(messageOf(error));
  }
};

/** A key that its map has already. */
const twiceIn = (
  document: Document,
): { readonly pos: readonly [number, number]; readonly message: string } | undefined => {
  let found: number | undefined;
  visit(document, {
    Map: (_, { items }) => {
      const keys = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (keys.has(key.value)) {
          found = key.range?.[0] ?? 0;
          return visit.BREAK;
        }
        keys.add(key.value);
      }
      return undefined;
    },
  });
  return found === undefined ? undefined : { pos: [found, found], message: 'Map keys must be unique' };
};

/**
 * The very value, unless it has more parts than a document of a VM ever has: each is looked at, and whoever sends very
 * many keeps everybody waiting. Errors: spec.invalid.
 */
export const few = (value: unknown, source: string): unknown => {
  const rest = [value];
  for (let count = 1; rest.length > 0;) {
    const each = rest.pop();
    if (typeof each !== 'object' || each === null) continue;
    const parts = Object.values(each);
    count += parts.length;
    if (count > LIMITS.documentParts)
      throw new BrigError('spec.invalid', `check ${source}: expected at most ${LIMITS.documentParts} values, got more`);
    for (const part of parts) rest.push(part);
  }
  return value;
};

/** Whether there is no end to what it holds. */
const isRound = (value: unknown): boolean => {
  try {
    JSON.stringify(value);
    return false;
  } catch {
    return true;
  }
};

/** Plain YAML that small readers understand: no aliases, no folded lines. */
export const renderYaml = (value: unknown): string => stringify(value, { aliasDuplicateObjects: false, lineWidth: 0 });

/** Told of one document: who mends so many asks again. */
const PROBLEMS = 100;

/** `value` checked against a schema: all problems at once. Errors: `code` with `details.problems`. */
export const parseWith = <S extends z.ZodType>(
  schema: S,
  value: unknown,
  source: string,
  code: ErrorCode,
): z.output<S> => {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const all = result.error.issues.flatMap((issue) => toProblems(issue, value));
  const problems = all.slice(0, PROBLEMS);
  const lines = problems.map((p) => `  ${escapeControls(`${p.path}: expected ${p.expected}, got ${p.got}`)}`);
  throw new BrigError(
    code,
    `check ${source}: ${all.length} problem${all.length === 1 ? '' : 's'}\n${lines.join('\n')}`,
    {
      details: { problems },
    },
  );
};

const toProblems = (issue: z.core.$ZodIssue, root: unknown): Problem[] => {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: renderPath([...issue.path, key]), expected: 'no such key', got: 'it' }));
  if (issue.code === 'invalid_union') {
    const branch = meantBranch(issue, root);
    if (branch) return branch.flatMap((inner) => toProblems({ ...inner, path: [...issue.path, ...inner.path] }, root));
  }
  if (issue.code === 'invalid_key') {
    const [inner] = issue.issues;
    const key = issue.path.at(-1);
    return [
      {
        path: renderPath(issue.path.slice(0, -1)),
        expected: inner ? expectedOf(inner) : 'another key',
        got: render(key),
      },
    ];
  }
  const got = at(root, issue.path);
  const isSecret = issue.path.some((key) => SECRET.has(key));
  return [{ path: renderPath(issue.path), expected: expectedOf(issue), got: isSecret ? kindOf(got) : render(got) }];
};

/** Passwords and keys are in them, or the secret half by mistake: no error shows what came. */
const SECRET: ReadonlySet<PropertyKey> = new Set(['userData', 'vendorData', 'sshKeys', 'password', 'public']);
const kindOf = (value: unknown): string =>
  value === undefined
    ? 'nothing'
    : typeof value === 'string'
      ? 'another text'
      : Array.isArray(value)
        ? 'a list'
        : `a ${typeof value}`;

type Branch = readonly z.core.$ZodIssue[];

/** A union fails in every branch: the one whose keys are there says what is really wrong; none: the union itself does. */
const meantBranch = (issue: z.core.$ZodIssueInvalidUnion, root: unknown): Branch | undefined => {
  const lacks = (inner: z.core.$ZodIssue): boolean =>
    inner.code === 'invalid_value' || inner.code === 'invalid_type'
      ? at(root, [...issue.path, ...inner.path]) === undefined
      : false;
  const isMeant = (branch: Branch): boolean =>
    branch.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys') && !branch.some(lacks);
  return [...issue.errors].filter(isMeant).sort((a, b) => a.length - b.length)[0];
};

const expectedOf = (issue: z.core.$ZodIssue): string => {
  if (issue.code === 'invalid_value') return issue.values.map((v) => JSON.stringify(v)).join(' or ');
  if (issue.code === 'too_big') return `at most ${issue.maximum}`;
  if (issue.code === 'too_small') return `at least ${issue.minimum}`;
  if (issue.code === 'invalid_type') return issue.expected;
  return issue.message.replace(/^expected /, '');
};

const renderPath = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  ) || 'document';

const at = (root: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], root);

const render = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) return `a ${typeof value}`;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
};
