import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseSecretKey, renderPublicKey, renderSecretKey } from '../../src/acl/keys.ts';
import { parseSigned, signManifest } from '../../src/image/base-manifest.ts';
import type { Finding } from '../../src/platform/platform.ts';
import { World, type FaultKind } from './world.ts';

const operator = { cause: 'operator' } as const;
const DIR = '/var/db/brig/base';
const KEYS = '/var/db/brig/keys';
const ROOT = { mode: 0o555, uid: 0, gid: 0 };

let world: World;
beforeEach(async () => {
  world = await new World().prepare();
});
afterEach(() => world.close());

const read = async (path: string): Promise<string> => (await world.model.host.readFile(path)) ?? '';
const write = (path: string, text: string, mode = 0o444): Promise<void> =>
  world.model.host.writeFile(path, text, { ...ROOT, mode });
const current = async (): Promise<string> => (await read(`${DIR}/current`)).trim();
const build = (keyPath?: string) => world.platform.bases.build(world.mortal.host, keyPath);
const list = () => world.platform.bases.list(world.mortal.host);
const names = async (): Promise<string[]> => ((await world.model.host.list(DIR)) ?? []).sort();

/** As an update of the base system does: another bhyve. */
const update = async (version: number): Promise<void> => {
  const old = await read('/usr/sbin/bhyve');
  await write('/usr/sbin/bhyve', `${old} version ${version}`, 0o555);
};

/** The archive that a VM's root is mounted from. */
const rootOf = async (vm: string): Promise<string> => {
  const lines = (await world.shell('/sbin/mount', '-p')).split('\n').map((line) => line.split(/\s+/));
  return lines.find(([, node]) => node?.endsWith(`/vms/${vm}/root`))?.[0] ?? 'nothing mounted';
};

/** How often an archive was read since somebody last asked. */
const countReads = (): (() => number) => {
  const { host } = world.mortal;
  const digest = host.digest.bind(host);
  let reads = 0;
  Object.assign(host, {
    digest: (path: string) => {
      if (path.startsWith(DIR)) reads++;
      return digest(path);
    },
  });
  return () => {
    const before = reads;
    reads = 0;
    return before;
  };
};

