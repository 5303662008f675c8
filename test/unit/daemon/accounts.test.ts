import { expect, test } from 'vitest';
import { Accounts } from '../../../src/daemon/accounts.ts';

/** getent(1) of a host with other users than this one. */
const PASSWD = ['root:*:0:0::/:/bin/sh', 'ann:*:1001:1001::/:/bin/sh', 'bob:*:1002:1001::/:/bin/sh'];
const accountsOf = (passwd: readonly string[], group: readonly string[] = []): Accounts =>
  new Accounts({
    run: ({ args: [database, ...keys] }) => {
      const lines = database === 'passwd' ? passwd : group;
      const found = lines.filter((line) => {
        const [name = '', , id = ''] = line.split(':');
        return keys.length === 0 || keys.includes(name) || keys.includes(id);
      });
      return Promise.resolve({ status: 0, stdout: `${found.join('\n')}\n`, stderr: '', timedOut: false });
    },
    changedMs: () => Promise.resolve(1),
    now: () => 1,
  });

test('an owner that is called like a number is not the user who has it', async () => {
  const accounts = accountsOf(PASSWD);
  await accounts.refresh(new Set(['user:1001', 'user:bob', 'user:root']));
  expect(accounts.all()).toEqual([{ name: 'bob', uid: 1002, groups: [] }]);
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
