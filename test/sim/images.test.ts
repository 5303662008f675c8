import { afterEach, describe, expect, test } from 'vitest';
import type { ImageStore } from '../../src/image/image-store.ts';
import { renderImage, type SignedImage } from '../../src/spec/image.ts';
import { bring, CHUNK, diskOf } from './brought.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;
const NODE = { uefi: { code: '/fw/code', vars: '/fw/vars' }, arch: 'amd64' };
const DISK = diskOf(CHUNK + 100_000);

let world: World;
let images: ImageStore;

const open = async (kind: 'zfs' | 'files'): Promise<void> => {
  world = await new World({}, 'tank/brig', kind === 'zfs' ? {} : { dataset: undefined }).prepare('shared');
  images = await world.openImages();
};
afterEach(() => world.close());

const host = () => world.mortal.host;
const zfs = async (...args: string[]): Promise<string[]> =>
  (await world.shell('/sbin/zfs', ...args)).split('\n').filter(Boolean);
const datasets = (): Promise<string[]> =>
  zfs('list', '-Hp', '-r', '-t', 'filesystem,volume,snapshot', '-o', 'name', 'tank');
const create = async (document: Record<string, unknown>): Promise<unknown> =>
  world.engine.create(await images.complete(host(), document, NODE), operator);
const vm = { name: 'web01', image: 'alpha', memory: '64M', nics: [] };

/** The first bytes of a VM's disk. */
const head = async (path: string): Promise<string> => {
  const disk = await world.model.host.openDisk(path, 'read');
  const buffer = Buffer.alloc(512);
  await disk.read(0, buffer);
  return buffer.toString('latin1', 0, 7);
};

describe.each(['zfs', 'files'] as const)('an image kept in %s', (kind) => {
  const placeOf = (name: string): string =>
    kind === 'zfs' ? `/dev/zvol/tank/brig/vms/${name}/disk0` : `/var/db/brig/vms/${name}/disk/disk0.raw`;

  test('comes in, is what it was, and VMs begin with it', async () => {
    await open(kind);
    const view = await images.take(host(), bring([DISK]));
    expect(view).toMatchObject({
      name: 'alpha',
      version: '1',
      usable: true,
      verified: 'none',
      users: 0,
      disks: [DISK.length],
    });
    expect(await images.verify(host(), 'alpha:1')).toMatchObject({ ok: true, bytes: DISK.length });
    await create({ ...vm, disks: [{ size: '64M' }] });
    expect(await head(placeOf('web01'))).toBe('begin a');
    expect(await images.list(host())).toMatchObject([{ users: 1 }]);
    expect((await world.engine.show('web01')).image).toMatchObject({
      name: 'alpha',
      version: '1',
      digest: view.digest,
    });
    await expect(images.remove(host(), 'alpha')).rejects.toMatchObject({ code: 'image.inUse' });
    await world.engine.start('web01', operator);
    await world.engine.destroy('web01', { ...operator, force: true, graceMs: 0 });
    await images.remove(host(), 'alpha');
    expect(await images.list(host())).toEqual([]);
  });

  test('twice at once is one image', async () => {
    await open(kind);
    const [first, second] = await Promise.all([images.take(host(), bring([DISK])), images.take(host(), bring([DISK]))]);
    expect(first.digest).toBe(second.digest);
    expect((await images.list(host())).length).toBe(1);
  });

  test('for another architecture is no VM here', async () => {
    await open(kind);
    await images.take(host(), bring([DISK], { about: { arch: 'aarch64' } }));
    expect(await world.platform.arch(host())).toBe(NODE.arch);
    await expect(create(vm)).rejects.toThrow('image: expected one for amd64, as this host is, got alpha for aarch64');
  });

  test('of several disks gives all of them, in their order', async () => {
    await open(kind);
    await images.take(host(), bring([diskOf(2 ** 20, 'a'), diskOf(2 ** 21, 'b')]));
    await create(vm);
    expect(await head(placeOf('web01').replace('disk0', 'disk1'))).toBe('begin b');
  });

  test('grows with its VM, and never shrinks', async () => {
    await open(kind);
    await images.take(host(), bring([DISK]));
    await expect(create({ ...vm, disks: [{ size: '2M' }] })).rejects.toMatchObject({
      code: 'spec.invalid',
      message: expect.stringContaining('disks[0].size: expected at least') as string,
    });
    await create({ ...vm, disks: [{ size: '1G' }, { size: '10M' }] });
    expect(world.store.findVm('web01')?.spec.disks).toMatchObject(
      kind === 'zfs'
        ? [{ zvol: { size: 2 ** 30 } }, { zvol: { size: 10 * 2 ** 20 } }]
        : [{ file: { size: 2 ** 30 } }, { file: {} }],
    );
  });

  test('whose sender goes away, or that is not the one that was signed, leaves nothing', async () => {
    await open(kind);
    const before = kind === 'zfs' ? await datasets() : await world.model.host.list('/var/db/brig/images/disks');
    await expect(images.take(host(), bring([DISK], { cut: true }))).rejects.toThrow('got the end');
    const signed = await signedCopy();
    await expect(images.take(host(), bring([diskOf(DISK.length, 'b')], { manifest: signed }))).rejects.toThrow(
      'chunk 0 is not the one that was signed',
    );
    await expect(images.take(host(), bring([DISK.subarray(0, CHUNK)], { manifest: signed }))).rejects.toThrow(
      'shorter',
    );
    await expect(images.take(host(), bring([diskOf(3 * CHUNK)], { manifest: signed }))).rejects.toThrow('longer');
    await expect(images.take(host(), bring([DISK, DISK], { manifest: signed }))).rejects.toThrow(
      'expected 1 disks, got more',
    );
    const after = kind === 'zfs' ? await datasets() : await world.model.host.list('/var/db/brig/images/disks');
    // The parent of all images stays.
    expect(after?.filter((name) => !name.endsWith('/images'))).toEqual(before);
  });

  /** The text of a signed manifest of DISK, from which the image itself is removed. */
  const signedCopy = async (): Promise<string> => {
    await images.take(host(), bring([DISK]));
    const text = renderImage(await images.show(host(), 'alpha'));
    await images.remove(host(), 'alpha');
    return text;
  };

  test('that somebody wrote to is found by verify, and not exported', async () => {
    await open(kind);
    const { digest } = await images.take(host(), bring([DISK]));
    if (kind === 'zfs') {
      const volume = `tank/brig/images/${digest}/disk0`;
      await zfs('release', 'brig', `${volume}@base`);
      await zfs('destroy', `${volume}@base`);
      await zfs('set', 'readonly=off', volume);
      await (await world.model.host.openDisk(`/dev/zvol/${volume}`, 'write')).write(0, Buffer.alloc(512, 7));
      await zfs('snapshot', `${volume}@base`);
    } else {
      const path = `/var/db/brig/images/disks/${digest}/disk0.raw`;
      await (await world.model.host.openDisk(path, 'write')).write(0, Buffer.alloc(512, 7));
    }
    expect((await images.verify(host(), digest)).problems).toEqual([
      'disk 0 differs from what was signed in 1 of 2 chunks, first at byte 0',
    ]);
    await expect(images.read(host(), digest, 0).next()).rejects.toThrow(
      'chunk 0 of disk 0 is not the one that was signed',
    );
  });
});

