import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { BaseStore } from '../../../src/image/base-store.ts';
import { sandboxFiles } from '../../../src/linux/sandbox.ts';
import { layout } from '../../../src/platform/layout.ts';
import { elfHeader, Hands, noise, rootedHost } from '../image/rooted.ts';

const root = mkdtempSync(join(tmpdir(), 'brig-sandbox-'));
afterAll(() => rmSync(root, { recursive: true }));

const places = layout({ stateDir: '/state', runDir: '/run/brig' });
const QEMU = '/usr/bin/qemu-system-x86_64';
const MODULE = '/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so';
const LIBC = '/lib/x86_64-linux-gnu/libc.so.6';
const DATA = '/usr/share/qemu/kvmvapic.bin';
const FILES = [LIBC, '/lib64/ld-linux-x86-64.so.2', QEMU, '/usr/bin/setpriv', MODULE, DATA];

const LDD =
  '/usr/bin/setpriv:\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fec97dcd000)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007fec97fdf000)\n';
const START = 'Mon Nov 23 07:00:00 2026';
const ps = (uid: number, name: string, file: string): string =>
  `  5   1 ${uid} ${START} 900 /bin/sh /run/brig/supervise.sh qemu ${name} /run/brig/vms/${name} /run/brig/exits id 10 60 -8 ${file} -9 /run/x -- /usr/bin/prlimit\n`;

