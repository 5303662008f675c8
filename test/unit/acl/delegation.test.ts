import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { principalOf } from '../../../src/acl/authenticator.ts';
import { granterOf, justified } from '../../../src/acl/delegation.ts';
import { compile, NODE, rightsOf, verbsOf, type Grant, type Target } from '../../../src/acl/policy.ts';
import { ROOT, type Principal } from '../../../src/acl/principal.ts';
import { bitOf, maskOf, parseRole, ROLES, VERBS } from '../../../src/acl/roles.ts';
import { BrigError } from '../../../src/base/errors.ts';
import { Access } from '../../../src/engine/access.ts';
import { EventLog } from '../../../src/engine/events.ts';
import { parseVm } from '../../../src/spec/vm.ts';
import { Store } from '../../../src/store/store.ts';
import { times } from '../../property.ts';

/** Names that are properties of every object are names like others. */
const VMS = ['web', 'db', 'constructor'] as const;
const OWNERS = ['alice', 'bob', '__proto__', undefined] as const;
const LABELS: readonly Readonly<Record<string, string>>[] = [{}, { tier: 'a' }, { constructor: 'x', tier: 'b' }];
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  alice: ['group:ops'],
  bob: ['group:ops', 'group:constructor'],
  carol: ['group:constructor'],
};
const groupsOf = (user: string): readonly string[] => (Object.hasOwn(GROUPS, user) ? (GROUPS[user] ?? []) : []);
const userOf = (name: string): Principal => ({
  ...{ id: `user:${name}`, isRoot: false, subjects: [`user:${name}`, ...groupsOf(name)], owner: name, from: 'unix' },
});
const WHO: readonly Principal[] = [
  ...['alice', 'bob', 'carol', '__proto__'].map(userOf),
  principalOf({ name: 'constructor', owner: 'alice' }, 'elsewhere'),
  principalOf({ name: 'alice', owner: undefined }, 'elsewhere'),
];
const PRINCIPALS = ['user:alice', 'user:bob', 'user:carol', 'user:__proto__', 'group:ops', 'group:constructor'];
const KEYS = ['key:constructor', 'key:alice'];
const OBJECTS = [
  ...VMS.map((name) => `vm:${name}`),
  ...['vm:*', 'network:lan', 'network:*', 'image:debian', 'image:debian:13', 'template:small', 'node'],
  ...['tag:tier', 'tag:tier=a', 'tag:constructor'],
];

