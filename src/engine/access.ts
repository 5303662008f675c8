import { granterOf, justified } from '../acl/delegation.ts';
import { parseObject, parsePrincipal } from '../acl/names.ts';
import {
  compile,
  decide,
  NODE,
  renderTarget,
  rightsOf,
  scopeOf,
  verbsOf,
  type Decision,
  type Grant,
  type Policy,
  type Scope,
  type Target,
} from '../acl/policy.ts';
import type { Principal } from '../acl/principal.ts';
import { parseRole, VERBS, type Verb } from '../acl/roles.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Store } from '../store/store.ts';
import type { VmRow } from '../store/rows.ts';
import type { EventLog } from './events.ts';
import type { Keys } from './keys.ts';
import { unknownVm } from './nearest.ts';

export interface AccessOptions {
  readonly store: Store;
  readonly events: EventLog;
  readonly now: () => number;
  /** Whether a network of this name is there. */
  readonly hasNetwork: (name: string) => boolean;
  /** Whose rights count beside a user's own: `group:ops`. */
  readonly groupsOf: (user: string) => readonly string[];
  /** Which keys count, and with whose rights beside their own. Absent: there are none. */
  readonly keys?: Pick<Keys, 'version' | 'principal' | 'isRevoked'>;
  /** Whether somebody could be this principal; a typo gives nobody anything. */
  readonly isKnown: (principal: string) => Promise<boolean>;
}

/** What somebody asks to be a rule. */
export interface Asked {
  readonly principal: string;
  readonly role: string;
  readonly object: string;
}

/** A rule as `brig acl list` gives it. Shape is stable. */
export type GrantView = Asked & { readonly by: string; readonly createdMs: number };

/** What `brig acl test` answers. Shape is stable. */
export interface Answer {
  readonly allow: boolean;
  readonly rule: string;
  /** All that this principal may do to the object. */
  readonly verbs: readonly Verb[];
}

const vmTarget = ({ name, spec }: Pick<VmRow, 'name' | 'spec'>): Target => ({
  ...{ kind: 'vm', name, labels: spec.labels },
  ...(spec.owner === undefined ? {} : { owner: spec.owner }),
});

/** What a rule about many things is about: any VM with a label, any of a kind. */
const anyOf = (object: string): Target => {
  const at = object.indexOf(':');
  return { kind: object.slice(0, at) as Target['kind'], name: object.slice(at + 1) };
};

const denied = (what: string, decision: Decision): BrigError =>
  new BrigError('acl.denied', `${what}: denied: ${decision.rule}`, {
    ...{ retry: 'operator', cause: decision },
    hint: 'brig acl list shows what you may do; whoever owns it can grant more',
  });

/** Who may do what to what is there. */
export class Access {
  readonly #o: AccessOptions;
  #policy: { readonly version: number; readonly policy: Policy } | undefined;

  constructor(options: AccessOptions) {
    this.#o = options;
  }

  get #compiled(): Policy {
    const { store, keys } = this.#o;
    // Either only grows.
    const version = store.grants.version + (keys?.version ?? 0);
    if (this.#policy?.version !== version) {
      const rules = justified(store.grants.list(), this.#find, this.#counts);
      this.#policy = { version, policy: compile(rules.filter(({ principal }) => this.#counts(principal))) };
    }
    return this.#policy.policy;
  }

