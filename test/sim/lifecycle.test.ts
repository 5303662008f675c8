import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
beforeEach(async () => {
  world = await new World().prepare();
});
afterEach(() => world.close());

describe('one VM', () => {
  test('starts, runs jailed, stops, and leaves nothing', async () => {
    const before = await world.inventory();
    await world.create();
    expect(await world.state()).toBe('defined');
    expect(await world.engine.start('web01', operator)).toEqual({ changed: true });
    const view = await world.engine.show('web01');
    expect(view).toMatchObject({ state: 'running', supervised: true, uid: 20000 });
    expect(await world.shell('/usr/sbin/jls', '-j', 'brig-web01', 'jid')).toMatch(/^\d+\n$/);
    expect(await world.engine.stop('web01', operator)).toEqual({ changed: true });
    expect(await world.state()).toBe('defined');
    expect(await world.inventory()).toEqual(before);
  });

  test('a start of a running VM, and a stop of a stopped one, do nothing', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    const steps = world.kinds().length;
    expect(await world.engine.start('web01', operator)).toEqual({ changed: false });
    expect(world.kinds()).toHaveLength(steps);
    await world.engine.stop('web01', operator);
    expect(await world.engine.stop('web01', operator)).toEqual({ changed: false });
  });

  test('a plan right after a start is empty, and one of a stop is the start backwards', async () => {
    await world.create();
    const start = await world.engine.plan('start', 'web01', 0);
    await world.engine.start('web01', operator);
    expect(await world.engine.plan('start', 'web01', 0)).toEqual([]);
    expect(await world.engine.examine('web01')).toEqual([]);
    const stop = await world.engine.plan('stop', 'web01', 0);
    expect(stop.map((line) => line.step)).toEqual(start.map((line) => line.step).reverse());
  });

  test('what plan prints is what start runs', async () => {
    await world.create();
    const lines = (await world.engine.plan('start', 'web01', 0)).map((line) => line.step);
    await world.engine.start('web01', operator);
    const ran = world.events
      .list(0, 1000, 'web01')
      .filter((event) => event.kind === 'step.done' && event.data.step !== undefined);
    expect(ran.map((event) => event.data.step).slice(-lines.length)).toEqual(lines);
  });

  test('restart gives it a new process', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    const { pid } = await world.engine.show('web01');
    await world.engine.restart('web01', operator);
    const after = await world.engine.show('web01');
    expect(after.state).toBe('running');
    expect(after.pid).not.toBe(pid);
  });

  test('destroy removes disks and leases, but not while it runs', async () => {
    await world.create();
    const pool = await world.shell(
      '/sbin/zfs',
      'list',
      '-Hp',
      '-r',
      '-t',
      'filesystem,volume',
      '-o',
      'name',
      'tank/brig',
    );
    expect(pool).toContain('tank/brig/vms/web01/disk0');
    await world.engine.start('web01', operator);
    await expect(world.engine.destroy('web01', operator)).rejects.toMatchObject({ code: 'vm.blocked' });
    await world.engine.destroy('web01', { ...operator, force: true });
    expect(
      await world.shell('/sbin/zfs', 'list', '-Hp', '-r', '-t', 'filesystem,volume', '-o', 'name', 'tank/brig'),
    ).not.toContain('web01');
    await expect(world.engine.show('web01')).rejects.toMatchObject({ code: 'vm.unknown' });
    await world.create();
    expect((await world.engine.show('web01')).uid).toBe(20000);
  });

  test('mode direct leaves the vnet empty and puts the tap on the bridge', async () => {
    await world.create({ nics: [{ mode: 'direct' }] });
    await world.engine.start('web01', operator);
    expect(await world.shell('/sbin/ifconfig', '-j', 'brig-web01', '-l')).toBe('lo0\n');
    expect(await world.shell('/sbin/ifconfig', 'bridge7000')).toContain('member: tap7000');
    await world.engine.stop('web01', operator);
  });

  test('files and images are disks too', async () => {
    await world.model.host.mkdir('/isos', { mode: 0o755, uid: 0, gid: 0 });
    await world.model.host.writeFile('/isos/a.iso', 'iso', { mode: 0o444, uid: 0, gid: 0 });
    await world.create({
      disks: [{ file: { size: '1M' } }, { image: '/isos/a.iso' }, { file: { size: '2M', from: '/isos/a.iso' } }],
    });
    expect((await world.model.host.stat('/var/db/brig/vms/web01/disk/disk2.raw'))?.bytes).toBe(2 ** 21);
    await world.engine.start('web01', operator);
    expect(await world.state()).toBe('running');
    await world.engine.stop('web01', operator);
    await world.engine.destroy('web01', operator);
    expect(await world.model.host.list('/var/db/brig/vms')).toEqual([]);
  });
});