const dir = mkdtempSync(join(tmpdir(), 'brig-delegation-'));
const store = new Store(join(dir, 'brig.db'));
const options = {
  ...{ store, events: new EventLog(store, () => 0), now: () => 0, groupsOf },
  ...{ hasNetwork: (name: string) => name === 'lan', isKnown: () => Promise.resolve(true) },
};
afterAll(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

const make = (name: string, owner: string | undefined, labels: Readonly<Record<string, string>>): void => {
  const document = { name, labels, firmware: { builtin: 'test' }, ...(owner === undefined ? {} : { owner }) };
  store.addVm(parseVm(document), 0);
};
const clean = (): void => {
  for (const { name } of [...store.listVms()]) store.removeVm(name);
  for (const grant of store.grants.list()) store.grants.remove(grant);
};
beforeEach(clean);

/** Everything that there is to have rights on, as it is now. */
const targetsOf = (access: Access): Target[] => [
  ...store.listVms().map((row) => access.targetOf(row)),
  ...['lan', 'wan'].map((name): Target => ({ kind: 'network', name })),
  ...['debian:13', 'debian:12'].map((name): Target => ({ kind: 'image', name })),
  ...[{ kind: 'template', name: 'small' } as const, NODE],
];
const maskFor = (access: Access, who: Principal, target: Target): number =>
  VERBS.reduce((mask, verb) => (access.can(who, verb, target) ? mask | bitOf(verb) : mask), 0);

type Rights = ReadonlyMap<string, number>;
const nameOf = ({ kind, name }: Target): string => `${kind}:${name}`;
const allRights = (access: Access): Rights =>
  new Map(
    targetsOf(access).flatMap((target) =>
      WHO.map((who): [string, number] => [`${who.id} on ${nameOf(target)}`, maskFor(access, who, target)]),
    ),
  );

/** What nobody's rights may exceed, however rules came about: an owner's own, and what root itself said of this object. */
const most = (target: Target): number => {
  const of = (object: string): Grant[] =>
    store.grants.list().filter((each) => each.by === 'root' && each.object === object);
  const calls = [
    `${target.kind}:${target.name}`,
    `${target.kind}:*`,
    `image:${target.name.split(':')[0] ?? ''}`,
    'node',
  ];
  const tags = Object.entries(target.labels ?? {}).flatMap(([key, value]) => [`tag:${key}`, `tag:${key}=${value}`]);
  const rules = (target.kind === 'node' ? ['node'] : [...calls, ...tags]).flatMap(of);
  return rules.reduce((mask, { role }) => mask | maskOf(role), target.owner === undefined ? 0 : maskOf('owner'));
};

type Op =
  | {
      readonly op: 'grant' | 'revoke';
      readonly who: Principal;
      readonly principal: string;
      readonly role: string;
      readonly object: string;
    }
  | {
      readonly op: 'renew';
      readonly name: string;
      readonly owner: (typeof OWNERS)[number];
      readonly labels: (typeof LABELS)[number];
    };

const roles = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...Object.keys(ROLES)) },
  fc.uniqueArray(fc.constantFrom(...VERBS), { minLength: 1, maxLength: 3 }).map((verbs) => parseRole(verbs.join(','))),
);
const subjects = fc.constantFrom(...PRINCIPALS, ...KEYS);
const asked = { principal: subjects, role: roles, object: fc.constantFrom(...OBJECTS) };
const vm = { owner: fc.constantFrom(...OWNERS), labels: fc.constantFrom(...LABELS) };
const ops: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('grant' as const), who: fc.constantFrom(...WHO), ...asked }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('revoke' as const), who: fc.constantFrom(...WHO, ROOT), ...asked }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('renew' as const), name: fc.constantFrom(...VMS), ...vm }) },
);
const worlds = fc.record({
  vms: fc.tuple(...VMS.map(() => fc.option(fc.record(vm), { nil: undefined, freq: 5 }))),
  rules: fc.array(fc.record(asked), { maxLength: 6 }),
  ops: fc.array(ops, { minLength: 1, maxLength: 14 }),
});

/** What is refused changes nothing; every refusal is one of ours. */
const attempt = async (work: () => unknown): Promise<void> => {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof BrigError)) throw error;
  }
};

const expectWithin = (after: Rights, before: Rights, also: (key: string) => number): void => {
  for (const [key, mask] of after) {
    const more = mask & ~(before.get(key) ?? 0) & ~also(key);
    expect(verbsOf(more), `${key} has more than its granter`).toEqual([]);
  }
};

const step = async (access: Access, op: Op): Promise<void> => {
  const before = allRights(access);
  if (op.op === 'renew') {
    store.removeVm(op.name);
    make(op.name, op.owner, op.labels);
    expect(store.grants.list().filter(({ object }) => object === `vm:${op.name}`)).toEqual([]);
    const target = targetsOf(access).find((each) => each.kind === 'vm' && each.name === op.name) as Target;
    const wide = compile(justified(store.grants.list(), () => undefined));
    for (const who of WHO) expect(maskFor(access, who, target)).toBe(rightsOf(wide, who, target));
    return;
  }
  const { who } = op;
  if (op.op === 'grant') {
    await attempt(() => access.grant(who, op));
    expectWithin(allRights(access), before, (key) => before.get(`${who.id}${key.slice(key.indexOf(' on '))}`) ?? 0);
    return;
  }
  const rules = store.grants.list();
  await attempt(() => access.revoke(who, op));
  expectWithin(allRights(access), before, () => 0);
  const gone = rules.filter(
    (each) => !store.grants.list().some((left) => JSON.stringify(left) === JSON.stringify(each)),
  );
  const mine = gone.find(
    ({ principal, role, object }) => principal === op.principal && role === op.role && object === op.object,
  );
  if (gone.length > 0) expect(mine, 'another rule than the one that was named is gone').toBeDefined();
};

