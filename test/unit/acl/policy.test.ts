import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseObject, parsePrincipal } from '../../../src/acl/names.ts';
import { compile, decide, NODE, rightsOf, scopeOf, verbsOf, type Grant, type Target } from '../../../src/acl/policy.ts';
import { bitOf, parseRole, ROLES, VERBS, type Verb } from '../../../src/acl/roles.ts';
import { times } from '../../property.ts';

const rule = (principal: string, role: string, object: string): Grant => ({
  ...{ principal, role, object, by: 'root', createdMs: 0 },
});
const bob = { id: 'user:bob', isRoot: false, subjects: ['user:bob', 'group:ops'], owner: 'bob' };
const web: Target = { kind: 'vm', name: 'web', owner: 'alice', labels: { tier: 'a', constructor: 'x' } };
const image: Target = { kind: 'image', name: 'debian:13' };
const network: Target = { kind: 'network', name: 'lan' };

describe('a decision', () => {
  const rows: [string, Grant[], Verb, Target, boolean][] = [
    ['nothing is no', [], 'view', web, false],
    ['a rule of the very object', [rule('user:bob', 'viewer', 'vm:web')], 'view', web, true],
    ['a rule gives no more than its role', [rule('user:bob', 'viewer', 'vm:web')], 'power', web, false],
    ['any verb is a view, too', [rule('user:bob', 'console', 'vm:web')], 'view', web, true],
    ['of another object', [rule('user:bob', 'admin', 'vm:web2')], 'view', web, false],
    ['of an object of another kind', [rule('user:bob', 'admin', 'network:web')], 'view', web, false],
    ['of another principal', [rule('user:bo', 'admin', 'vm:web')], 'view', web, false],
    ['of a key with the name of a user', [rule('key:bob', 'admin', 'vm:web')], 'view', web, false],
    ['of a group', [rule('group:ops', 'operator', 'vm:web')], 'power', web, true],
    ['of all of a kind', [rule('user:bob', 'operator', 'vm:*')], 'power', web, true],
    ['of all of another kind', [rule('user:bob', 'operator', 'network:*')], 'view', web, false],
    ['of a label', [rule('user:bob', 'operator', 'tag:tier')], 'power', web, true],
    ['of its value', [rule('user:bob', 'operator', 'tag:tier=a')], 'power', web, true],
    ['of another value', [rule('user:bob', 'operator', 'tag:tier=b')], 'view', web, false],
    ['of a part of its value', [rule('user:bob', 'operator', 'tag:tier=')], 'view', web, false],
    ['of a label that is no property', [rule('user:bob', 'viewer', 'tag:toString')], 'view', web, false],
    [
      'of a label that every object has as a property',
      [rule('user:bob', 'viewer', 'tag:constructor')],
      'view',
      web,
      true,
    ],
    ['of the node', [rule('user:bob', 'operator', 'node')], 'power', web, true],
    ['create on the node is nothing on what is there', [rule('user:bob', 'create', 'node')], 'view', web, false],
    ['... nor create on it', [rule('user:bob', 'owner', 'node')], 'create', web, false],
    ['... but admin on the node is all of it', [rule('user:bob', 'admin', 'node')], 'create', web, true],
    ['... and lets make things', [rule('user:bob', 'create', 'node')], 'create', NODE, true],
    ['a VM’s rule is none of the node', [rule('user:bob', 'admin', 'vm:*')], 'view', NODE, false],
    ['an image by its name', [rule('user:bob', 'image', 'image:debian')], 'image', image, true],
    ['... by its version', [rule('user:bob', 'image', 'image:debian:13')], 'image', image, true],
    ['... by another', [rule('user:bob', 'image', 'image:debian:1')], 'view', image, false],
    ['a network', [rule('user:bob', 'network', 'network:lan')], 'network', network, true],
    ['a role that is none', [rule('user:bob', 'toString', 'vm:web')], 'view', web, false],
    ['a role of nothing', [rule('user:bob', '', 'vm:web')], 'view', web, false],
  ];
  test.each(rows)('%s', (_, grants, verb, target, allow) => {
    const decision = decide(compile(grants), bob, verb, target);
    expect(decision.allow).toBe(allow);
    expect(decision.rule).toMatch(allow ? /^(\S+) on \S+ to (user:bob|group:ops)$/ : /^nothing gives user:bob/);
  });

  test('an owner has what is his but admin, and who owns nothing owns no ownerless VM', () => {
    const none = compile([]);
    const alice = { id: 'user:alice', isRoot: false, subjects: ['user:alice'], owner: 'alice' };
    expect(verbsOf(rightsOf(none, alice, web))).toEqual(VERBS.filter((verb) => verb !== 'admin'));
    const nobody = { id: 'key:lone', isRoot: false, subjects: ['key:lone'] };
    const ownerless: Target = { kind: 'vm', name: 'web' };
    expect(rightsOf(none, nobody, ownerless)).toBe(0);
    expect(decide(none, nobody, 'view', ownerless).allow).toBe(false);
    expect(rightsOf(none, { ...alice, owner: 'Alice' }, web)).toBe(0);
  });
});