describe('several VMs', () => {
  test('share a network: the first makes its bridge, the last removes it', async () => {
    const before = await world.inventory();
    for (const name of ['a', 'b']) await world.create({ name });
    await Promise.all(['a', 'b'].map((name) => world.engine.start(name, operator)));
    const bridge = await world.shell('/sbin/ifconfig', 'bridge7000');
    expect(bridge).toContain('member: epair7000a');
    expect(bridge).toContain('member: epair7001a');
    await world.engine.stop('a', operator);
    expect(await world.state('b')).toBe('running');
    expect(await world.shell('/sbin/ifconfig', 'bridge7000')).toContain('member: epair7001a');
    await world.engine.stop('b', operator);
    expect(await world.inventory()).toEqual(before);
  });

  test('a name that is the beginning of another is another', async () => {
    for (const name of ['web1', 'web10']) await world.create({ name });
    await Promise.all(['web1', 'web10'].map((name) => world.engine.start(name, operator)));
    await world.engine.stop('web1', operator);
    expect([await world.state('web1'), await world.state('web10')]).toEqual(['defined', 'running']);
    expect(await world.engine.examine('web10')).toEqual([]);
  });

  test('two starts at once: one wins, the other is told', async () => {
    await world.create();
    const [first, second] = await Promise.allSettled([
      world.engine.start('web01', operator),
      world.engine.start('web01', operator),
    ]);
    expect(first.status).toBe('fulfilled');
    expect(second).toMatchObject({
      status: 'rejected',
      reason: { code: 'vm.blocked', message: 'start web01: blocked: already starting' },
    });
  });

  test('a listing costs the same for one as for twenty', async () => {
    let commands = 0;
    for (let i = 0; i < 20; i++) await world.create({ name: `vm${i}`, disks: [], nics: [] });
    world.model.onCommand = () => {
      commands++;
      return undefined;
    };
    expect(await world.list()).toHaveLength(20);
    expect(commands).toBeLessThanOrEqual(7);
    await world.model.host.sleep(1000);
  });
});

