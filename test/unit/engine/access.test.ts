import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ROOT, type Principal } from '../../../src/acl/principal.ts';
import { LIMITS } from '../../../src/base/limits.ts';
import { Access } from '../../../src/engine/access.ts';
import { EventLog } from '../../../src/engine/events.ts';
import { parseVm } from '../../../src/spec/vm.ts';
import { Store } from '../../../src/store/store.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-access-'));
const GROUPS: Readonly<Record<string, readonly string[]>> = { ann: ['group:ops'], bob: ['group:ops'] };
let store: Store;
let access: Access;
let asked: string[];
let onKnown: () => void;
/** Keys by what became of them. */
let keys: Map<string, 'valid' | 'expired' | 'revoked'>;
let changes: number;
const become = (id: string, state: 'valid' | 'expired' | 'revoked'): void => {
  changes++;
  keys.set(id, state);
};

beforeEach(() => {
  store = new Store(join(dir, 'brig.db'));
  [asked, onKnown, changes] = [[], () => undefined, 0];
  keys = new Map();
  access = new Access({
    ...{ store, events: new EventLog(store, () => 1), now: () => 1 },
    hasNetwork: (name) => ['lan', 'hidden'].includes(name),
    groupsOf: (user) => GROUPS[user] ?? [],
    keys: {
      get version() {
        return changes;
      },
      principal: (id, from) => (keys.get(id) === 'valid' ? { id, isRoot: false, subjects: [id], from } : undefined),
      isRevoked: (id) => keys.get(id) === 'revoked',
    },
    isKnown: (principal) => {
      asked.push(principal);
      onKnown();
      return Promise.resolve(true);
    },
  });
});
afterEach(() => {
  store.close();
  rmSync(join(dir, 'brig.db'));
});

const user = (name: string): Principal => access.principal(`user:${name}`);
const addVm = (name: string, owner: string) =>
  store.addVm(parseVm({ name, owner, firmware: { builtin: 'test' }, memory: '64M' }), 1);
const rule = (principal: string, role: string, object: string) => ({ principal, role, object });

test('what a group was given, no member takes from the others', async () => {
  addVm('web', 'carl');
  await access.grant(ROOT, rule('group:ops', 'operator', 'vm:web'));
  expect(() => access.revoke(user('ann'), rule('group:ops', 'operator', 'vm:web'))).toThrow(/denied/);
  expect(access.canDoVm(user('bob'), 'power', 'web')).toBe(true);
});

test('what somebody was given himself, he may give back', async () => {
  addVm('web', 'carl');
  await access.grant(ROOT, rule('user:ann', 'view', 'vm:web'));
  expect(access.revoke(user('ann'), rule('user:ann', 'view', 'vm:web'))).toEqual({ changed: true });
});

test('who may not hand something on learns of nobody whether he is known', async () => {
  addVm('web', 'carl');
  await access.grant(ROOT, rule('user:ann', 'view', 'vm:web'));
  asked = [];
  await expect(access.grant(user('ann'), rule('key:theirs', 'view', 'vm:web'))).rejects.toMatchObject({
    code: 'acl.denied',
  });
  expect(asked).toEqual([]);
});

test('who lost a VM while it was asked whom he means hands on nothing of the next one', async () => {
  addVm('web', 'ann');
  onKnown = () => {
    store.removeVm('web');
    addVm('web', 'carl');
  };
  await expect(access.grant(user('ann'), rule('user:bob', 'operator', 'vm:web'))).rejects.toMatchObject({
    code: 'vm.unknown',
  });
  expect(access.list(ROOT)).toEqual([]);
});

test('a network that somebody may not view is none for him', async () => {
  const answers = ['hidden', 'nowhere'].map((name) => {
    try {
      return access.revoke(user('ann'), rule('user:bob', 'view', `network:${name}`));
    } catch (error) {
      return (error as Error).message.replace(name, 'NET');
    }
  });
  expect(answers).toEqual(['find network NET: no such network', 'find network NET: no such network']);
  await expect(access.grant(ROOT, rule('user:bob', 'view', 'network:hidden'))).resolves.toEqual({ changed: true });
});

