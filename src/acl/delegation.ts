import { compile, NODE, rightsOf, type Grant, type Policy, type Target } from './policy.ts';
import type { Principal } from './principal.ts';
import { bitOf, maskOf, type Role } from './roles.ts';

/** What a rule's object is now; undefined: it names nothing that is there. */
export type Find = (object: string) => Target | undefined;

/** One object that has an owner or an administrator of its own; everything wider is the node's business. */
const SINGLE = /^(vm|network|image|template):[^*]+$/;

const targetOf = (object: string, find: Find): Target | undefined => (SINGLE.test(object) ? find(object) : NODE);

/** `user:alice` owns what documents say is alice's. */
const ownerOf = (subject: string): string | undefined =>
  subject.startsWith('user:') ? subject.slice('user:'.length) : undefined;

/** Whether a subject alone may hand a role on: its own object's, or one that it administers, and no more than it has. */
const mayHandOn = (policy: Policy, subject: string, role: Role, target: Target): boolean => {
  const owner = ownerOf(subject);
  const who = { id: subject, isRoot: false, subjects: [subject], ...(owner === undefined ? {} : { owner }) };
  const rights = rightsOf(policy, who, target);
  const isIts = owner !== undefined && target.owner === owner;
  return (isIts || (rights & bitOf('admin')) !== 0) && (maskOf(role) & ~rights) === 0;
};

/** In whose name a principal may make a rule: `root` or one of its subjects; undefined: in nobody's. */
export const granterOf = (
  policy: Policy,
  who: Pick<Principal, 'isRoot' | 'subjects' | 'owner'>,
  role: Role,
  object: string,
  find: Find,
): string | undefined => {
  if (who.isRoot) return 'root';
  const target = targetOf(object, find);
  if (!target) return undefined;
  return who.subjects.find((subject) => mayHandOn(policy, subject, role, target));
};

/**
 * Rules that count: root's, and those whose granter may still make them, by rules that count themselves.
 * What a principal lost, those to whom it handed it on have lost too. `counts`: whether a principal has its rights now;
 * by rules about one that has not, nothing is handed on.
 */
export const justified = (
  grants: readonly Grant[],
  find: Find,
  counts: (principal: string) => boolean = () => true,
): Grant[] => {
  const valid = grants.filter(({ by }) => by === 'root');
  let rest = grants.filter(({ by }) => by !== 'root');
  for (let before = -1; before !== rest.length;) {
    before = rest.length;
    const policy = compile(valid.filter(({ principal }) => counts(principal)));
    const [more, less] = [[] as Grant[], [] as Grant[]];
    for (const grant of rest) {
      const target = targetOf(grant.object, find);
      (target && mayHandOn(policy, grant.by, grant.role, target) ? more : less).push(grant);
    }
    valid.push(...more);
    rest = less;
  }
  return valid;
};
