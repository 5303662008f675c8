import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  fingerprintOf,
  isSignedBy,
  parsePublicKey,
  parseSecretKey,
  renderPublicKey,
  renderSecretKey,
} from '../../../src/acl/keys.ts';
import { keyFiles, openHostKey, openSigningKey, readTrust } from '../../../src/acl/trust.ts';
import { Hands, rootedHost } from '../image/rooted.ts';

const SEED = Uint8Array.from({ length: 32 }, (_, i) => i);
/** RFC 8032, section 7.1, test 1. */
const RFC_SEED = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
const RFC_PUBLIC = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
const RFC_SIGNATURE =
  'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b';

const base64 = (bytes: number): string => Buffer.alloc(bytes, 7).toString('base64');
const messageOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return 'nothing thrown';
};

describe('a key', () => {
  test('signs as RFC 8032 says, the same each time', () => {
    const key = parseSecretKey(renderSecretKey(RFC_SEED), 'k');
    expect(Buffer.from(key.publicBytes).toString('hex')).toBe(RFC_PUBLIC);
    expect(Buffer.from(key.sign(new Uint8Array()), 'base64').toString('hex')).toBe(RFC_SIGNATURE);
  });

  test('is told from others: by signature, message and fingerprint', () => {
    const [a, b] = [parseSecretKey(renderSecretKey(SEED), 'a'), parseSecretKey(renderSecretKey(RFC_SEED), 'b')];
    const message = Buffer.from('text');
    const signature = a.sign(message);
    expect(isSignedBy(a.publicBytes, message, signature)).toBe(true);
    expect(isSignedBy(b.publicBytes, message, signature)).toBe(false);
    expect(isSignedBy(a.publicBytes, Buffer.from('texT'), signature)).toBe(false);
    for (const bad of ['', 'x', base64(63), base64(65), signature.slice(1), ` ${signature}`])
      expect(isSignedBy(a.publicBytes, message, bad), bad).toBe(false);
    expect(a.id).toMatch(/^[0-9a-f]{16}$/);
    expect(a.id).not.toBe(b.id);
    expect(fingerprintOf(a.publicBytes)).toBe(a.id);
  });

  test('survives being written and read', () => {
    const { publicBytes } = parseSecretKey(renderSecretKey(SEED), 'k');
    const text = renderPublicKey({ bytes: publicBytes, rights: ['base', 'image'] });
    expect(parsePublicKey(text, 'k')).toEqual({ bytes: publicBytes, rights: ['base', 'image'] });
  });

  test.each([
    ['', 'one line'],
    [`ed25519 ${base64(32)}`, 'rights of base, image'],
    [`ed25519 ${base64(32)} root`, 'rights of base, image'],
    [`ed25519 ${base64(32)} base root`, 'rights of base, image'],
    [`ed25519 ${base64(32)} base base`, 'each once'],
    [`ed25519  ${base64(32)} base`, 'one line'],
    [`ed25519 ${base64(31)} base`, 'one line'],
    [`ed25519 ${base64(33)} base`, 'one line'],
    [`ed25519 ${base64(32).slice(0, -1)} base`, 'one line'],
    [`rsa ${base64(32)} base`, 'one line'],
    [`ed25519 ${base64(32)} base\ned25519 ${base64(32)} image\n`, 'rights'],
    [` ed25519 ${base64(32)} base`, 'one line'],
    [`ed25519-secret ${base64(32)}`, 'one line'],
  ])('is not read from %j', (text, reason) => {
    expect(messageOf(() => parsePublicKey(text, '/k'))).toContain('read /k: not a key: expected ');
    expect(messageOf(() => parsePublicKey(text, '/k'))).toContain(reason);
  });

  test.each([
    '',
    `ed25519 ${base64(32)}`,
    `ed25519-secret ${base64(31)}`,
    `ed25519-secret ${base64(64)}`,
    `ed25519-secret ${base64(32)} base`,
    `ed25519-secret ${base64(32)}\n\n`,
  ])('that is secret is not read from %j, and the error quotes nothing of it', (text) => {
    const message = messageOf(() => parseSecretKey(text, '/k'));
    expect(message).toBe('read /k: not a key: expected one line `ed25519-secret BASE64`');
  });
});