  /** A key that has expired has no rights, whatever rules say, until its time is set anew. */
  readonly #counts = (principal: string): boolean => {
    const { keys } = this.#o;
    return !keys || !principal.startsWith('key:') || keys.principal(principal, 'elsewhere') !== undefined;
  };

  /** What a rule's object is now. */
  readonly #find = (object: string): Target | undefined => {
    const [kind, name] = [object.slice(0, object.indexOf(':')), object.slice(object.indexOf(':') + 1)];
    if (object === 'node') return NODE;
    if (kind === 'network') return this.#o.hasNetwork(name) ? { kind, name } : undefined;
    if (kind === 'image' || kind === 'template') return { kind, name };
    const row = kind === 'vm' ? this.#o.store.findVm(name) : undefined;
    return row && vmTarget(row);
  };

  /** Of what nothing is there any more: the next of that name is another's. */
  open(): void {
    const { grants } = this.#o.store;
    const gone = grants.list().filter(({ object }) => /^(vm|network):[^*]/.test(object) && !this.#find(object));
    for (const { object } of gone) grants.forget(object);
    this.withdraw();
  }

  /** After a key ended. Its name never returns once it was revoked: the rules about it go, and what it handed on goes anyway. */
  withdraw(): void {
    const { store, keys } = this.#o;
    for (const rule of store.grants.list()) if (keys?.isRevoked(rule.principal)) store.grants.remove(rule);
    this.#prune();
  }

  /** Rules whose granter lost what he handed on would come back with him. */
  #prune(): void {
    const { grants } = this.#o.store;
    const all = grants.list();
    const valid = new Set(justified(all, this.#find, this.#counts));
    for (const grant of all) if (!valid.has(grant)) grants.remove(grant);
  }

  targetOf(row: VmRow): Target {
    return vmTarget(row);
  }

  decide(who: Principal, verb: Verb, target: Target): Decision {
    return decide(this.#compiled, who, verb, target);
  }

  can(who: Principal, verb: Verb, target: Target): boolean {
    return who.isRoot || this.decide(who, verb, target).allow;
  }

  /** Errors: acl.denied with the rule that is missing. */
  check(who: Principal, verb: Verb, target: Target, what = `${verb} ${renderTarget(target)}`): Decision {
    const decision = this.decide(who, verb, target);
    if (!decision.allow) throw denied(what, decision);
    return decision;
  }

  /**
   * A VM that somebody wants to do something to. One that he may not view is not there for him: the same work, the
   * same answer. Errors: vm.unknown with the nearest name that he may know, acl.denied.
   */
  checkVm(who: Principal, verb: Verb, name: string): Decision {
    const row = this.#o.store.findVm(name);
    const view = this.decide(who, 'view', row ? vmTarget(row) : { kind: 'vm', name });
    // Who reads his own log must not learn from it what he was not told.
    if (!view.allow || !row) throw unknownVm(name, this.#names(who), view.allow ? undefined : view);
    return this.check(who, verb, vmTarget(row), `${verb} ${name}`);
  }

  #names(who: Principal): string[] {
    return this.vms(who).map((row) => row.name);
  }

  scope(who: Principal, kind: Target['kind'], verb: Verb = 'view'): Scope {
    return scopeOf(this.#compiled, who, verb, kind);
  }

  /** VMs that a principal may view, by name: looks at those alone. */
  vms(who: Principal): readonly VmRow[] {
    const { store } = this.#o;
    const scope = this.scope(who, 'vm');
    if (scope.all) return store.listVms();
    const names = new Set(scope.names);
    if (scope.owner !== undefined) for (const name of store.vmsOf(scope.owner)) names.add(name);
    for (const tag of scope.tags) for (const name of store.vmsWith(tag)) names.add(name);
    return [...names].sort().flatMap((name) => store.findVm(name) ?? []);
  }

  canSeeVm(who: Principal, name: string): boolean {
    return who.isRoot || this.canDoVm(who, 'view', name);
  }

  /** Whether somebody may know of a VM, of `network/NAME`, of `jail/NAME`, or of the node, which has no name. */
  canSee(who: Principal, holder: string | undefined): boolean {
    if (who.isRoot) return true;
    if (holder === undefined || holder.startsWith('jail/')) return this.can(who, 'view', NODE);
    if (!holder.includes('/')) return this.canSeeVm(who, holder) || this.can(who, 'view', NODE);
    return this.can(who, 'view', { kind: 'network', name: holder.replace(/^[^/]*\//, '') });
  }

  canDoVm(who: Principal, verb: Verb, name: string): boolean {
    const row = this.#o.store.findVm(name);
    return row !== undefined && this.can(who, verb, vmTarget(row));
  }

  /** Principals of whom something is said: whoever owns a VM, too. */
  principals(): Set<string> {
    const named = this.#o.store.grants.list().map(({ principal }) => principal);
    return new Set([...named, ...this.#o.store.owners().map((owner) => `user:${owner}`)]);
  }

  #parse({ principal, role, object }: Asked): Asked {
    return { principal: parsePrincipal(principal), role: parseRole(role), object: parseObject(object) };
  }

  /**
   * True: it is a new rule, or root's own now. What its granter may not do is refused before anybody is looked up.
   * Errors: acl.invalid; vm.unknown, network.unknown; acl.denied for more than the granter has.
   */
  async grant(who: Principal, asked: Asked): Promise<{ readonly changed: boolean }> {
    const rule = this.#parse(asked);
    // Who may not hand it on learns of no user and no key whether it is here.
    this.#granter(who, rule);
    if (!(await this.#o.isKnown(rule.principal)))
      throw new BrigError('acl.invalid', `grant ${rule.role}: expected somebody of this node, got ${rule.principal}`, {
        hint: 'user:NAME and group:NAME are of this host, key:NAME is one of brig key list',
      });
    // Meanwhile he may have lost it, or the object be another's.
    const by = this.#granter(who, rule);
    const { store, events, now } = this.#o;
    const changed = store.grants.add({ ...rule, by, createdMs: now() });
    if (changed) events.add('access.granted', 'operator', undefined, { ...rule, by: who.id });
    return { changed };
  }

  /** In whose name a rule is made. Errors: vm.unknown, network.unknown; acl.denied; acl.invalid for one too many. */
  #granter(who: Principal, { role, object }: Asked): string {
    this.#refuseUnknown(who, object);
    const by = granterOf(this.#compiled, who, role, object, this.#find);
    if (by === undefined)
      throw denied(`grant ${role} on ${object}`, {
        allow: false,
        rule: `${who.id} may hand on what is its own, or what it administers, and no more than it has itself`,
      });
    if (by !== 'root' && this.#o.store.grants.count(by) >= LIMITS.grantsEach)
      throw new BrigError(
        'acl.invalid',
        `grant ${role}: expected at most ${LIMITS.grantsEach} rules of ${by}, got more`,
        {
          hint: 'brig revoke those that nobody needs, or grant to a group',
        },
      );
    return by;
  }

  /** A typo is a rule about nothing; what somebody may not view is not there for him. */
  #refuseUnknown(who: Principal, object: string): void {
    const name = object.slice(object.indexOf(':') + 1);
    if (object.startsWith('vm:') && name !== '*') this.checkVm(who, 'view', name);
    if (!object.startsWith('network:') || name === '*') return;
    const view = this.decide(who, 'view', { kind: 'network', name });
    if (!view.allow || !this.#find(object))
      throw new BrigError('network.unknown', `find network ${name}: no such network`, { cause: view });
  }

  /** Takes a rule back, and what was handed on by it. Errors: acl.invalid; vm.unknown, network.unknown; acl.denied. */
  revoke(who: Principal, asked: Asked): { readonly changed: boolean } {
    const rule = this.#parse(asked);
    const { store, events } = this.#o;
    const known = store.grants
      .list()
      .find(
        ({ principal, role, object }) => principal === rule.principal && role === rule.role && object === rule.object,
      );
    // What a group was given is not one member's to give back.
    const mayTake = known && (who.subjects.includes(known.by) || who.id === known.principal);
    if (!who.isRoot && !mayTake) this.#checkAdmin(who, rule.object, 'revoke');
    if (!known || !store.grants.remove(rule)) return { changed: false };
    this.#prune();
    events.add('access.revoked', 'operator', undefined, { ...rule, by: who.id });
    return { changed: true };
  }

  /** Errors: vm.unknown, network.unknown, acl.denied. */
  #checkAdmin(who: Principal, object: string, verb: string): void {
    this.#refuseUnknown(who, object);
    const target = this.#find(object) ?? NODE;
    const isHis = target.owner !== undefined && target.owner === who.owner;
    if (!isHis) this.check(who, 'admin', target, `${verb} on ${object}`);
  }

  /** Rules that concern a principal: about it, by it, or about what it owns or administers; all for an administrator. */
  list(who: Principal): GrantView[] {
    const concerns = ({ principal, by, object }: Grant): boolean => {
      if (who.subjects.includes(principal) || who.subjects.includes(by)) return true;
      const target = this.#find(object);
      const isHis = target?.owner !== undefined && target.owner === who.owner;
      return isHis || this.can(who, 'admin', target ?? NODE);
    };
    return this.#o.store.grants.list().filter((grant) => who.isRoot || concerns(grant));
  }

  /** Whether somebody may do something, and by which rule. Errors: acl.invalid; vm.unknown, network.unknown; acl.denied about others. */
  test(who: Principal, asked: { principal: string; verb: string; object: string }): Answer {
    const principal = parsePrincipal(asked.principal);
    const verb = VERBS.find((each) => each === asked.verb);
    if (!verb)
      throw new BrigError('acl.invalid', `test: expected a verb, got ${JSON.stringify(asked.verb.slice(0, 60))}`, {
        hint: `verbs are ${VERBS.join(', ')}`,
      });
    const object = parseObject(asked.object);
    if (who.subjects.includes(principal)) this.#refuseUnknown(who, object);
    else this.#checkAdmin(who, object, 'test');
    const target = this.#find(object) ?? anyOf(object);
    const whom = principal === who.id ? who : this.principal(principal);
    return { ...this.decide(whom, verb, target), verbs: verbsOf(rightsOf(this.#compiled, whom, target)) };
  }

  /** A principal of a name, as it would call from here; a key as from elsewhere. */
  principal(id: string): Principal {
    const user = id.startsWith('user:') ? id.slice('user:'.length) : undefined;
    if (user === undefined)
      return this.#o.keys?.principal(id, 'elsewhere') ?? { id, isRoot: false, subjects: [id], from: 'unix' };
    return { id, isRoot: false, subjects: [id, ...this.#o.groupsOf(user)], owner: user, from: 'unix' };
  }
}