const checkAlways = (access: Access): void => {
  for (const target of targetsOf(access))
    for (const who of WHO)
      expect(verbsOf(maskFor(access, who, target) & ~most(target)), `${who.id} on ${nameOf(target)}`).toEqual([]);
  // Each rule that is kept is within what its granter alone has now.
  const rules = store.grants.list();
  const policy = compile(rules);
  for (const { by, role, object } of rules.filter((each) => each.by !== 'root')) {
    const target = targetsOf(access).find((each) => nameOf(each) === object) ?? NODE;
    const owner = by.startsWith('user:') ? { owner: by.slice('user:'.length) } : {};
    const rights = rightsOf(
      policy,
      { id: by, isRoot: false, subjects: [by], ...owner },
      object.startsWith('image:') ? { kind: 'image', name: object.slice('image:'.length) } : target,
    );
    expect(verbsOf(maskOf(role) & ~rights), `${role} on ${object} by ${by}`).toEqual([]);
  }
};

describe('whatever people who are not root hand on to each other', () => {
  test('nobody gets more than his granter has, and what a granter loses everybody loses', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async (world) => {
        clean();
        const access = new Access(options);
        world.vms.forEach((each, i) => each && make(VMS[i] ?? '', each.owner, each.labels));
        for (const rule of world.rules) await attempt(() => access.grant(ROOT, rule));
        checkAlways(access);
        for (const op of world.ops) {
          await step(access, op);
          checkAlways(access);
        }
        // As the next brigd sees it.
        const [now, next] = [allRights(access), new Access(options)];
        next.open();
        expect([...allRights(next)]).toEqual([...now]);
        for (const { principal, role, object } of store.grants.list().filter(({ by }) => by === 'root'))
          access.revoke(ROOT, { principal, role, object });
        for (const target of targetsOf(access))
          for (const who of WHO) {
            const isShared = target.owner !== undefined;
            if (!isShared) expect(verbsOf(maskFor(access, who, target)), `${who.id} on ${nameOf(target)}`).toEqual([]);
            expect(maskFor(access, who, target) & bitOf('admin')).toBe(0);
          }
      }),
      times(40),
    );
  }, 60_000);
});

const [alice, bob, carol] = ['alice', 'bob', 'carol'].map(userOf) as [Principal, Principal, Principal];
const rule = (
  principal: string,
  role: string,
  object: string,
): { principal: string; role: string; object: string } => ({
  ...{ principal, role, object },
});