describe('who vouches for an image', () => {
  const editOf = (signed: SignedImage, change: Record<string, unknown>): string =>
    renderImage({ ...signed, manifest: { ...signed.manifest, ...change } });

  const foreign = async (): Promise<{ signed: SignedImage; line: string }> => {
    const other = await new World({ seed: 9 }).prepare();
    const theirs = await other.openImages();
    await theirs.take(other.mortal.host, bring([DISK]));
    const signed = await theirs.show(other.mortal.host, 'alpha');
    const line = (await other.model.host.readFile('/var/db/brig/keys/host.pub')) ?? '';
    other.close();
    return { signed, line };
  };

  test('nobody here, until its key is trusted, and not after it was revoked', async () => {
    await open('zfs');
    const { signed, line } = await foreign();
    const key = signed.signature?.key ?? '';
    const take = () => images.take(host(), bring([DISK], { manifest: renderImage(signed) }));
    await expect(take()).rejects.toMatchObject({
      code: 'acl.denied',
      message: `import alpha:1: signed by key ${key}, which is not trusted here`,
    });
    const { trustIn } = await import('../../src/image/trusting.ts');
    const trust = trustIn('/var/db/brig/keys');
    await trust.add(host(), 'friend', line);
    expect(await take()).toMatchObject({ usable: true, key });
    await trust.revoke(host(), 'friend');
    const revoked = `signed by key ${key}, which was revoked here`;
    expect(await images.list(host())).toMatchObject([{ usable: false, problem: revoked }]);
    await expect(create(vm)).rejects.toThrow(revoked);
    await images.remove(host(), 'alpha');
    await expect(take()).rejects.toThrow(revoked);
    await expect(trust.add(host(), 'friend', line)).rejects.toThrow('was revoked here');
    // One's own signature takes its place.
  });

  test('a digest that somebody gave, or nobody: said for ever, by this host', async () => {
    await open('zfs');
    const { signed } = await foreign();
    const provenance = { source: 'alpha.tar.zst', verified: 'none' };
    const view = await images.take(host(), bring([DISK], { manifest: renderImage(signed), provenance }));
    expect(view).toMatchObject({ verified: 'none', source: 'alpha.tar.zst', usable: true });
    expect(view.key).not.toBe(signed.signature?.key);
    expect((await images.show(host(), 'alpha')).manifest.provenance).toEqual(provenance);
  });

  test.each<[string, (signed: SignedImage) => string, string]>([
    ['unsigned', ({ manifest }) => renderImage({ manifest }), 'nobody signed it'],
    ['altered', (signed) => editOf(signed, { version: '2' }), 'does not fit its manifest'],
    ['spelt otherwise', (signed) => JSON.stringify(signed), 'expected the spelling that brig writes'],
    ['no JSON', () => 'hello', 'expected JSON'],
    ['with unknown keys', (signed) => editOf(signed, { root: true }), 'expected no such key'],
    [
      'with a fragment that reaches the host',
      (signed) => editOf(signed, { spec: { disks: [{ image: '/etc/passwd' }] } }),
      'spec.disks: expected no such key',
    ],
    ['with a path for a name', (signed) => editOf(signed, { name: '../../etc' }), 'name: expected a name'],
    [
      'with too few digests',
      (signed) => editOf(signed, { disks: signed.manifest.disks.map((disk) => ({ ...disk, bytes: 2 ** 35 })) }),
      'a digest for each chunk',
    ],
    [
      'with disks of more than there is',
      (signed) => editOf(signed, { disks: signed.manifest.disks.map((disk) => ({ ...disk, bytes: 2 ** 60 })) }),
      'bytes: expected',
    ],
  ])('is %s: refused', async (_, text, reason) => {
    await open('zfs');
    await images.take(host(), bring([DISK]));
    const signed = await images.show(host(), 'alpha');
    await images.remove(host(), 'alpha');
    await expect(images.take(host(), bring([DISK], { manifest: text(signed) }))).rejects.toThrow(reason);
  });
});