/** What doctor says of bases and keys. */
const doctor = async (): Promise<readonly Finding[]> =>
  (await world.platform.doctor(world.mortal.host)).filter(({ what }) => /the jails' root|trusted keys/.test(what));

describe('a start', () => {
  test('uses the base that brigd built, signed by a key that only root reads', async () => {
    const digest = await current();
    expect(await names()).toEqual([`${digest}.json`, `${digest}.tar.zst`, 'current'].sort());
    expect(await world.model.host.stat(`${KEYS}/host.key`)).toMatchObject({ mode: 0o600, uid: 0 });
    await world.create();
    await world.engine.start('web01', operator);
    expect(await rootOf('web01')).toBe(`${DIR}/${digest}.tar.zst`);
    expect(await list()).toMatchObject([
      { digest, current: true, verified: true, files: 25, arch: 'amd64', release: '15.1-STABLE', usedBy: ['web01'] },
    ]);
  });

  /** Archive, manifest, key or host made wrong; what the start then says. */
  const WRONG: Readonly<Record<string, readonly [(digest: string) => Promise<void> | void, RegExp]>> = {
    'whose bhyve was altered': [
      async (digest) => {
        const path = `${DIR}/${digest}.tar.zst`;
        await write(path, (await read(path)).replace(/[0-9a-f]{64}( \/usr\/sbin\/bhyve)/, `${'ab'.repeat(32)}$1`));
      },
      /\/usr\/sbin\/bhyve is not the one that was signed \(expected sha-256 [0-9a-f]{12}\.\.\., got abababababab\.\.\.\)/,
    ],
    'that was cut short': [
      async (digest) => {
        const path = `${DIR}/${digest}.tar.zst`;
        await write(path, (await read(path)).slice(0, 300));
      },
      /\/\S* and what follows cannot be read: unexpected end of file/,
    ],
    'that is no archive': [
      (digest) => write(`${DIR}/${digest}.tar.zst`, 'hello'),
      /\/ and what follows cannot be read: Unknown frame descriptor/,
    ],
    'that is gone': [(digest) => world.model.host.remove(`${DIR}/${digest}.tar.zst`), /\.tar\.zst is not there/],
    'without a manifest': [
      (digest) => world.model.host.remove(`${DIR}/${digest}.json`),
      /unsigned: \S+\.json is not there/,
    ],
    'without a signature': [
      async (digest) => {
        const { manifest } = parseSigned(await read(`${DIR}/${digest}.json`), 'm');
        await write(`${DIR}/${digest}.json`, JSON.stringify({ manifest }));
      },
      /unsigned: \S+\.json has no signature/,
    ],
    'signed by nobody we know': [
      async (digest) => {
        const { manifest } = parseSigned(await read(`${DIR}/${digest}.json`), 'm');
        await write(`${DIR}/${digest}.json`, signManifest(manifest, parseSecretKey(OTHER, 'k')));
      },
      /signed by key [0-9a-f]{16}, which is not trusted here/,
    ],
    'whose key is the host’s no more': [
      () => world.model.host.remove(`${KEYS}/host.key`),
      /signed by key [0-9a-f]{16}, which is not trusted here/,
    ],
    'on another machine': [
      async () => {
        world.model.setTunable('hw.machine_arch', 'aarch64');
        world.die();
        await world.boot();
      },
      /it is for amd64, and this host is aarch64/,
    ],
  };
  const OTHER = renderSecretKey(new Uint8Array(32).fill(8));

  test.each(Object.keys(WRONG))(
    'on a root %s is refused in one line that names the file, and leaves nothing',
    async (how) => {
      await world.create();
      // Known to be whole: what happens now must not hide behind that.
      await world.engine.start('web01', operator);
      await world.engine.stop('web01', operator);
      const before = await world.inventory();
      const digest = await current();
      const [damage, expected] = WRONG[how] ?? [() => undefined, /never/];
      await damage(digest);
      const error = await world.engine.start('web01', operator).catch((each: unknown) => each);
      expect(error).toMatchObject({ code: 'vm.blocked', hint: 'brig base build' });
      const { message } = error as Error;
      expect(message).toMatch(expected);
      expect(message).toContain(`the jails' root ${DIR}/${digest}.tar.zst`);
      expect(message).not.toContain('\n');
      expect(await world.inventory()).toEqual(before);
      expect((await doctor()).filter(({ level }) => level === 'problem')).toHaveLength(1);
      expect((await world.platform.bases.verify(world.mortal.host, 'current')).ok).toBe(false);
      // The other machine needs other programs; everything else is mended as it was told.
      if (how === 'on another machine') return;
      await build();
      expect(await world.engine.start('web01', operator)).toEqual({ changed: true });
    },
  );

  test('reads the archive once, and again only when something changed', async () => {
    await world.create();
    const counted = countReads();
    const startAndStop = async (): Promise<number> => {
      counted();
      await world.engine.start('web01', operator);
      await world.engine.stop('web01', operator);
      return counted();
    };
    expect(await startAndStop()).toBe(0);
    await world.model.host.sleep(1000);
    const path = `${DIR}/${await current()}.tar.zst`;
    await write(path, await read(path));
    await expect(startAndStop(), 'the same text and another size').rejects.toThrow('blocked');
    expect(counted()).toBeGreaterThan(0);
    await build();
    await startAndStop();
    expect(await startAndStop()).toBe(0);
  });

  test('of many VMs at once reads the archive once for all of them', async () => {
    const all = Array.from({ length: 8 }, (_, i) => `vm${i}`);
    for (const name of all) await world.create({ name, disks: [] });
    const path = `${DIR}/${await current()}.tar.zst`;
    const text = await read(path);
    await build();
    const size = (await world.model.host.stat(path))?.bytes;
    // Touched, not changed: brigd cannot know before it has read it.
    await world.model.host.copyFile(path, `${path}.copy`, ROOT);
    await world.model.host.sleep(1000);
    await world.model.host.copyFile(`${path}.copy`, path, ROOT);
    await world.model.host.remove(`${path}.copy`);
    expect([await read(path), (await world.model.host.stat(path))?.bytes]).toEqual([text, size]);
    const counted = countReads();
    await Promise.all(all.map((name) => world.engine.start(name, operator)));
    expect(counted()).toBe(1);
  });
});

describe('after an update of the host', () => {
  test('doctor names the file, a build makes another base, VMs keep theirs until restarted', async () => {
    await world.create({ name: 'web01', disks: [] });
    await world.create({ name: 'db02', disks: [] });
    for (const name of ['web01', 'db02']) await world.engine.start(name, operator);
    const old = await current();
    expect((await doctor()).filter(({ level }) => level !== 'ok')).toEqual([]);
    await update(2);
    expect((await doctor()).filter(({ level }) => level !== 'ok')).toMatchObject([
      {
        level: 'warning',
        got: expect.stringMatching(/^on this host, \/usr\/sbin\/bhyve is not the one/) as string,
        mend: 'brig base build',
      },
    ]);
    // The old one is whole and signed: it goes on being used.
    await world.engine.restart('db02', operator);
    expect(await rootOf('db02')).toContain(old);
    const { digest } = await build();
    expect(digest).not.toBe(old);
    expect((await doctor()).filter(({ level }) => level !== 'ok')).toMatchObject([
      { level: 'warning', got: 'db02, web01 on an older one', mend: 'brig restart db02 && brig restart web01' },
    ]);
    expect(await world.engine.examine('web01')).toEqual([]);
    await world.engine.restart('web01', operator);
    expect([await rootOf('web01'), await rootOf('db02')]).toEqual([
      `${DIR}/${digest}.tar.zst`,
      `${DIR}/${old}.tar.zst`,
    ]);
    expect((await list()).map((base) => [base.digest, base.current, base.verified, base.usedBy])).toEqual(
      [
        [old, false, true, ['db02']],
        [digest, true, true, ['web01']],
      ].sort(),
    );
  });

  test('neither the current base nor one in use is removed, an unused one is', async () => {
    await world.create({ disks: [] });
    await world.engine.start('web01', operator);
    const old = await current();
    await update(2);
    const { digest } = await build();
    const remove = (name: string) => world.platform.bases.remove(world.mortal.host, name);
    await expect(remove(digest)).rejects.toMatchObject({
      code: 'image.inUse',
      message: expect.stringContaining('current') as string,
    });
    await expect(remove(old)).rejects.toMatchObject({
      code: 'image.inUse',
      message: `remove base ${old.slice(0, 12)}: in use by web01`,
      hint: 'brig restart web01',
    });
    await expect(remove('')).rejects.toMatchObject({ code: 'image.unknown' });
    await expect(remove('../../etc')).rejects.toMatchObject({ code: 'image.unknown' });
    await expect(remove('0'.repeat(64))).rejects.toMatchObject({ code: 'image.unknown' });
    await world.engine.stop('web01', operator);
    expect(await remove(old.slice(0, 12))).toEqual({ removed: old });
    expect(await names()).toEqual([`${digest}.json`, `${digest}.tar.zst`, 'current'].sort());
    expect(await world.engine.start('web01', operator)).toEqual({ changed: true });
  });

  test('a VM on an older base is stopped and cleaned up as any other, by the next brigd too', async () => {
    const before = await world.inventory();
    await world.create({ disks: [] });
    await world.engine.start('web01', operator);
    await update(2);
    await build();
    world.die();
    await world.boot();
    expect((await list()).find((base) => base.usedBy.includes('web01'))).toMatchObject({ current: false });
    await world.engine.stop('web01', operator);
    expect(await world.inventory()).toEqual(before);
  });
});

test('the same host gives the same base, and building it again leaves a mounted archive alone', async () => {
  await world.create({ disks: [] });
  await world.engine.start('web01', operator);
  const digest = await current();
  const text = await read(`${DIR}/${digest}.json`);
  const { modifiedMs } = (await world.model.host.stat(`${DIR}/${digest}.tar.zst`)) ?? {};
  await world.model.host.sleep(5000);
  expect(await build()).toMatchObject({ digest, usedBy: ['web01'] });
  expect(await read(`${DIR}/${digest}.json`)).toBe(text);
  expect(await world.model.host.stat(`${DIR}/${digest}.tar.zst`)).toMatchObject({ modifiedMs });
});

test('another key signs when it has the right here, and is named', async () => {
  const secret = renderSecretKey(new Uint8Array(32).fill(4));
  const { id, publicBytes } = parseSecretKey(secret, 'k');
  await write('/root/build.key', secret, 0o600);
  await expect(build('/root/build.key')).rejects.toMatchObject({ code: 'acl.denied' });
  await write(`${KEYS}/trusted/build.pub`, renderPublicKey({ bytes: publicBytes, rights: ['base'] }), 0o644);
  expect(await build('/root/build.key')).toMatchObject({ key: id, verified: true });
  await world.create();
  expect(await world.engine.start('web01', operator)).toEqual({ changed: true });
  await write('/root/build.key', secret, 0o644);
  await expect(build('/root/build.key')).rejects.toThrow('others than root may read it');
});

test('a trusted key that is none is told by doctor, and costs nothing else', async () => {
  await write(`${KEYS}/trusted/x.pub`, 'hello\n');
  expect((await doctor()).filter(({ level }) => level !== 'ok')).toMatchObject([
    { level: 'warning', what: 'trusted keys', got: expect.stringContaining('x.pub: not a key') as string },
  ]);
});

describe('a build that is cut short', () => {
  const die = async (kind: FaultKind, at: number): Promise<boolean> => {
    const before = world.mortal.reached;
    const { promise: died, resolve } = Promise.withResolvers<'died'>();
    world.mortal.arm({ kind, at, forEver: false }, () => resolve('died'));
    const ended = await Promise.race([
      build().then(
        () => 'done',
        () => 'failed',
      ),
      died,
    ]);
    const reached = world.mortal.reached - before;
    if (ended === 'died') {
      world.die();
      await world.boot();
    } else world.mortal.arm(undefined);
    return reached > 0;
  };

  test.each<FaultKind>(['dies before', 'dies after', 'fails before', 'fails after'])(
    'where the host %s leaves a base that starts, and the next build leaves no rest',
    async (kind) => {
      await world.create({ disks: [] });
      let at = 1;
      for (; ; at++) {
        await update(at);
        const old = await current();
        if (!(await die(kind, at))) break;
        const now = await current();
        const bases = await list();
        // Every base that counts is whole; the one that a start would use is among them.
        expect(
          bases.find((base) => base.digest === now),
          `at ${at}`,
        ).toMatchObject({ current: true, verified: true });
        for (const base of bases.filter(({ verified }) => !verified))
          expect(base.problem).toMatch(/^unsigned: |is not there/);
        expect(await world.engine.start('web01', operator)).toEqual({ changed: true });
        await world.engine.stop('web01', operator);
        await build();
        const digest = await current();
        for (const base of await list()) {
          expect(base).toMatchObject({ verified: true });
          if (!base.current) await world.platform.bases.remove(world.mortal.host, base.digest);
        }
        expect(await names(), `at ${at}, from ${old.slice(0, 6)}`).toEqual(
          [`${digest}.json`, `${digest}.tar.zst`, 'current'].sort(),
        );
      }
      // One for each write at least.
      expect(at).toBeGreaterThan(8);
    },
  );

  test('before there ever was a base leaves a brigd that builds one', async () => {
    for (const path of await names()) await world.model.host.remove(`${DIR}/${path}`);
    await write(`${DIR}/${'a'.repeat(64)}.tar.zst`, 'half');
    await write(`${DIR}/new.tar.zst`, 'half');
    await write(`${DIR}/current`, 'aaaa');
    world.die();
    await world.boot();
    const digest = await current();
    expect(await names()).toEqual([`${digest}.json`, `${digest}.tar.zst`, 'current'].sort());
  });
});

test('a TPM emulator that is installed later is told by doctor, and in the next base', async () => {
  const path = '/usr/local/bin/swtpm';
  await world.model.host.mkdir('/usr/local/bin', { ...ROOT, mode: 0o755 });
  await write(path, 'a program', 0o555);
  expect((await doctor()).filter(({ level }) => level !== 'ok')).toMatchObject([
    { level: 'warning', got: `this host has ${path} now, and it has not`, mend: 'brig base build' },
  ]);
  expect(await build()).toMatchObject({ files: 26, verified: true });
  expect((await doctor()).filter(({ level }) => level !== 'ok')).toEqual([]);
});

test('a base of an older brig that lacks a mount point is replaced when brigd starts', async () => {
  const digest = await current();
  const signed = parseSigned(await read(`${DIR}/${digest}.json`), 'm');
  const directories = signed.manifest.directories.filter(({ path }) => path !== '/disk');
  const key = parseSecretKey(await read(`${KEYS}/host.key`), 'k');
  await write(`${DIR}/${digest}.json`, signManifest({ ...signed.manifest, directories }, key));
  world.die();
  await world.boot();
  expect(await list()).toMatchObject([{ current: true, verified: true }]);
  expect(parseSigned(await read(`${DIR}/${await current()}.json`), 'm')).toEqual(signed);
});