describe('keys of a host', () => {
  const root = mkdtempSync(join(tmpdir(), 'brig-keys-'));
  afterAll(() => rmSync(root, { recursive: true }));
  let count = 0;
  const fresh = () => {
    const dir = join(root, String(count++));
    return { host: rootedHost(dir, {}), hands: new Hands(dir), dir };
  };
  const secret = renderSecretKey(SEED);
  const { id, publicBytes } = parseSecretKey(secret, 'k');
  const publicText = (...rights: ('base' | 'image')[]) => renderPublicKey({ bytes: publicBytes, rights });

  test('begin with its own, made once of random bytes, closed to others, with every right', async () => {
    const { host } = fresh();
    const key = await openHostKey(host, '/keys');
    expect((await openHostKey(host, '/keys')).id).toBe(key.id);
    expect(await host.stat('/keys/host.key')).toMatchObject({ mode: 0o600, uid: 0 });
    expect(await host.stat('/keys')).toMatchObject({ mode: 0o700 });
    expect(await host.readFile('/keys/host.pub')).toMatch(/^ed25519 \S{44} base image\n$/);
    const { keys, problems } = await readTrust(host, '/keys');
    expect(keys.map(({ id: each, name, rights }) => [each, name, rights])).toEqual([
      [key.id, 'host', ['base', 'image']],
    ]);
    expect(problems).toEqual([]);
  });

  test('are those of the directory, each with its rights; a bad file costs its own key only', async () => {
    const { host, hands } = fresh();
    hands.write('/keys/trusted/build.pub', publicText('base'));
    hands.write('/keys/trusted/broken.pub', 'hello\n');
    hands.write('/keys/trusted/open.pub', publicText('base'), 0o666);
    hands.write('/keys/trusted/notes.txt', 'hello\n');
    const { keys, problems } = await readTrust(host, '/keys');
    expect(keys.map(({ id: each, name, rights }) => [each, name, rights])).toEqual([[id, 'build', ['base']]]);
    expect(problems).toEqual([
      expect.stringContaining('/trusted/broken.pub: not a key'),
      expect.stringContaining('/trusted/open.pub: others than root may change it (uid 0, mode 666)'),
    ]);
  });

  test('sign when the file is closed, a key, and has the right here', async () => {
    const { host, hands } = fresh();
    hands.write('/k', secret, 0o600);
    hands.write('/keys/trusted/me.pub', publicText('base'));
    expect((await openSigningKey(host, '/keys', 'base', '/k')).id).toBe(id);
    // Somebody else's key does not need the host's own.
    expect(await host.stat(keyFiles('/keys').secret)).toBeUndefined();
  });

  test.each<[string, (hands: Hands, dir: string) => void, string]>([
    [
      'others may read it',
      (hands) => hands.write('/k', secret, 0o644),
      'read /k: others than root may read it (uid 0, mode 644)',
    ],
    [
      'its group may read it',
      (hands) => hands.write('/k', secret, 0o640),
      'read /k: others than root may read it (uid 0, mode 640)',
    ],
    ['there is none', () => undefined, 'read /k: not a key: nothing there'],
    [
      'it is a public key',
      (hands) => hands.write('/k', publicText('base'), 0o600),
      'read /k: not a key: expected one line `ed25519-secret BASE64`',
    ],
    [
      'it is too large',
      (hands) => hands.write('/k', secret + 'x'.repeat(9000), 0o600),
      'read /k: not a key: too large',
    ],
    ['it is a link', (_, dir) => symlinkSync('/etc/passwd', join(dir, 'k')), 'read /k: not a key: not a file'],
    [
      "it is nobody's here",
      (hands) => hands.write('/k', secret, 0o600),
      `sign with /k: key ${id} has no right to sign a base here`,
    ],
    [
      'it has another right',
      (hands) => {
        hands.write('/k', secret, 0o600);
        hands.write('/keys/trusted/me.pub', publicText('image'));
      },
      `sign with /k: key ${id} has no right to sign a base here`,
    ],
  ])('do not sign when %s, and nothing is made', async (_, arrange, reason) => {
    const { host, hands, dir } = fresh();
    hands.write('/keys/trusted/README', '');
    arrange(hands, dir);
    const before = [await host.list('/'), await host.list('/keys'), await host.list('/keys/trusted')];
    const error = await openSigningKey(host, '/keys', 'base', '/k').catch((each: unknown) => each);
    expect(error).toMatchObject({ message: reason });
    expect(JSON.stringify(error)).not.toContain(Buffer.from(SEED).toString('base64'));
    expect([await host.list('/'), await host.list('/keys'), await host.list('/keys/trusted')]).toEqual(before);
  });

  test("that others may read are not the host's own any more", async () => {
    const { host, hands } = fresh();
    await openHostKey(host, '/keys');
    hands.chmod('/keys/host.key', 0o604);
    await expect(openHostKey(host, '/keys')).rejects.toMatchObject({ code: 'acl.denied' });
    const { keys, problems } = await readTrust(host, '/keys');
    expect(keys).toEqual([]);
    expect(problems).toEqual([expect.stringContaining('others than root may read it')]);
  });
});