describe('people at the pool', () => {
  const disk = async (): Promise<string> => {
    const { digest } = await images.take(host(), bring([DISK]));
    return `tank/brig/images/${digest}/disk0`;
  };

  test('cannot destroy what is held', async () => {
    await open('zfs');
    const name = await disk();
    const { stderr } = await world.model.host.run({
      program: '/sbin/zfs',
      args: ['destroy', '-r', name],
      timeoutMs: 1000,
    });
    expect(stderr).toContain("it's being held");
  });

  test('destroy an origin: the image says so, and no VM begins with it', async () => {
    await open('zfs');
    const name = await disk();
    await zfs('release', 'brig', `${name}@base`);
    await zfs('destroy', '-r', name.replace('/disk0', ''));
    expect(await images.list(host())).toMatchObject([{ usable: false, problem: 'its disks are gone' }]);
    await expect(create(vm)).rejects.toThrow('its disks are gone');
    await images.take(host(), bring([DISK]));
    expect(await images.list(host())).toMatchObject([{ usable: true }]);
  });

  test('make a clone of theirs: the image stays until that is gone', async () => {
    await open('zfs');
    const name = await disk();
    await zfs('clone', `${name}@base`, 'tank/mine');
    await expect(images.remove(host(), 'alpha')).rejects.toMatchObject({ code: 'image.inUse' });
    expect(await images.list(host())).toMatchObject([{ usable: true }]);
    expect(await images.gc(host(), false)).toMatchObject([{ keep: true }]);
    await zfs('destroy', 'tank/mine');
    await images.remove(host(), 'alpha');
    expect((await datasets()).filter((each) => each.includes('images/'))).toEqual([]);
  });

  test('take the hold away: it is put back when a VM is made', async () => {
    await open('zfs');
    const name = await disk();
    await zfs('release', 'brig', `${name}@base`);
    await images.take(host(), bring([DISK]));
    expect(await zfs('holds', '-H', `${name}@base`)).toHaveLength(1);
  });
});

describe('gc', () => {
  test('keeps what VMs were made of and the last of each name, frees the rest, and says why', async () => {
    await open('zfs');
    for (const version of ['1', '2', '3']) {
      await images.take(host(), bring([DISK], { about: { version } }));
      await host().sleep(1000);
    }
    await create({ ...vm, image: 'alpha:1' });
    const lines = await images.gc(host(), true);
    expect(Object.fromEntries(lines.map(({ name, why }) => [name, why]))).toEqual({
      'alpha:1': '1 VM was made of it',
      'alpha:2': 'a later alpha came, and no VM was made of this one',
      'alpha:3': 'the last alpha that came',
    });
    expect((await images.list(host())).length).toBe(3);
    await images.gc(host(), false);
    expect((await images.list(host())).map(({ version }) => version)).toEqual(['1', '3']);
  });
});
