import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { signerOf } from '../../../src/acl/ed25519.ts';
import { renderPublicHalf, renderSecretKey } from '../../../src/acl/keys.ts';
import { ROOT, type Principal } from '../../../src/acl/principal.ts';
import { listKeys, putKey, revokeKey } from '../../../src/api/keys.ts';
import { messageOf } from '../../../src/base/errors.ts';
import { Keys } from '../../../src/engine/keys.ts';
import { Store } from '../../../src/store/store.ts';

const T = 1_800_000_000_000;
const seed = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const line = (n: number): string => renderPublicHalf(signerOf(seed(n)).publicBytes);
const id = (n: number): string => signerOf(seed(n)).id;
const alice: Principal = { id: 'user:alice', isRoot: false, subjects: ['user:alice'], owner: 'alice', from: 'unix' };

let dir: string;
let store: Store;
let nowMs: number;
let keys: Keys;
const restart = (): void => {
  store.close();
  store = new Store(join(dir, 'brig.db'));
  keys = new Keys({ store, now: () => nowMs });
};
beforeEach(() => {
  nowMs = T;
  dir = mkdtempSync(join(tmpdir(), 'brig-keys-'));
  store = new Store(join(dir, 'brig.db'));
  keys = new Keys({ store, now: () => nowMs });
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

const reason = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return messageOf(error);
  }
  return 'done';
};

test('a key is added, found by its fingerprint, listed by name, and is there after a restart', () => {
  putKey(keys, 'work', { public: line(2) }, ROOT);
  putKey(keys, 'laptop', { public: line(1), owner: 'alice', expiresMs: T + 1000 }, ROOT);
  const check = (): void => {
    expect(listKeys(keys).map(({ name, owner, by, state }) => [name, owner, by, state])).toEqual([
      ['laptop', 'alice', 'root', 'valid'],
      ['work', undefined, 'root', 'valid'],
    ]);
    expect(keys.find(id(1))).toMatchObject({ name: 'laptop', owner: 'alice', expiresMs: T + 1000 });
    expect(keys.find(id(3))).toBeUndefined();
    const message = Buffer.from('m');
    expect(keys.find(id(2))?.verify(message, signerOf(seed(2)).sign(message))).toBe(true);
  };
  check();
  restart();
  check();
});

test('a key without an owner is of who adds it, and his own are what he is shown', () => {
  putKey(keys, 'mine', { public: line(1) }, alice);
  putKey(keys, 'other', { public: line(2), owner: 'bob' }, ROOT);
  expect(keys.get('mine')).toMatchObject({ owner: 'alice', by: 'user:alice' });
  expect(keys.principal('key:mine', '::1')).toMatchObject({ id: 'key:mine', owner: 'alice', from: '::1' });
  expect(listKeys(keys, 'alice').map(({ name }) => name)).toEqual(['mine']);
});

test('no key has root’s rights', () => {
  expect(reason(() => putKey(keys, 'k', { public: line(1), owner: 'root' }, ROOT))).toContain('other than root');
  expect(reason(() => putKey(keys, 'k', { public: line(1) }, { ...ROOT, owner: 'root' }))).toContain('than root');
  expect(keys.list()).toEqual([]);
});

test('a revoked key is told of at once, stays listed, and is never added again, by no name and after no restart', () => {
  const told: string[] = [];
  keys.onRevoked((principal) => told.push(principal));
  putKey(keys, 'laptop', { public: line(1) }, ROOT);
  expect(revokeKey(keys, id(1))).toMatchObject({ name: 'laptop', state: 'revoked', revokedMs: T });
  expect(told).toEqual(['key:laptop']);
  expect(keys.principal('key:laptop', '-')).toBeUndefined();
  expect([keys.isRevoked('key:laptop'), keys.isRevoked('key:other'), keys.version]).toEqual([true, false, 2]);
  expect(keys.find(id(1))?.revokedMs).toBe(T);
  nowMs += 5;
  expect(revokeKey(keys, 'laptop').revokedMs).toBe(T);
  expect(told).toHaveLength(1);
  for (const again of [() => undefined, restart]) {
    again();
    for (const name of ['laptop', 'again'])
      expect(reason(() => putKey(keys, name, { public: line(1) }, ROOT))).toContain('was revoked here');
    expect(reason(() => putKey(keys, 'laptop', { public: line(2) }, ROOT))).toContain('has or had that name');
    expect(keys.find(id(1))?.revokedMs).toBe(T);
  }
  expect(reason(() => revokeKey(keys, 'nobody'))).toContain('no such key');
});

test('a key that expires is told of in the next pass, once, and counts again when its time is set anew', () => {
  const told: string[] = [];
  const stop = keys.onRevoked((principal) => told.push(principal));
  putKey(keys, 'laptop', { public: line(1), expiresMs: T + 1000 }, ROOT);
  keys.pass();
  nowMs = T + 1000;
  keys.pass();
  keys.pass();
  expect([told, keys.get('laptop').state]).toEqual([['key:laptop'], 'expired']);
  expect([keys.isRevoked('key:laptop'), keys.version]).toEqual([false, 2]);
  restart();
  putKey(keys, 'laptop', { public: line(1), expiresMs: T + 5000 }, ROOT);
  expect(keys.get('laptop')).toMatchObject({ state: 'valid', expiresMs: T + 5000 });
  stop();
});

test('a name is one key’s, and a key has one name and one owner', () => {
  putKey(keys, 'laptop', { public: line(1), owner: 'alice' }, ROOT);
  expect(reason(() => putKey(keys, 'laptop', { public: line(2), owner: 'alice' }, ROOT))).toContain('another key');
  expect(reason(() => putKey(keys, 'other', { public: line(1), owner: 'alice' }, ROOT))).toContain('it is laptop');
  expect(reason(() => putKey(keys, 'laptop', { public: line(1), owner: 'bob' }, ROOT))).toContain('of alice here');
  expect(keys.list()).toHaveLength(1);
});

test.each<[string, unknown, string]>([
  ['UPPER', { public: line(1) }, 'expected a name'],
  ['../x', { public: line(1) }, 'expected a name'],
  ['a'.repeat(64), { public: line(1) }, 'expected a name'],
  ['k', { public: 'ed25519 AAAA' }, 'of 32 bytes'],
  ['k', { public: `${line(1)} base` }, 'of 32 bytes'],
  ['k', { public: line(1), owner: 'a/b' }, 'name of a user'],
  ['k', { public: line(1), expiresMs: T }, 'in the future'],
  ['k', { public: line(1), expires: T }, 'no such key'],
  ['k', {}, 'public: expected string'],
  ['k', 'ed25519', 'object'],
])('key %s of %j is refused', (name, body, expected) => {
  expect(reason(() => putKey(keys, name, body, ROOT))).toContain(expected);
  expect(keys.list()).toEqual([]);
});

test('a secret key that is given by mistake is in no error', () => {
  const secret = renderSecretKey(seed(7)).trim();
  const message = reason(() => putKey(keys, 'k', { public: secret }, ROOT));
  expect(message).toContain('public: expected');
  expect(message).not.toContain(secret.slice(15, 30));
});