describe('a guest', () => {
  test('that powers off is defined again, and not restarted on-failure', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    world.model.guest('web01').type('q');
    await world.until(async () => (await world.state()) === 'defined');
    expect((await world.engine.show('web01')).lastEnd).toMatchObject({ exit: 'power-off', cause: 'guest' });
  });

  test('that crashes is restarted by policy, and the crash is told', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    const { pid } = await world.engine.show('web01');
    await world.shell('/bin/kill', '-KILL', String(pid));
    await world.until(
      async () => (await world.state()) === 'running' && (await world.engine.show('web01')).pid !== pid,
    );
    expect(world.kinds()).toContain('vm.ended');
    expect((await world.engine.show('web01')).lastEnd).toMatchObject({ exit: 'signal 9', cause: 'crash' });
  });

  test('that crashes over and over is failed until a person starts it', async () => {
    const before = await world.inventory();
    await world.create({ restart: { policy: 'on-failure', max: 2, windowSeconds: 60 } });
    await world.engine.start('web01', operator);
    for (let i = 0; i < 3; i++) {
      await world.until(async () => (await world.state()) === 'running');
      world.model.guest('web01').type('t');
      await world.until(async () => (await world.state()) !== 'running');
    }
    await world.until(async () => (await world.state()) === 'failed');
    expect((await world.engine.show('web01')).reason).toContain('ended 3 times within 60 s');
    expect(await world.inventory()).toEqual(before);
    await world.engine.start('web01', operator);
    expect(await world.state()).toBe('running');
    const { pid } = await world.engine.show('web01');
    world.model.guest('web01').type('t');
    await world.until(
      async () => (await world.engine.show('web01')).pid !== pid && (await world.state()) === 'running',
    );
  });

  test('that crashes over and over is failed though brigd is killed in between', async () => {
    await world.create({ restart: { policy: 'on-failure', max: 2, windowSeconds: 60 } });
    await world.engine.start('web01', operator);
    for (let i = 0; i < 3; i++) {
      await world.until(async () => (await world.state()) === 'running');
      world.die();
      await world.boot();
      world.model.guest('web01').type('t');
      await world.until(async () => (await world.state()) !== 'running');
    }
    await world.until(async () => (await world.state()) === 'failed');
    expect((await world.engine.show('web01')).reason).toContain('ended 3 times within 60 s');
  });

  test('whose end one brigd tells and the next one deals with ended once', async () => {
    await world.create({ restart: { policy: 'on-failure', max: 5, windowSeconds: 60 } });
    await world.engine.start('web01', operator);
    for (let i = 0; i < 2; i++) {
      world.model.guest('web01').type('t');
      await world.until(() => world.kinds().filter((kind) => kind === 'vm.ended').length === i + 1);
      world.die();
      await world.boot();
      await world.until(async () => (await world.state()) === 'running');
    }
    expect(world.kinds().filter((kind) => kind === 'vm.ended')).toHaveLength(2);
  });

  test('that resets runs on in a new process, without brigd', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    const { pid } = await world.engine.show('web01');
    world.model.guest('web01').type('r');
    await world.until(
      async () => (await world.engine.show('web01')).pid !== pid && (await world.state()) === 'running',
    );
    await world.until(() => world.kinds().includes('vm.reset'));
  });

  test('that ignores the power button is forced off', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    world.model.guest('web01').ignoreAcpi = true;
    await world.engine.stop('web01', { ...operator, graceMs: 1000 });
    expect(await world.state()).toBe('defined');
  });
});

describe('a start that cannot be', () => {
  test.each([
    ['more CPUs than vmm gives', { cpus: 64 }, 'cpus at most 4'],
    ['more memory than there is', { memory: '900G' }, 'memory at most'],
    ['a boot ROM that is not there', { firmware: { rom: '/no/rom' } }, 'file /no/rom'],
    ['an image that is not there', { disks: [{ image: '/no/iso' }] }, 'file /no/iso'],
    ['a limit below the memory', { limits: { memory: '64M' } }, 'limits.memory of at least'],
    ['a network nobody knows', { nics: [{ network: 'nope' }] }, 'expected network default'],
  ])('%s is refused before anything is touched', async (_, change, text) => {
    const before = await world.inventory();
    await expect(world.create(change)).rejects.toMatchObject({
      code: 'vm.blocked',
      message: expect.stringContaining(text) as string,
    });
    expect(await world.inventory()).toEqual(before);
    expect(await world.list()).toEqual([]);
  });

  test('a stranger with our names is found, and never touched', async () => {
    await world.create();
    await world.shell('/sbin/ifconfig', 'tap7000', 'create', 'description', 'mine');
    await expect(world.engine.start('web01', operator)).rejects.toThrow(
      'interface tap7000 free or marked brig:vm/web01',
    );
    expect(await world.shell('/sbin/ifconfig', 'tap7000')).toContain('description: mine');
    expect(await world.state()).toBe('defined');
  });

  test('a disk that somebody destroyed is not replaced by an empty one', async () => {
    await world.create();
    await world.shell('/sbin/zfs', 'destroy', 'tank/brig/vms/web01/disk0');
    await expect(world.engine.start('web01', operator)).rejects.toThrow('what zvol.create made');
  });

  test('a step that fails is named with its command, and all is undone', async () => {
    await world.create();
    const before = await world.inventory();
    await world.shell('/sbin/ifconfig', 'epair7000', 'create');
    const blocked = world.engine.start('web01', operator);
    await expect(blocked).rejects.toMatchObject({ code: 'vm.blocked' });
    await world.shell('/sbin/ifconfig', 'epair7000a', 'destroy');
    expect(await world.inventory()).toEqual(before);
  });

  test('an unknown VM is told with the nearest name', async () => {
    await world.create();
    await expect(world.engine.start('web1', operator)).rejects.toMatchObject({
      code: 'vm.unknown',
      hint: 'did you mean web01?',
    });
  });
});