test('an administrator sees the rules about VMs of others, and an owner those about his own', async () => {
  addVm('web', 'carl');
  await access.grant(user('carl'), rule('user:bob', 'view', 'vm:web'));
  for (const object of ['node', 'vm:web']) {
    await access.grant(ROOT, rule('user:ann', 'admin', object));
    expect(access.list(user('ann')).map(({ principal }) => principal)).toContain('user:bob');
    access.revoke(ROOT, rule('user:ann', 'admin', object));
  }
  expect(access.list(user('carl'))).toHaveLength(1);
  expect(access.list(user('ann'))).toEqual([]);
});

test('a test of all VMs, or of all with a label, says what rules give on all of them', async () => {
  const may = (object: string): boolean => access.test(ROOT, { principal: 'user:ann', verb: 'power', object }).allow;
  const wide = ['vm:*', 'tag:tier', 'tag:tier=db', 'network:*', 'node'];
  for (const [given, also] of [
    ['vm:*', ['tag:tier', 'tag:tier=db']],
    ['tag:tier', ['tag:tier=db']],
    ['tag:tier=db', []],
    ['network:*', []],
    ['node', wide],
  ] as const) {
    await access.grant(ROOT, rule('user:ann', 'operator', given));
    expect([given, wide.filter(may)]).toEqual([
      given,
      wide.filter((each) => each === given || also.some((one) => one === each)),
    ]);
    access.revoke(ROOT, rule('user:ann', 'operator', given));
  }
  expect(access.test(ROOT, { principal: 'user:ann', verb: 'power', object: 'tag:tier' }).rule).toBe(
    'nothing gives user:ann power on tag:tier',
  );
});

const handOn = async (): Promise<Principal> => {
  addVm('web', 'carl');
  become('key:ci', 'valid');
  await access.grant(ROOT, rule('key:ci', 'admin', 'vm:web'));
  await access.grant(access.principal('key:ci'), rule('user:bob', 'admin', 'vm:web'));
  await access.grant(user('bob'), rule('user:ann', 'power', 'vm:web'));
  expect(access.canDoVm(user('ann'), 'power', 'web')).toBe(true);
  return user('ann');
};
const isAllowed = (principal: string): boolean =>
  access.test(ROOT, { principal, verb: 'power', object: 'vm:web' }).allow;

test.each(['withdraw', 'open'] as const)('of a key that was revoked nothing stays: %s', async (what) => {
  const ann = await handOn();
  become('key:ci', 'revoked');
  access[what]();
  expect(store.grants.list()).toEqual([]);
  expect([isAllowed('key:ci'), access.canSeeVm(ann, 'web'), access.canSeeVm(user('bob'), 'web')]).toEqual([
    false,
    false,
    false,
  ]);
});

test('a key that has expired has its own rules again when it counts again, and nothing that it handed on', async () => {
  await handOn();
  become('key:ci', 'expired');
  expect(['key:ci', 'user:bob', 'user:ann'].map(isAllowed)).toEqual([false, false, false]);
  access.withdraw();
  expect(store.grants.list()).toMatchObject([{ principal: 'key:ci', by: 'root' }]);
  become('key:ci', 'valid');
  expect(['key:ci', 'user:bob', 'user:ann'].map(isAllowed)).toEqual([true, false, false]);
});

test('an owner makes so many rules, and root more', async () => {
  addVm('web', 'ann');
  const grant = (who: Principal, i: number) => access.grant(who, rule(`user:u${i}`, 'view', 'vm:web'));
  for (let i = 1; i < LIMITS.grantsEach; i++)
    store.grants.add({ ...rule(`user:u${i}`, 'view', 'vm:web'), by: 'user:ann', createdMs: 1 });
  await grant(user('ann'), 0);
  await expect(grant(user('ann'), 9_999)).rejects.toMatchObject({ code: 'acl.invalid' });
  await expect(grant(ROOT, 9_999)).resolves.toEqual({ changed: true });
});
