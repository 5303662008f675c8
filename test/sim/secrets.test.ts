import { afterEach, describe, expect, test } from 'vitest';
import type { Config } from '../../src/spec/config.ts';
import type { FileNode } from '../../src/model/world.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;
const CANARY = 'correct horse battery staple';
const CONF = '/var/run/brig/vms/web01/vm/bhyve.conf';
const SEED = '/var/run/brig/vms/web01/vm/seed.iso';
const DOCUMENT = {
  owner: 'alice',
  cloudInit: { userData: 'password: {{secret:pw}}\n', vendorData: 'secret:vendor' },
  devices: { fbuf: { password: 'secret:vnc' } },
};

let world: World;
afterEach(() => world.close());

const ready = async (master: Config['secrets']['master'] = 'file'): Promise<World> =>
  (world = await new World({}, undefined, { secrets: { master } }).prepare('shared'));
const set = (name: string, value: string, owner = 'alice') => world.engine.secrets.set(owner, name, Buffer.from(value));
const setAll = async (): Promise<void> => {
  await set('pw', CANARY);
  await set('vendor', 'vendor');
  await set('vnc', 'p4ss=w,d');
};
const nodeAt = (path: string): FileNode | undefined => world.model.state.find(path) as FileNode | undefined;
const textAt = (path: string): string => Buffer.from(nodeAt(path)?.content ?? []).toString();
const seedFile = (name: string): string => {
  const { files } = JSON.parse(textAt(SEED)) as { files: Record<string, string> };
  return Buffer.from(files[name] ?? '', 'base64').toString();
};