describe('after a boot of the host', () => {
  test('nothing runs but what says autostart', async () => {
    await world.create({ name: 'auto', autostart: true });
    await world.create({ name: 'manual' });
    for (const name of ['auto', 'manual']) await world.engine.start(name, operator);
    world.die();
    world.model.reboot();
    await world.boot();
    await world.until(async () => (await world.state('auto')) === 'running');
    expect(await world.state('manual')).toBe('defined');
    expect((await world.engine.show('manual')).lastEnd).toMatchObject({ exit: 'host went down', cause: 'host' });
  });
});

describe('stuck', () => {
  test.each(['stop', 'destroy'] as const)('a %s that got stuck goes on with resolve', async (verb) => {
    const bare = await world.inventory();
    await world.create();
    await world.engine.start('web01', operator);
    world.mortal.broken = '/sbin/umount';
    await expect(
      verb === 'stop'
        ? world.engine.stop('web01', operator)
        : world.engine.destroy('web01', { ...operator, force: true }),
    ).rejects.toThrow('could not clean up');
    world.mortal.broken = undefined;
    expect(await world.engine.show('web01')).toMatchObject({ state: 'stuck', left: expect.any(Array) as unknown });
    await expect(world.engine.start('web01', operator)).rejects.toMatchObject({
      hint: 'brig explain web01, then brig resolve web01',
    });
    expect(await world.engine.resolve('web01', operator)).toEqual({ changed: true });
    expect(await world.inventory()).toEqual(bare);
    if (verb === 'stop') expect(await world.engine.resolve('web01', operator)).toEqual({ changed: false });
    else expect(world.store.listVms()).toEqual([]);
  });

  test('a stop that got stuck before it came to the VM: it runs, and why it was not stopped is told', async () => {
    await world.create();
    await world.engine.start('web01', operator);
    world.mortal.broken = '/bin/kill';
    await expect(world.engine.stop('web01', { ...operator, graceMs: 0 })).rejects.toThrow('could not clean up');
    world.mortal.broken = undefined;
    expect(await world.engine.show('web01')).toMatchObject({
      state: 'running',
      reason: expect.stringContaining('could not clean up') as unknown,
      left: expect.any(Array) as unknown,
    });
    expect(await world.engine.resolve('web01', operator)).toEqual({ changed: true });
    expect(await world.state('web01')).toBe('defined');
  });
});

test('two VMs on one network that stop at the same moment take its bridge along', async () => {
  world = await new World().prepare('shared');
  const before = await world.inventory();
  for (const name of ['web01', 'web02']) {
    await world.create({ name, disks: [] });
    await world.engine.start(name, operator);
  }
  await Promise.all(['web01', 'web02'].map((name) => world.engine.stop(name, { ...operator, graceMs: 0 })));
  expect(await world.inventory()).toEqual(before);
});

describe('a store that cannot be written', () => {
  test('refuses a change before anything is touched, and says where to look', async () => {
    await world.create();
    const before = await world.inventory();
    const full = Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR' });
    const { store } = world;
    const beginSaga = store.beginSaga.bind(store);
    store.beginSaga = () => {
      throw full;
    };
    await expect(world.engine.start('web01', operator)).rejects.toMatchObject({
      code: 'store.failed',
      message: 'start web01: write brig.db: database or disk is full',
      hint: expect.stringContaining('df') as string,
    });
    expect(await world.inventory()).toEqual(before);
    store.beginSaga = beginSaga;
    await world.engine.start('web01', operator);
    expect(await world.state()).toBe('running');
  });
});
