import { BrigError } from '../base/errors.ts';

/** What may be done; one bit each. */
export const VERBS = [
  'view',
  'power',
  'console',
  'snapshot',
  'edit',
  'create',
  'destroy',
  'network',
  'image',
  'admin',
] as const;
export type Verb = (typeof VERBS)[number];

/** The name of a set of verbs, or verbs joined by commas. */
export type Role = string;

/** What a document's `owner` may do with what is his. */
export const OWNER = 'owner';

const OF_OPERATOR: readonly Verb[] = ['view', 'power', 'console', 'snapshot'];
const OF_OWNER: readonly Verb[] = [...OF_OPERATOR, 'edit', 'create', 'destroy', 'network', 'image'];

/** Sets of verbs that have names. */
export const ROLES: Readonly<Record<string, readonly Verb[]>> = {
  viewer: ['view'],
  operator: OF_OPERATOR,
  [OWNER]: OF_OWNER,
  admin: VERBS,
};

/** One verb, as bits. */
export const bitOf = (verb: Verb): number => 1 << VERBS.indexOf(verb);

/** Whoever may do something to an object knows that it is there, and `admin` is everything. */
const closure = (verbs: readonly Verb[]): number => {
  if (verbs.includes('admin')) return 2 ** VERBS.length - 1;
  const mask = verbs.reduce((all, verb) => all | bitOf(verb), 0);
  return verbs.some((verb) => verb !== 'create') ? mask | bitOf('view') : mask;
};

const isVerb = (word: string): word is Verb => VERBS.some((each) => each === word);

const masks = new Map<string, number>();

/** What a role gives, as bits; nothing for what is no role. */
export const maskOf = (role: Role): number => {
  const known = masks.get(role);
  if (known !== undefined) return known;
  const verbs = Object.hasOwn(ROLES, role) ? (ROLES[role] ?? []) : role.split(',').filter(isVerb);
  const mask = closure(verbs);
  masks.set(role, mask);
  return mask;
};

/** A role as it is kept: verbs in their order, each once. Errors: acl.invalid. */
export const parseRole = (text: string): Role => {
  if (Object.hasOwn(ROLES, text)) return text;
  const words = text.split(',');
  const strange = words.find((word) => !isVerb(word));
  if (strange !== undefined || text === '')
    throw new BrigError(
      'acl.invalid',
      `read role: expected ${Object.keys(ROLES).join(', ')}, or verbs joined by commas, got ${JSON.stringify(text.slice(0, 60))}`,
      { hint: `verbs are ${VERBS.join(', ')}` },
    );
  return VERBS.filter((verb) => words.includes(verb)).join(',');
};
