import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  deriveMasterKey,
  newDerivation,
  newMasterKey,
  open,
  parseDerivation,
  parseMasterKeys,
  renderDerivation,
  renderMasterKey,
  seal,
} from '../../../src/acl/secrets.ts';

const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));
const key = newMasterKey(random);
const alice = { owner: 'alice', name: 'vnc' };
const CANARY = 'correct horse battery staple';
const value = Buffer.from(CANARY);
const refusal = (work: () => unknown): { code?: string; message: string } => {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  return { message: 'not refused' };
};

describe('a sealed value', () => {
  test('is opened under its key for its owner and name, and is another each time', () => {
    const [first, second] = [seal(key, alice, value, random), seal(key, alice, value, random)];
    expect(Buffer.from(open(key, alice, first)).toString()).toBe(CANARY);
    expect(Buffer.from(first).equals(Buffer.from(second))).toBe(false);
    expect(Buffer.from(first).toString('latin1')).not.toContain('horse');
  });

  test.each([
    ['of another name', key, { owner: 'alice', name: 'vn' }],
    ['of another owner', key, { owner: '', name: 'vnc' }],
    // What would be the same bytes without lengths.
    ['of names that run together', key, { owner: 'alicev', name: 'nc' }],
    ['of another key', newMasterKey(random), alice],
  ])('is not that %s', (_, with_, whose) => {
    const { code, message } = refusal(() => open(with_, whose, seal(key, alice, value, random)));
    expect([code, message]).toEqual(['store.failed', expect.stringContaining(`secret:${whose.name}`)]);
  });

  test('is refused with any bit changed, and when it is cut short', () => {
    const sealed = seal(key, alice, value, random);
    for (const at of [0, 23, 24, 40, sealed.length - 1]) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(refusal(() => open(key, alice, changed)).code).toBe('store.failed');
    }
    for (const bytes of [0, 10, 24, 30]) expect(refusal(() => open(key, alice, sealed.slice(0, bytes)))).toBeTruthy();
    expect(refusal(() => open(key, alice, sealed.slice(0, 30))).code).toBe('store.failed');
  });
});

describe("a master key's text", () => {
  test('comes back, several of them in order', () => {
    const other = newMasterKey(random);
    const text = renderMasterKey(key) + renderMasterKey(other);
    expect(parseMasterKeys(text, 'x').map(({ id }) => id)).toEqual([key.id, other.id]);
    expect(key.id).toMatch(/^[0-9a-f]{16}$/);
  });

  test.each(['', '\n', CANARY, `master-secret ${CANARY}`, 'master-secret QUJD', `${renderMasterKey(key)}\n${CANARY}`])(
    'is refused, and not quoted: %#',
    (text) => {
      const { code, message } = refusal(() => parseMasterKeys(text, '/keys/master.key'));
      expect([code, message]).toEqual([
        'acl.invalid',
        'read /keys/master.key: not a master key: expected lines `master-secret BASE64`',
      ]);
    },
  );
});

describe('a passphrase', () => {
  test('gives the same key again, and another one gives none', async () => {
    const made = await newDerivation(CANARY, random);
    const how = parseDerivation(renderDerivation(made.derivation), 'x');
    expect(await deriveMasterKey(CANARY, how)).toEqual(made.key);
    expect(await deriveMasterKey(`${CANARY}!`, how)).toBeUndefined();
    expect((await newDerivation(CANARY, random)).key.id).not.toBe(made.key.id);
  });

  test.each([
    'scrypt 3 8 1 AAAAAAAAAAAAAAAAAAAAAA== 0123456789abcdef',
    'scrypt 4194304 8 1 AAAAAAAAAAAAAAAAAAAAAA== 0123456789abcdef',
    'scrypt 1024 9 1 AAAAAAAAAAAAAAAAAAAAAA== 0123456789abcdef',
    'scrypt 1024 8 0 AAAAAAAAAAAAAAAAAAAAAA== 0123456789abcdef',
    'scrypt 1024 8 1 AAAA 0123456789abcdef',
    'scrypt 1024 8 1',
  ])('is not derived at a price that a changed file says: %s', (text) => {
    expect(refusal(() => parseDerivation(text, '/x')).code).toBe('acl.invalid');
  });
});
