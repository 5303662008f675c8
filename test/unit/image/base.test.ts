import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseSecretKey, renderPublicKey, renderSecretKey } from '../../../src/acl/keys.ts';
import { BrigError } from '../../../src/base/errors.ts';
import type { Host } from '../../../src/base/host.ts';
import { jailRoot } from '../../../src/freebsd/base.ts';
import { archOfHost, archOfProgram } from '../../../src/image/base-arch.ts';
import { parseSigned, signManifest } from '../../../src/image/base-manifest.ts';
import { BaseStore } from '../../../src/image/base-store.ts';
import { layout } from '../../../src/platform/layout.ts';
import type { Manifest } from '../../../src/spec/manifest.ts';
import { elfHeader, Hands, noise, rootedHost } from './rooted.ts';

const places = layout({ stateDir: '/state', runDir: '/run/brig' });
const root = mkdtempSync(join(tmpdir(), 'brig-base-'));
afterAll(() => rmSync(root, { recursive: true }));

const LIBRARIES = ['/lib/libc.so.7', '/usr/lib/libvmmapi.so.6'];
const PROGRAMS = ['/bin/sh', '/libexec/ld-elf.so.1', '/usr/sbin/bhyve', '/usr/sbin/chroot', '/usr/sbin/iasl'];
const FILES = [...PROGRAMS, ...LIBRARIES];
const SYSCTLS = 'hw.machine_arch: amd64\nkern.osrelease: 15.1-RELEASE-p1\n';

/** A FreeBSD's files in a directory of their own, in a given order: the base must not depend on it. */
const fresh = (options: { sysctls?: string; libraries?: readonly string[]; mounts?: string } = {}) => {
  const dir = mkdtempSync(join(root, 'host-'));
  const hands = new Hands(dir);
  FILES.forEach((path, i) => hands.write(path, Buffer.concat([elfHeader(), noise(i + 1, 20_000)]), 0o755));
  const host = rootedHost(dir, {
    '/usr/bin/ldd': (options.libraries ?? LIBRARIES).map((path) => `${path}\n`).join(''),
    '/sbin/sysctl': options.sysctls ?? SYSCTLS,
    '/sbin/mount': options.mounts ?? '',
  });
  return { dir, hands, host, bases: new BaseStore(jailRoot(places), places) };
};

const built = async (options: Parameters<typeof fresh>[0] = {}) => {
  const each = fresh(options);
  const { digest } = await each.bases.build(each.host);
  return { ...each, digest, archive: `/state/base/${digest}.tar.zst`, json: `/state/base/${digest}.json` };
};

/** What a start would be told; undefined: nothing. */
const refusal = async (bases: BaseStore, host: Host): Promise<string | undefined> => {
  const [finding, ...rest] = await bases.precheck(host);
  expect(rest).toEqual([]);
  if (finding) expect(finding).toMatchObject({ level: 'problem', mend: 'brig base build' });
  return finding?.got;
};

const errorOf = async (work: Promise<unknown>): Promise<BrigError> => {
  const error = await work.then(
    () => undefined,
    (each: unknown) => each,
  );
  if (error instanceof BrigError) return error;
  throw new Error(`expected a BrigError, got ${String(error)}`);
};