describe('a VM that refers to secrets', () => {
  test('has them in files of its own while it runs, and an audit holds', async () => {
    await ready();
    await setAll();
    await world.create(DOCUMENT);
    const before = await world.inventory();
    await world.engine.start('web01', operator);
    const { uid } = await world.engine.show('web01');
    expect(nodeAt(CONF)).toMatchObject({ mode: 0o600, uid, gid: uid });
    expect(textAt(CONF)).toContain('\npci.0.29.0.password=p4ss=w,d\n');
    expect([seedFile('user-data'), seedFile('vendor-data')]).toEqual([`password: ${CANARY}\n`, 'vendor']);
    const [audit] = await world.audit('web01');
    expect(audit?.properties.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
    await world.engine.stop('web01', { ...operator, graceMs: 0 });
    expect(await world.inventory()).toEqual(before);
    expect([nodeAt(CONF), nodeAt(SEED)]).toEqual([undefined, undefined]);
  });

  test('is another instance for cloud-init once a secret was set again, and the same one until then', async () => {
    await ready();
    await setAll();
    await world.create(DOCUMENT);
    const instance = async (): Promise<string> => {
      await world.engine.start('web01', operator);
      const id = /instance-id: (\S+)/.exec(seedFile('meta-data'))?.[1] ?? '';
      await world.engine.stop('web01', { ...operator, graceMs: 0 });
      return id;
    };
    const [first, second] = [await instance(), await instance()];
    await world.engine.secrets.rotate();
    const third = await instance();
    await set('pw', 'another');
    expect(new Set([first, second, third]).size).toBe(1);
    expect(await instance()).not.toBe(first);
    expect(first).toMatch(/^web01-[0-9a-f]{16}-[0-9a-z]+-[0-9a-z]+$/);
  });

  test('does not start while one of them is not there, and nothing is touched', async () => {
    await ready();
    await set('vendor', 'x');
    // Of the node, and of another owner: neither is hers.
    await set('pw', CANARY, '');
    await set('vnc', 'x', 'bob');
    await world.create(DOCUMENT);
    const before = await world.inventory();
    for (const work of [() => world.engine.start('web01', operator), () => world.engine.plan('start', 'web01', 0)])
      await expect(work()).rejects.toMatchObject({
        code: 'vm.blocked',
        message: expect.stringMatching(/secret:pw of alice, secret:vnc of alice, got no such secret$/) as unknown,
        hint: 'brig secret set pw --owner alice',
      });
    expect(await world.inventory()).toEqual(before);
  });

  test('keeps running when a restart would not come through', async () => {
    await ready();
    await setAll();
    await world.create(DOCUMENT);
    await world.engine.start('web01', operator);
    world.store.secrets.remove('alice', 'vnc');
    await expect(world.engine.restart('web01', operator)).rejects.toMatchObject({ code: 'vm.blocked' });
    expect(await world.state()).toBe('running');
  });

  test.each([
    ['123456789', /got more than 8, and VNC would heed no more$/],
    ['a\nx=y', /got other characters$/],
  ])('does not start with a password that VNC cannot have: %j', async (password, reason) => {
    await ready();
    await setAll();
    await set('vnc', password);
    await world.create(DOCUMENT);
    const error: unknown = await world.engine.start('web01', operator).catch((each: unknown) => each);
    expect(error).toMatchObject({ code: 'vm.blocked', message: expect.stringMatching(reason) as unknown });
    expect(String(error)).not.toContain(password);
  });

  test('gets the values again when somebody removes the files', async () => {
    await ready();
    await setAll();
    await world.create(DOCUMENT);
    await world.engine.start('web01', operator);
    await world.model.host.remove(CONF);
    await world.model.host.remove(SEED);
    await world.engine.repair('web01', () => undefined);
    expect(textAt(CONF)).toContain('password=p4ss=w,d');
    expect(seedFile('user-data')).toContain(CANARY);
  });
});

describe('a secret', () => {
  test('is listed with the VMs that refer to it, and is not removed before them', async () => {
    await ready();
    await setAll();
    await set('vnc', 'other', 'bob');
    await world.create(DOCUMENT);
    const { secrets } = world.engine;
    expect(secrets.list('alice').map(({ name, usedBy }) => [name, usedBy])).toEqual([
      ['pw', ['web01']],
      ['vendor', ['web01']],
      ['vnc', ['web01']],
    ]);
    expect(secrets.list('bob')).toEqual([
      { owner: 'bob', name: 'vnc', usedBy: [], createdMs: expect.any(Number) as unknown },
    ]);
    expect(() => secrets.remove('alice', 'vnc')).toThrow('remove secret vnc: blocked: web01 refers to it');
    secrets.remove('bob', 'vnc');
    await world.engine.destroy('web01', operator);
    secrets.remove('alice', 'vnc');
    expect(secrets.list().map(({ name }) => name)).toEqual(['pw', 'vendor']);
    expect(() => secrets.remove('alice', 'vnc')).toThrow('find secret:vnc of alice: no such secret');
  });

  test.each([
    ['a B', 'x', '', /expected a name of \[a-z0-9._-\]/],
    ['../x', 'x', '', /expected a name/],
    ['a', 'x', '-a', /expected an owner/],
    ['a', '', '', /expected a value of 1 to 65536 bytes, got 0$/],
    ['a', 'x'.repeat(65_537), '', /expected a value of 1 to 65536 bytes, got 65537$/],
  ])('%j is refused', async (name, value, owner, reason) => {
    await ready();
    await expect(set(name, value, owner)).rejects.toThrow(reason);
  });

  test('may be of whoever may own a VM', async () => {
    await ready();
    for (const owner of ['John_Doe', 'a.b', 'web01']) expect(await set('pw', 'x', owner)).toMatchObject({ owner });
  });

  test('in a row that was moved to another name is refused', async () => {
    await ready();
    await set('pw', CANARY);
    const row = world.store.secrets.find('alice', 'pw');
    if (row) world.store.secrets.put([{ ...row, owner: 'bob' }]);
    const error: unknown = await world.engine.secrets
      .reveal({ owner: 'bob', name: 'pw' })
      .catch((each: unknown) => each);
    expect(error).toMatchObject({ code: 'store.failed' });
  });

  test('set many times at once has one master key', async () => {
    await ready();
    await Promise.all(['a', 'b', 'c', 'd'].map((name) => set(name, name)));
    expect(world.store.secrets.masters().size).toBe(1);
    const { value } = await world.engine.secrets.reveal({ owner: 'alice', name: 'c' });
    expect(Buffer.from(value).toString()).toBe('c');
  });

  test('set while the master key is exchanged is not lost', async () => {
    await ready();
    await setAll();
    const { secrets } = world.engine;
    await Promise.all([secrets.rotate(), set('late', 'late'), secrets.rotate(), secrets.rotate(), set('later', 'x')]);
    world.die();
    await world.boot();
    for (const name of ['pw', 'late', 'later']) await world.engine.secrets.reveal({ owner: 'alice', name });
  });
});

describe('a master key', () => {
  test('is in a file of root that nobody else reads, and one that others may read is refused', async () => {
    await ready();
    await setAll();
    expect(nodeAt('/var/db/brig/keys/master.key')).toMatchObject({ mode: 0o600, uid: 0, gid: 0 });
    const node = nodeAt('/var/db/brig/keys/master.key');
    if (node) world.model.plantFile('/var/db/brig/keys/master.key', { ...node, mode: 0o640 });
    world.die();
    await world.boot();
    await expect(set('x', 'x')).rejects.toMatchObject({ code: 'acl.denied' });
  });

  test('that is gone is not quietly replaced by another one', async () => {
    await ready();
    await setAll();
    await world.create(DOCUMENT);
    await world.model.host.remove('/var/db/brig/keys/master.key');
    world.die();
    await world.boot();
    await expect(set('x', 'x')).rejects.toMatchObject({ code: 'secret.locked' });
    await expect(world.engine.secrets.rotate()).rejects.toMatchObject({ code: 'secret.locked' });
    await expect(world.engine.start('web01', operator)).rejects.toMatchObject({ code: 'secret.locked' });
    expect(nodeAt('/var/db/brig/keys/master.key')).toBeUndefined();
  });

  test('of a passphrase is not there before somebody says it; VMs without secrets start as usual', async () => {
    await ready('passphrase');
    const { lock, unlock } = {
      lock: () => world.engine.secrets.lock(),
      unlock: (phrase?: string) => world.engine.secrets.unlock(phrase),
    };
    expect(await lock()).toEqual({ locked: true, asks: true, isNew: true });
    await expect(set('x', 'x')).rejects.toMatchObject({ code: 'secret.locked', hint: 'brig secret unlock' });
    await expect(unlock('short')).rejects.toMatchObject({ code: 'acl.invalid' });
    expect(await unlock(CANARY)).toEqual({ locked: false, asks: true, isNew: false });
    await setAll();
    await world.create(DOCUMENT);
    await world.create({ name: 'plain', nics: [], disks: [] });
    world.die();
    await world.boot();
    expect(await lock()).toEqual({ locked: true, asks: true, isNew: false });
    const before = await world.inventory();
    await expect(world.engine.start('web01', operator)).rejects.toMatchObject({
      code: 'secret.locked',
      message: expect.stringContaining('blocked by secret:pw of alice') as unknown,
      hint: 'brig secret unlock',
    });
    expect(await world.inventory()).toEqual(before);
    await world.engine.start('plain', operator);
    await expect(unlock('another passphrase')).rejects.toMatchObject({ code: 'acl.denied' });
    expect((await lock()).locked).toBe(true);
    await unlock(CANARY);
    await world.engine.start('web01', operator);
    expect(JSON.stringify(world.events.list(0, 10_000))).not.toContain(CANARY);
  });

  test('that somebody provides opens while its file is there, and is exchanged by a line before it', async () => {
    const line = (byte: number): string => `master-secret ${Buffer.alloc(32, byte).toString('base64')}\n`;
    const write = (text: string, mode = 0o600) =>
      world.model.host.writeFile('/var/run/tpm.key', text, { mode, uid: 0, gid: 0 });
    await ready({ file: '/var/run/tpm.key' });
    await expect(set('x', 'x')).rejects.toMatchObject({
      code: 'secret.locked',
      message: expect.stringContaining('/var/run/tpm.key') as unknown,
    });
    await write(line(1), 0o644);
    await expect(set('x', 'x')).rejects.toMatchObject({ code: 'acl.denied' });
    await write(line(1));
    await setAll();
    await expect(world.engine.secrets.rotate()).rejects.toMatchObject({ code: 'acl.invalid' });
    await write(line(2) + line(1));
    const before = world.store.secrets.masters();
    await world.engine.secrets.rotate();
    expect(world.store.secrets.masters()).not.toEqual(before);
    await write(line(2));
    world.die();
    await world.boot();
    const { value } = await world.engine.secrets.reveal({ owner: 'alice', name: 'pw' });
    expect(Buffer.from(value).toString()).toBe(CANARY);
    await write(line(3));
    world.die();
    await world.boot();
    await expect(world.engine.secrets.reveal({ owner: 'alice', name: 'pw' })).rejects.toMatchObject({
      code: 'secret.locked',
    });
    await write(line(2));
    await world.engine.secrets.unlock();
    await world.engine.secrets.reveal({ owner: 'alice', name: 'pw' });
  });
});
