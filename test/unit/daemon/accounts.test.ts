import { expect, test } from 'vitest';
import { Accounts } from '../../../src/daemon/accounts.ts';

/** getent(1) of a host with other users than this one. */
const PASSWD = ['root:*:0:0::/:/bin/sh', 'ann:*:1001:1001::/:/bin/sh', 'bob:*:1002:1001::/:/bin/sh'];
const accountsOf = (passwd: readonly string[], group: readonly string[] = []): Accounts =>
  new Accounts({
    run: ({ args: [database, ...keys] }) => {
      const lines = database === 'passwd' ? passwd : group;
      const find = (key: string): string | undefined =>
        lines.find((line) => line.split(':')[0] === key || line.split(':')[2] === key);
      const found = keys.length === 0 ? lines : keys.map(find);
      // As FreeBSD's: nothing comes after one that is not there.
      const end = found.findIndex((line) => line === undefined);
      const told = end < 0 ? found : found.slice(0, end);
      const result = { stdout: told.map((line) => `${line}\n`).join(''), stderr: '', timedOut: false };
      return Promise.resolve({ status: end < 0 ? 0 : 2, ...result });
    },
    changedMs: () => Promise.resolve(1),
    now: () => 1,
  });

test('an owner that is called like a number is not the user who has it', async () => {
  const accounts = accountsOf(PASSWD);
  await accounts.refresh(new Set(['user:1001', 'user:bob', 'user:root']));
  expect(accounts.all()).toEqual([{ name: 'bob', uid: 1002, groups: [] }]);
});

test('one who is not there keeps nobody else out, wherever he stands', async () => {
  const accounts = accountsOf(PASSWD, ['ops:*:1001:gone,ann', 'staff:*:20:bob']);
  const names = ['user:gone', 'user:ann', 'user:lost', 'user:bob', 'group:none', 'group:ops', 'group:staff'];
  await accounts.refresh(new Set(names));
  expect(
    accounts
      .all()
      .map(({ name }) => name)
      .sort(),
  ).toEqual(['ann', 'bob']);
  expect(accounts.groupsOf('bob')).toContain('group:staff');
  expect([await accounts.isKnown('user', 'lost'), await accounts.isKnown('user', 'bob')]).toEqual([false, true]);
});

test('of two names of one number the first counts, whoever asks', async () => {
  const accounts = accountsOf([...PASSWD, 'anna:*:1001:1001::/:/bin/sh']);
  await accounts.refresh(new Set(['user:ann', 'user:anna']));
  expect([accounts.all(), accounts.find('anna')]).toEqual([[{ name: 'ann', uid: 1001, groups: [] }], undefined]);
});

test('a user is in the groups that list him, and in the one that is his first', async () => {
  const accounts = accountsOf(PASSWD, ['ops:*:1001:', 'staff:*:20:ann,bob', 'other:*:21:']);
  await accounts.refresh(new Set(['group:ops', 'group:staff']));
  expect([accounts.groupsOf('ann'), accounts.groupsOf('bob')]).toEqual([
    ['group:staff', 'group:ops'],
    ['group:staff', 'group:ops'],
  ]);
});
