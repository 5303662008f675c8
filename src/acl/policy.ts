import type { Principal } from './principal.ts';
import { bitOf, maskOf, OWNER, VERBS, type Role, type Verb } from './roles.ts';

/** What something is done to. Shape: `vm:web`, `network:lan`, `image:debian:13`, `template:debian`, `node` */
export interface Target {
  /** `tag`: any VM with a label. */
  readonly kind: 'vm' | 'network' | 'image' | 'template' | 'node' | 'tag';
  /** Of a node: none. Of an image: NAME or NAME:VERSION. Of a tag: KEY or KEY=VALUE. `*`: any of the kind. */
  readonly name: string;
  readonly owner?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export const NODE: Target = { kind: 'node', name: '' };

/** One rule: a principal may do what a role says to an object, and who says so. */
export interface Grant {
  /** Shape: `user:alice`, `group:ops`, `key:laptop` */
  readonly principal: string;
  /** A role, or verbs joined by commas. */
  readonly role: Role;
  /** Shape: `vm:web`, `vm:*`, `tag:KEY`, `tag:KEY=VALUE`, `network:lan`, `image:debian`, `template:*`, `node` */
  readonly object: string;
  /** `root`, or the subject whose rights it hands on: it counts for as long as those do. */
  readonly by: string;
  readonly createdMs: number;
}

/** Whether, and the rule that says so. */
export interface Decision {
  readonly allow: boolean;
  readonly rule: string;
}

/** Grants by whom they are for, then by object: a decision looks at a few places, however many rules there are. */
export type Policy = ReadonlyMap<string, ReadonlyMap<string, readonly Grant[]>>;

export const compile = (grants: readonly Grant[]): Policy => {
  const policy = new Map<string, Map<string, Grant[]>>();
  for (const grant of grants) {
    const objects = policy.get(grant.principal) ?? new Map<string, Grant[]>();
    policy.set(grant.principal, objects);
    const known = objects.get(grant.object);
    if (known) known.push(grant);
    else objects.set(grant.object, [grant]);
  }
  return policy;
};

export const renderTarget = ({ kind, name }: Target): string => (kind === 'node' ? 'node' : `${kind}:${name}`);
const renderGrant = ({ principal, role, object }: Grant): string => `${role} on ${object} to ${principal}`;

/** What a rule may call this object. */
const callsOf = ({ kind, name, labels = {} }: Target): string[] => {
  const calls = ['node'];
  if (kind === 'node') return calls;
  calls.push(`${kind}:${name}`, `${kind}:*`);
  if (kind === 'tag') calls.push('vm:*', `tag:${name.replace(/=.*$/s, '')}`);
  const at = kind === 'image' ? name.indexOf(':') : -1;
  if (at > 0) calls.push(`image:${name.slice(0, at)}`);
  for (const [key, value] of Object.entries(labels)) calls.push(`tag:${key}`, `tag:${key}=${value}`);
  return calls;
};

const ALL = maskOf('admin');
const ON_OTHERS = ALL & ~bitOf('create');

/**
 * What a rule gives on an object. `byNode`: it is a rule of the node, and the object is something on it; to make things
 * says nothing about what is there then, and to administer says all.
 */
const givenBy = ({ role }: Grant, byNode: boolean): number => {
  const mask = maskOf(role);
  return byNode && mask !== ALL ? mask & ON_OTHERS : mask;
};

/** The first rule of these subjects on an object that is looked for. No generator: this is asked for every VM of a list. */
const findGrant = (
  policy: Policy,
  subjects: readonly string[],
  calls: readonly string[],
  isIt: (given: number) => boolean,
): Grant | undefined => {
  for (const subject of subjects) {
    const objects = policy.get(subject);
    if (!objects) continue;
    for (const call of calls)
      for (const grant of objects.get(call) ?? [])
        if (isIt(givenBy(grant, call === 'node' && calls.length > 1))) return grant;
  }
  return undefined;
};

type Who = Pick<Principal, 'id' | 'isRoot' | 'subjects' | 'owner'>;

const isOwner = (owner: string | undefined, target: Target): boolean => owner !== undefined && target.owner === owner;

/** What a principal may do to an object in all. Units: bits of VERBS */
export const rightsOf = (policy: Policy, { isRoot, subjects, owner }: Who, target: Target): number => {
  if (isRoot) return ALL;
  let mask = isOwner(owner, target) ? maskOf(OWNER) : 0;
  findGrant(policy, subjects, callsOf(target), (given) => {
    mask |= given;
    return false;
  });
  return mask;
};

/** Whether a principal may do it: no, unless a rule says yes. O(subjects x labels), however many rules there are. */
export const decide = (policy: Policy, who: Who, verb: Verb, target: Target): Decision => {
  if (who.isRoot) return { allow: true, rule: 'root' };
  const bit = bitOf(verb);
  if (isOwner(who.owner, target) && (maskOf(OWNER) & bit) !== 0)
    return { allow: true, rule: `owner of ${renderTarget(target)}` };
  const grant = findGrant(policy, who.subjects, callsOf(target), (given) => (given & bit) !== 0);
  if (grant) return { allow: true, rule: renderGrant(grant) };
  return { allow: false, rule: `nothing gives ${who.id} ${verb} on ${renderTarget(target)}` };
};

/** Verbs that a mask holds, in their order. */
export const verbsOf = (mask: number): Verb[] => VERBS.filter((verb) => (bitOf(verb) & mask) !== 0);

/** Where to look for what a principal may do: everything, or whatever is named. */
export interface Scope {
  readonly all: boolean;
  readonly owner?: string;
  readonly names: readonly string[];
  /** Shape: `KEY`, `KEY=VALUE` */
  readonly tags: readonly string[];
}

/** Objects of a kind to which a verb is given, without looking at any of them. */
export const scopeOf = (policy: Policy, who: Who, verb: Verb, kind: Target['kind']): Scope => {
  if (who.isRoot) return { all: true, names: [], tags: [] };
  const scope = { all: false, names: [] as string[], tags: [] as string[] };
  for (const subject of who.subjects)
    for (const [object, grants] of policy.get(subject) ?? []) {
      const byNode = object === 'node' && kind !== 'node';
      if (!grants.some((grant) => (givenBy(grant, byNode) & bitOf(verb)) !== 0)) continue;
      if (object === 'node' || object === `${kind}:*`) scope.all = true;
      else if (object.startsWith('tag:')) scope.tags.push(object.slice('tag:'.length));
      else if (object.startsWith(`${kind}:`)) scope.names.push(object.slice(kind.length + 1));
    }
  const owns = who.owner !== undefined && (maskOf(OWNER) & bitOf(verb)) !== 0;
  return { ...scope, ...(owns ? { owner: who.owner } : {}) };
};