describe('rules', () => {
  test('that root makes, too, are root’s and stay when who handed them on loses them', async () => {
    make('web', 'alice', {});
    const access = new Access(options);
    await access.grant(alice, rule('user:bob', 'operator', 'vm:web'));
    expect(await access.grant(ROOT, rule('user:bob', 'operator', 'vm:web'))).toEqual({ changed: true });
    expect(store.grants.list()).toMatchObject([{ by: 'root' }]);
    expect(await access.grant(alice, rule('user:bob', 'operator', 'vm:web'))).toEqual({ changed: false });
    expect(store.grants.list()).toMatchObject([{ by: 'root' }]);
  });

  test('for a group are not one member’s to give up, and those for himself are', async () => {
    make('web', 'carol', {});
    const access = new Access(options);
    for (const principal of ['group:ops', 'user:alice']) await access.grant(ROOT, rule(principal, 'viewer', 'vm:web'));
    expect(() => access.revoke(alice, rule('group:ops', 'viewer', 'vm:web'))).toThrow(/revoke on vm:web: denied/);
    expect(access.revoke(alice, rule('user:alice', 'viewer', 'vm:web'))).toEqual({ changed: true });
  });

  test('are about what is there for their maker alone: none tells what is not', async () => {
    make('web', 'alice', {});
    const access = new Access(options);
    const said = async (work: () => unknown): Promise<string> => {
      try {
        await work();
        return 'done';
      } catch (error) {
        const { code, message, hint } = error as BrigError;
        return JSON.stringify([code, message, hint]).replaceAll(/\b(wxb|lxn)\b/g, (text) =>
          text.replace('x', text === 'wxb' ? 'e' : 'a'),
        );
      }
    };
    for (const [real, none] of [
      ['vm:web', 'vm:wxb'],
      ['network:lan', 'network:lxn'],
    ] as const)
      for (const ask of [
        (object: string) => access.grant(bob, rule('user:carol', 'view', object)),
        (object: string) => access.grant(bob, rule('user:bob', 'admin', object)),
        (object: string) => access.revoke(bob, rule('user:carol', 'view', object)),
        (object: string) => access.test(bob, { principal: 'user:bob', verb: 'view', object }),
        (object: string) => access.test(bob, { principal: 'user:alice', verb: 'view', object }),
        (object: string) => access.test(bob, { principal: 'group:ops', verb: 'admin', object }),
      ]) {
        const [of, ofNone] = [await said(() => ask(real)), await said(() => ask(none))];
        expect(of).toBe(ofNone);
        expect(of).toMatch(/\.unknown/);
      }
  });

  test('of one who is still looked up when the VM is another’s are refused', async () => {
    make('web', 'alice', {});
    const slow = new Access({
      ...options,
      isKnown: () => {
        store.removeVm('web');
        make('web', 'carol', {});
        return Promise.resolve(true);
      },
    });
    await expect(slow.grant(alice, rule('user:bob', 'view', 'vm:web'))).rejects.toMatchObject({ code: 'vm.unknown' });
    expect(store.grants.list()).toEqual([]);
  });

  test('that are refused look nobody up', async () => {
    make('web', 'alice', {});
    let asked = 0;
    const access = new Access({ ...options, isKnown: () => Promise.resolve((asked++, true)) });
    await expect(access.grant(bob, rule('user:carol', 'view', 'vm:web'))).rejects.toMatchObject({ code: 'vm.unknown' });
    await expect(access.grant(bob, rule('user:carol', 'view', 'node'))).rejects.toMatchObject({ code: 'acl.denied' });
    expect(asked).toBe(0);
  });

  test('of a principal with a key and an owner are made in the name of the one who may', () => {
    const find = (object: string): Target => ({ kind: 'vm', name: object.slice(3), owner: 'alice' });
    const key = principalOf({ name: 'laptop', owner: 'alice' }, 'x');
    expect(granterOf(compile([]), key, 'viewer', 'vm:web', find)).toBe('user:alice');
    expect(granterOf(compile([]), key, 'admin', 'vm:web', find)).toBeUndefined();
    expect(granterOf(compile([]), carol, 'viewer', 'vm:web', find)).toBeUndefined();
    expect(granterOf(compile([]), key, 'viewer', 'vm:*', find)).toBeUndefined();
    expect(granterOf(compile([]), key, 'viewer', 'tag:tier', find)).toBeUndefined();
  });

  test('that hold each other up hold nothing', () => {
    const by = (principal: string, granter: string): Grant => ({
      ...{ principal, role: 'admin', object: 'vm:web', by: granter, createdMs: 0 },
    });
    const circle = [by('user:alice', 'user:bob'), by('user:bob', 'user:alice')];
    expect(justified(circle, () => ({ kind: 'vm', name: 'web' }))).toEqual([]);
  });
});