describe('a base', () => {
  test('is the same bytes on every build from the same files: archive, manifest and signature', async () => {
    const [a, b] = [await built(), await built({ libraries: LIBRARIES.toReversed() })];
    expect(b.digest).toBe(a.digest);
    expect(b.hands.read(b.archive).equals(a.hands.read(a.archive))).toBe(true);
    expect(b.hands.read(b.json).equals(a.hands.read(a.json))).toBe(true);
    const once = a.hands.read(a.json);
    expect((await a.bases.build(a.host)).digest).toBe(a.digest);
    expect(a.hands.read(a.json).equals(once)).toBe(true);
  });

  test('is named by its digest and holds what it says, and nothing else is left', async () => {
    const { host, digest, archive, bases } = await built();
    expect((await host.digest(archive))?.sha256).toBe(digest);
    expect(await host.readFile('/state/base/current')).toBe(`${digest}\n`);
    expect((await host.list('/state/base'))?.sort()).toEqual([`${digest}.json`, `${digest}.tar.zst`, 'current']);
    const { manifest } = await bases.show(host, 'current');
    expect(manifest).toMatchObject({ digest, platform: 'freebsd', arch: 'amd64', release: '15.1-RELEASE-p1' });
    expect(manifest.files.map(({ path }) => path)).toEqual(FILES.toSorted());
    for (const file of manifest.files) expect(file.sha256).toBe((await host.digest(file.path))?.sha256);
    expect(await bases.verify(host, digest.slice(0, 6))).toEqual({ digest, ok: true, files: 7, problems: [] });
    expect(await refusal(bases, host)).toBeUndefined();
  });

  test('has other modes than the host, always the same ones', async () => {
    const [a, b] = [fresh(), fresh()];
    for (const path of FILES) b.hands.chmod(path, 0o700);
    expect((await b.bases.build(b.host)).digest).toBe((await a.bases.build(a.host)).digest);
  });

  test('differs when a byte of the host differs', async () => {
    const [a, b] = [await built(), fresh()];
    b.hands.write('/lib/libc.so.7', Buffer.concat([elfHeader(), noise(99, 20_000)]));
    expect((await b.bases.build(b.host)).digest).not.toBe(a.digest);
  });

  test('is not built of what is no program, or with a program missing', async () => {
    const script = fresh();
    script.hands.write('/usr/sbin/bhyve', '#!/bin/sh\n');
    await expect(script.bases.build(script.host)).rejects.toThrow('expected /usr/sbin/bhyve to be an ELF program');
    const bare = fresh();
    bare.hands.remove('/usr/sbin/iasl');
    await expect(bare.bases.build(bare.host)).rejects.toThrow("build the jails' root: /usr/sbin/iasl is not there");
    expect(await bare.host.stat('/state/base/current')).toBeUndefined();
    const none = fresh({ libraries: [] });
    await expect(none.bases.build(none.host)).rejects.toThrow('expected ldd(1) to list libraries');
  });
});