const NAMES = ['web', 'db', 'constructor', 'x'];
const SUBJECTS = ['user:bob', 'group:ops', 'key:bob', 'user:__proto__', 'group:constructor'];
const OBJECTS = [
  ...NAMES.flatMap((name) => [`vm:${name}`, `network:${name}`, `template:${name}`, `image:${name}`, `image:${name}:1`]),
  ...['vm:*', 'network:*', 'image:*', 'template:*', 'node', 'tag:tier', 'tag:tier=a', 'tag:constructor', 'tag:tier='],
];
const roles = fc.oneof(
  fc.constantFrom(...Object.keys(ROLES)),
  fc.uniqueArray(fc.constantFrom(...VERBS), { minLength: 1, maxLength: 4 }).map((verbs) => parseRole(verbs.join(','))),
);
const grants = fc.array(
  fc
    .record({ principal: fc.constantFrom(...SUBJECTS), role: roles, object: fc.constantFrom(...OBJECTS) })
    .map((each) => ({
      ...{ ...each, by: 'root', createdMs: 0 },
    })),
  { maxLength: 12 },
);
const labels = fc.dictionary(fc.constantFrom('tier', 'constructor', 'toString'), fc.constantFrom('a', '', 'b=c'));
const targets: fc.Arbitrary<Target> = fc
  .record({
    kind: fc.constantFrom('vm', 'network', 'image', 'template'),
    name: fc.constantFrom(...NAMES),
    owner: fc.constantFrom('bob', '__proto__', undefined),
    labels,
  })
  .map(({ kind, name, owner, labels: own }) => ({
    kind,
    name: kind === 'image' ? `${name}:1` : name,
    ...(kind === 'vm' ? { labels: own, ...(owner === undefined ? {} : { owner }) } : {}),
  }));
const whos = fc
  .record({
    subjects: fc.uniqueArray(fc.constantFrom(...SUBJECTS)),
    owner: fc.constantFrom('bob', '__proto__', undefined),
  })
  .map(({ subjects, owner }) => ({ id: 'user:x', isRoot: false, subjects, ...(owner === undefined ? {} : { owner }) }));
const verbs = fc.constantFrom(...VERBS);

describe('whatever the rules are', () => {
  test('rightsOf holds the verbs that decide allows, and no others', () => {
    fc.assert(
      fc.property(grants, whos, fc.oneof(targets, fc.constant(NODE)), verbs, (rules, who, target, verb) => {
        const policy = compile(rules);
        expect((rightsOf(policy, who, target) & bitOf(verb)) !== 0).toBe(decide(policy, who, verb, target).allow);
      }),
      times(200),
    );
  });

  test('scopeOf finds the objects that decide allows, and no others', () => {
    const isIn = (scope: ReturnType<typeof scopeOf>, { kind, name, owner, labels: own = {} }: Target): boolean =>
      scope.all ||
      (scope.owner !== undefined && scope.owner === owner) ||
      scope.names.some((each) => each === name || (kind === 'image' && name.startsWith(`${each}:`))) ||
      Object.entries(own).some(([key, value]) => scope.tags.some((tag) => tag === key || tag === `${key}=${value}`));
    fc.assert(
      fc.property(grants, whos, targets, verbs, (rules, who, target, verb) => {
        const policy = compile(rules);
        expect(isIn(scopeOf(policy, who, verb, target.kind), target)).toBe(decide(policy, who, verb, target).allow);
      }),
      times(200),
    );
  });

  test('a rule more takes nothing away', () => {
    fc.assert(
      fc.property(grants, grants, whos, targets, (some, more, who, target) => {
        const before = rightsOf(compile(some), who, target);
        expect(rightsOf(compile([...some, ...more]), who, target) & before).toBe(before);
      }),
      times(200),
    );
  });
});

describe('names', () => {
  test.each([
    ['alice', 'user:alice'],
    ['user:__proto__', 'user:__proto__'],
    ['group:ops', 'group:ops'],
    ['key:a.b-c', 'key:a.b-c'],
  ])('of a principal %j are kept as %j', (text, kept) => expect(parsePrincipal(text)).toBe(kept));

  test.each([
    ...[
      '',
      'root',
      'user:root',
      'user:',
      'user:al ice',
      'user:alice:bob',
      'constructor:x',
      '__proto__:x',
      'user:älice',
    ],
    ...[
      'user:alice\n',
      'user:../x',
      'user:-x',
      'key:K',
      'key:',
      'USER:alice',
      'user:ａlice',
      'group:ops\u0000',
      '*',
      'user:*',
    ],
    `user:${'a'.repeat(33)}`,
  ])('that are none of a principal: %j', (text) => expect(() => parsePrincipal(text)).toThrow(/^read principal: /));

  test.each([
    ...[
      '',
      'VM:web',
      'vm:',
      'vm:Web',
      'vm:we*',
      'vm:**',
      'vm:web\n',
      'vm:../x',
      'tag:',
      'tag:=a',
      'tag:a=\n',
      'tag:*',
      'Node',
    ],
    ...[
      'node:',
      'node:x',
      'constructor:x',
      '__proto__:x',
      'image:a:b:c',
      'template:1',
      'network:wеb',
      'vm:web vm:db',
      'vm:%2a',
    ],
  ])('that are none of an object: %j', (text) => expect(() => parseObject(text)).toThrow(/^read object: /));

  test.each(['', ',', 'view,', 'View', 'viewer,view', '__proto__', 'constructor', 'toString', 'view view', 'admin\n'])(
    'that are no role: %j',
    (text) => expect(() => parseRole(text)).toThrow(/^read role: /),
  );

  test('of verbs are kept in one order, each once', () =>
    expect(parseRole('console,view,console')).toBe('view,console'));

  test('of any text are understood in one way or not at all', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
        for (const parse of [parsePrincipal, parseObject, parseRole]) {
          let kept: string;
          try {
            kept = parse(text);
          } catch (error) {
            expect(error).toMatchObject({ code: 'acl.invalid' });
            continue;
          }
          expect(parse(kept)).toBe(kept);
        }
      }),
      times(200),
    );
  });
});