const fresh = (answers: Readonly<Record<string, string>> = {}) => {
  const dir = mkdtempSync(join(root, 'host-'));
  const hands = new Hands(dir);
  FILES.forEach((path, i) => hands.write(path, Buffer.concat([elfHeader(), noise(i, 1000)]), 0o755));
  hands.write('/etc/os-release', 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n');
  const host = rootedHost(dir, { '/usr/bin/ldd': LDD, '/usr/bin/ps': '', '/usr/bin/uname': 'x86_64\n', ...answers });
  return { dir, hands, host, bases: new BaseStore(sandboxFiles(places), places) };
};

const built = async () => {
  const each = fresh();
  const { digest } = await each.bases.build(each.host);
  const got = async () => (await each.bases.precheck(each.host))[0]?.got;
  return { ...each, digest, args: `/state/base/${digest}.args`, got };
};

describe('the files of every sandbox', () => {
  test('are QEMU, its module, its libraries and four devices, signed', async () => {
    const { host, bases, args, digest, got } = await built();
    const words = (await host.readFile(args))?.split('\0') ?? [];
    const bound = (how: string) => words.flatMap((word, i) => (word === how ? [words[i + 2]] : []));
    expect(bound('--ro-bind')).toEqual(FILES.toSorted());
    expect(bound('--dev-bind')).toEqual(['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom']);
    expect(words).not.toContain('--as-pid-1');
    expect(words).not.toContain('--bind');
    const { manifest } = await bases.show(host, 'current');
    expect(manifest).toMatchObject({
      digest,
      platform: 'linux',
      arch: 'amd64',
      release: 'Debian GNU/Linux 13 (trixie)',
    });
    expect(manifest.files.map(({ path, sha256 }) => [path, sha256])).toEqual(
      await Promise.all(FILES.toSorted().map(async (path) => [path, (await host.digest(path))?.sha256])),
    );
    expect(await got()).toBeUndefined();
    expect(await bases.verify(host, 'current')).toMatchObject({ ok: true, files: 6 });
  });

  test('have the same digest and signature on every build', async () => {
    const [a, b] = [await built(), await built()];
    expect(b.digest).toBe(a.digest);
    expect(b.hands.read(`/state/base/${b.digest}.json`).equals(a.hands.read(`/state/base/${a.digest}.json`))).toBe(
      true,
    );
  });

  test('cannot be made without QEMU or without ldd', async () => {
    const bare = fresh();
    bare.hands.remove(QEMU);
    await expect(bare.bases.build(bare.host)).rejects.toThrow(`build the sandboxes' files: ${QEMU} is not there`);
    const silent = fresh({ '/usr/bin/ldd': '' });
    await expect(silent.bases.build(silent.host)).rejects.toThrow('expected ldd(1) to list libraries');
    expect(await silent.bases.precheck(silent.host)).toMatchObject([{ level: 'problem', got: 'not built' }]);
  });
});

describe('a start is refused', () => {
  test.each(FILES)('when %s differs, and the file is named', async (path) => {
    const { hands, host, bases, got } = await built();
    const content = hands.read(path);
    content[500] = (content[500] ?? 0) ^ 1;
    hands.write(path, content, 0o755);
    expect(await got()).toMatch(`${path} is not the one that was signed`);
    await bases.build(host);
    expect(await got()).toBeUndefined();
  });

  test('when a file behind a link differs', async () => {
    const { hands, dir, got } = await built();
    const real = hands.read(LIBC);
    hands.remove(LIBC);
    hands.write('/lib/x86_64-linux-gnu/libc-2.so', real, 0o755);
    symlinkSync('libc-2.so', join(dir, LIBC));
    expect(await got(), 'the same content').toBeUndefined();
    hands.write('/lib/x86_64-linux-gnu/libc-2.so', noise(7, 100), 0o755);
    expect(await got()).toContain(`${LIBC} is not the one that was signed`);
  });

  test('when a file is gone, or has become setuid', async () => {
    const { hands, got } = await built();
    hands.chmod('/usr/bin/setpriv', 0o4755);
    expect(await got()).toBe('/usr/bin/setpriv has another mode than was signed (expected 0755, got 4755)');
    hands.remove('/usr/bin/setpriv');
    expect(await got()).toBe('/usr/bin/setpriv is not there');
  });

  test('when the sandbox itself was altered: one more bind', async () => {
    const { hands, args, got } = await built();
    const text = hands.read(args).toString();
    hands.write(args, `${text}--ro-bind\0/etc/shadow\0/etc/shadow\0`);
    expect(await got()).toBe(`${args} is not what its manifest makes`);
    hands.write(args, text);
    expect(await got()).toBeUndefined();
  });
});

test('a sandbox that an older brig wrote is made anew when brigd starts, one that was altered is not', async () => {
  const { hands, host, args, digest } = await built();
  const text = hands.read(args);
  hands.write(args, 'other walls');
  const next = new BaseStore(sandboxFiles(places), places);
  expect(await next.prepare(host)).toEqual([]);
  expect(hands.read(args).equals(text)).toBe(true);
  const json = `/state/base/${digest}.json`;
  hands.write(json, hands.read(json).toString().replace('"mode": "0755"', '"mode": "0775"'));
  const last = new BaseStore(sandboxFiles(places), places);
  expect(await last.prepare(host)).toEqual([]);
  expect(await last.precheck(host)).toMatchObject([{ got: expect.stringContaining('altered') as string }]);
});

test('VMs are told by the files that their supervisor was started with, root’s own only', async () => {
  const { dir, host, bases, digest, hands } = await built();
  hands.write(LIBC, Buffer.concat([elfHeader(), noise(50, 1000)]), 0o755);
  const { digest: newer } = await bases.build(host);
  expect(newer).not.toBe(digest);
  const running = ps(0, 'web01', `/state/base/${digest}.args`) + ps(20_001, 'evil', `/state/base/${newer}.args`);
  const busy = rootedHost(dir, { '/usr/bin/uname': 'x86_64\n', '/usr/bin/ps': running });
  expect((await bases.list(busy)).map((base) => [base.digest, base.usedBy])).toEqual(
    [
      [digest, ['web01']],
      [newer, []],
    ].sort(),
  );
  await expect(bases.remove(busy, digest)).rejects.toThrow('in use by web01');
  expect(await bases.doctor(busy)).toContainEqual(
    expect.objectContaining({ level: 'warning', got: 'web01 on an older one', mend: 'brig restart web01' }),
  );
});