describe('a start is refused', () => {
  test.each(FILES)('when a byte of %s in the archive differs, and the file is named', async (path) => {
    const { hands, host, archive, bases } = await built();
    const content = hands.read(path);
    const packed = Buffer.from(hands.read(archive));
    const at = packed.indexOf(content.subarray(10_000, 10_032));
    expect(at, 'it is in there as it is').toBeGreaterThan(0);
    packed[at] = (packed[at] ?? 0) ^ 1;
    hands.write(archive, packed);
    const got = await refusal(bases, host);
    expect(got).toMatch(
      new RegExp(`^${path} is not the one that was signed \\(expected sha-256 [0-9a-f]{12}\\.\\.\\., got [0-9a-f]{12}`),
    );
    const { ok, problems } = await bases.verify(host, 'current');
    expect([ok, problems]).toEqual([false, [got]]);
  });

  test('wherever a byte of the archive differs', async () => {
    const { hands, host, archive, bases } = await built();
    const whole = hands.read(archive);
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 60)) {
      const packed = Buffer.from(whole);
      packed[at] = (packed[at] ?? 0) ^ 0x10;
      hands.write(archive, packed);
      expect(await refusal(bases, host), `byte ${at}`).toMatch(
        /^(\/\S* (is not|and what follows cannot be read|has another mode)|it (was altered|cannot be read)|\.?\S+ is not in)/,
      );
    }
    hands.write(archive, whole);
    expect(await refusal(bases, host)).toBeUndefined();
  });

  test.each([0, 1, 100, 0.5, -1, -30])('when the archive ends at %d', async (where) => {
    const { hands, host, archive, bases } = await built();
    const whole = hands.read(archive);
    const end = where === 0.5 ? whole.length / 2 : where < 0 ? whole.length + where : where;
    hands.write(archive, whole.subarray(0, end));
    expect(await refusal(bases, host)).toMatch(/cannot be read: |was altered/);
    expect((await bases.verify(host, 'current')).ok).toBe(false);
  });

  test('when something comes after the end of the archive', async () => {
    const { hands, host, archive, bases } = await built();
    hands.write(archive, Buffer.concat([hands.read(archive), Buffer.from('more')]));
    expect(await refusal(bases, host)).toBe('it cannot be read: Unknown frame descriptor');
  });

  test('when archive or manifest is gone, a link or no manifest', async () => {
    const { hands, host, archive, json, bases } = await built();
    const [whole, text] = [hands.read(archive), hands.read(json)];
    hands.remove(archive);
    expect(await refusal(bases, host)).toBe(`${archive} is not there`);
    hands.write(archive, whole);
    hands.remove(json);
    expect(await refusal(bases, host)).toBe(`unsigned: ${json} is not there`);
    hands.write(json, text.subarray(0, -10));
    expect(await refusal(bases, host)).toBe(`read ${json}: expected JSON, got something else`);
    hands.write(json, Buffer.alloc(2 ** 20 + 1, 32));
    expect(await refusal(bases, host)).toContain('is no manifest: expected a file of at most 1048576 bytes');
    hands.write(json, text);
    expect(await refusal(bases, host)).toBeUndefined();
  });

  test('when the manifest was altered, by one digit or with a digest that fits', async () => {
    const { hands, host, digest, json, bases } = await built();
    const text = hands.read(json).toString();
    const { id } = parseSecretKey(hands.read('/state/keys/host.key').toString(), 'k');
    hands.write(json, text.replace('"bytes": 20020', '"bytes": 20021'));
    expect(await refusal(bases, host)).toBe(`its signature is not one of key ${id} (host): the manifest was altered`);
    hands.write(json, text.replace(digest, 'f'.repeat(64)));
    expect(await refusal(bases, host)).toContain('the manifest was altered');
    // `verify` goes on where a start would have heard enough.
    expect((await bases.verify(host, 'current')).problems).toHaveLength(3);
  });

  test('when it is unsigned, or signed by a key that is unknown, without the right, or gone since', async () => {
    const { hands, host, json, bases, digest } = await built();
    const signed = parseSigned(hands.read(json).toString(), json);
    hands.write(json, JSON.stringify({ manifest: signed.manifest }));
    expect(await refusal(bases, host)).toBe(`unsigned: ${json} has no signature`);
    const secret = renderSecretKey(new Uint8Array(32).fill(9));
    const other = parseSecretKey(secret, 'k');
    hands.write(json, signManifest(signed.manifest, other));
    expect(await refusal(bases, host)).toBe(`signed by key ${other.id}, which is not trusted here`);
    const trust = (...rights: ('base' | 'image')[]) =>
      hands.write('/state/keys/trusted/other.pub', renderPublicKey({ bytes: other.publicBytes, rights }));
    trust('image');
    expect(await refusal(bases, host)).toBe(
      `signed by key ${other.id} (other), which has no right to sign a base here`,
    );
    trust('base');
    expect(await refusal(bases, host)).toBeUndefined();
    expect(await bases.list(host)).toMatchObject([{ digest, key: other.id, verified: true }]);
    hands.remove('/state/keys/trusted/other.pub');
    expect(await refusal(bases, host)).toBe(`signed by key ${other.id}, which is not trusted here`);
  });

  test('when it is another base under this name, of another architecture, or for another platform', async () => {
    const { hands, host, json, bases } = await built();
    const { manifest } = parseSigned(hands.read(json).toString(), json);
    const key = parseSecretKey(hands.read('/state/keys/host.key').toString(), 'k');
    const sign = (change: Partial<Manifest>) => hands.write(json, signManifest({ ...manifest, ...change }, key));
    sign({ arch: 'aarch64' });
    expect(await refusal(bases, host)).toBe('it is for aarch64, and this host is amd64');
    sign({ platform: 'linux' });
    expect(await refusal(bases, host)).toBe('it is for linux, and this host is freebsd');
    sign({ digest: 'a'.repeat(64) });
    expect(await refusal(bases, host)).toBe('its manifest is of another base: aaaaaaaaaaaa...');
    sign({});
    expect(await refusal(bases, host)).toBeUndefined();
  });

  test('on a host of an architecture that nobody knows', async () => {
    const { host, bases } = await built({ sysctls: 'kern.osrelease: 15.1-RELEASE\n' });
    expect(await refusal(bases, host)).toBe('it is for amd64, and this host is of unknown architecture');
  });

  test('when none was built', async () => {
    const { host, bases } = fresh();
    expect(await refusal(bases, host)).toBe('not built');
  });
});

describe('a build with a key file', () => {
  const secret = renderSecretKey(new Uint8Array(32).fill(3));
  const { id, publicBytes } = parseSecretKey(secret, 'k');

  test('is signed by it, and needs no key of the host', async () => {
    const { hands, host, bases } = fresh();
    hands.write('/k', secret, 0o600);
    hands.write('/state/keys/trusted/me.pub', renderPublicKey({ bytes: publicBytes, rights: ['base'] }));
    expect(await bases.build(host, '/k')).toMatchObject({ key: id, verified: true, current: true });
    expect(await host.stat('/state/keys/host.key')).toBeUndefined();
  });

  test.each<[string, number, string]>([
    ['others may read', 0o644, secret],
    ['is no key', 0o600, 'hello\n'],
    ['has no rights here', 0o600, secret],
  ])('that %s is refused in one line, and nothing is touched', async (_, mode, text) => {
    const { hands, host, bases } = fresh();
    hands.write('/k', text, mode);
    const error = await errorOf(bases.build(host, '/k'));
    expect(error.code).toMatch(/^acl\./);
    expect(error.message).not.toContain('\n');
    expect(error.message).toContain('/k');
    expect(await host.stat('/state')).toBeUndefined();
  });
});

describe('a manifest', () => {
  const key = parseSecretKey(renderSecretKey(new Uint8Array(32).fill(5)), 'k');
  const sha256 = 'a'.repeat(64);
  const file = (path: string) => ({ path, mode: '0555', bytes: 1, sha256 });
  const manifest: Manifest = {
    version: 1,
    platform: 'freebsd',
    arch: 'amd64',
    release: '15.1-RELEASE',
    digest: sha256,
    bytes: 1,
    directories: [{ path: '/', mode: '0755' }],
    files: [file('/a'), file('/b')],
    devices: [],
  };
  const text = signManifest(manifest, key);
  const value = () => JSON.parse(text) as { manifest: Record<string, unknown>; signature: Record<string, unknown> };
  const parse = (change: object, signature: object = {}): string => {
    const { manifest: m, signature: s } = value();
    const changed = { manifest: { ...m, ...change }, signature: { ...s, ...signature } };
    try {
      parseSigned(`${JSON.stringify(changed, null, 1)}\n`, '/m.json');
    } catch (error) {
      if (error instanceof BrigError && error.code === 'image.invalid') return error.message;
      throw error;
    }
    return 'parsed';
  };

  test('is read as it was written', () => {
    expect(parse({})).toBe('parsed');
    expect(parseSigned(text, '/m.json').manifest).toEqual(manifest);
  });

  test.each<[string, object, string]>([
    ['an unknown key', { builtAt: 1 }, 'manifest.builtAt: expected no such key'],
    ['another version', { version: 2 }, 'manifest.version: expected 1, got 2'],
    ['upper case in a digest', { digest: 'A'.repeat(64) }, 'manifest.digest: expected 64 hexadecimal digits'],
    ['a short digest', { files: [{ ...file('/a'), sha256: 'ab' }] }, 'expected 64 hexadecimal digits, got "ab"'],
    ['a negative size', { bytes: -1 }, 'manifest.bytes: expected at least 0'],
    ['a size of no root', { bytes: 2 ** 40 }, 'manifest.bytes: expected at most'],
    ['a fraction', { bytes: 1.5 }, 'manifest.bytes'],
    ['a way out', { files: [file('/../etc/passwd')] }, 'expected an absolute path of plain names'],
    ['a way out in the middle', { files: [file('/a/../../b')] }, 'expected an absolute path of plain names'],
    ['a dot', { files: [file('/./a')] }, 'expected an absolute path of plain names'],
    ['a relative path', { files: [file('a')] }, 'expected an absolute path of plain names'],
    ['two slashes', { files: [file('//a')] }, 'expected an absolute path of plain names'],
    ['an empty end', { files: [file('/a/')] }, 'expected an absolute path of plain names'],
    ['a terminal escape', { files: [file('/a\u001b[2J')] }, 'expected an absolute path of plain names'],
    ['a NUL', { files: [file('/a\0')] }, 'expected an absolute path of plain names'],
    ['a long path', { files: [file(`/${'a'.repeat(300)}`)] }, 'expected at most 255'],
    ['a file twice', { files: [file('/a'), file('/a')] }, 'expected paths in ascending order, each once'.slice(9)],
    ['another order', { files: [file('/b'), file('/a')] }, 'paths in ascending order, each once'],
    ['a file that is a directory', { directories: [{ path: '/a', mode: '0755' }] }, 'got a file and a directory'],
    ['no files', { files: [] }, 'manifest.files: expected at least 1'],
    [
      'too many files',
      { files: Array.from({ length: 2001 }, (_, i) => file(`/${10_000 + i}`)) },
      'expected at most 2000',
    ],
    ['a number as a mode', { files: [{ ...file('/a'), mode: 365 }] }, 'manifest.files[0].mode'],
    ['a mode of five digits', { files: [{ ...file('/a'), mode: '00555' }] }, 'expected a mode such as 0555'],
    ['a release of two lines', { release: 'a\nb' }, 'expected up to 64 printable characters'],
    ['a machine of its own', { arch: 'vax' }, 'manifest.arch: expected "amd64"'],
  ])('with %s is refused', (_, change, reason) => {
    expect(parse(change)).toContain(reason);
  });

  test.each<[string, object, string]>([
    ['another algorithm', { algorithm: 'none' }, 'signature.algorithm: expected "ed25519"'],
    ['no value', { value: '' }, 'signature.value: expected 64 bytes of base64'],
    ['a long key', { key: 'a'.repeat(64) }, 'signature.key: expected 16 hexadecimal digits'],
    ['more', { also: 1 }, 'signature.also: expected no such key'],
  ])('whose signature has %s is refused', (_, change, reason) => {
    expect(parse({}, change)).toContain(reason);
  });

  test.each<[string, string]>([
    ['a key twice', text.replace('"version": 1,', '"version": 1,\n  "version": 1,')],
    [
      'its keys in another order',
      `${JSON.stringify({ signature: value().signature, manifest: value().manifest }, null, 1)}\n`,
    ],
    ['other blanks', JSON.stringify(value())],
    ['a number in other digits', text.replace('"bytes": 1,', '"bytes": 1.0,')],
    ['an escape', text.replace('"/a"', String.raw`"/\u0061"`)],
    ['a second value behind it', text.replace(/\n$/, '\n\n')],
  ])('in another spelling is refused: %s', (_, other) => {
    expect(other).not.toBe(text);
    expect(() => parseSigned(other, '/m.json')).toThrow('expected the spelling that brig writes');
  });

  test.each(['null', '[]', '1', '""', '{}', '', '{"manifest":{}}', '{"__proto__":{"signature":1}}'])(
    'is not %s',
    (other) => {
      expect(() => parseSigned(other, '/m.json')).toThrow(BrigError);
    },
  );

  test('that is not one is not signed', () => {
    expect(() => signManifest({ ...manifest, files: [] }, key)).toThrow('manifest');
  });
});

test('an architecture is read from a program, and hosts have several names for it', () => {
  expect([62, 183, 243, 3, 8].map((machine) => archOfProgram(elfHeader(machine)))).toEqual([
    'amd64',
    'aarch64',
    'riscv64',
    'i386',
    undefined,
  ]);
  expect(archOfProgram(elfHeader().subarray(0, 19))).toBeUndefined();
  expect(archOfProgram(Buffer.from('#!/bin/sh\n# not a program at all'))).toBeUndefined();
  expect(['amd64', 'x86_64', 'arm64', 'riscv64'].map(archOfHost)).toEqual(['amd64', 'amd64', 'aarch64', 'riscv64']);
});

test('the release is that of the base programs where the host can say', async () => {
  const each = fresh();
  each.hands.write('/bin/freebsd-version', '#!/bin/sh\n');
  const host = rootedHost(each.dir, {
    '/usr/bin/ldd': LIBRARIES.join('\n'),
    '/sbin/sysctl': SYSCTLS,
    '/sbin/mount': '',
    '/bin/freebsd-version': '15.1-RELEASE-p3\n',
  });
  expect(await each.bases.build(host)).toMatchObject({ release: '15.1-RELEASE-p3' });
});
