import { describe, expect, test } from 'vitest';
import { machine, prepareJail, Scene } from './scene.ts';

const TAP = ['pci.0.4.0.device=virtio-net', 'pci.0.4.0.backend=tap7'];

const running = async (extra: readonly string[] = []): Promise<Scene> => {
  const scene = new Scene({ pool: 'tank' });
  if (extra === TAP) await scene.ok('ifconfig tap7 create description brig:vm/web01 group brig');
  await prepareJail(scene, machine(), extra);
  await scene.start(machine());
  return scene;
};

const stopped = async (scene: Scene): Promise<void> => {
  await scene.all('bhyvectl --vm=web01 --destroy', 'jail -R brig-web01');
};

const pid = (scene: Scene): number => scene.model.guest('web01').pid ?? 0;

describe('a tap that is open', () => {
  test('cannot be destroyed, and whoever tries wedges the host until bhyve is gone', async () => {
    const scene = await running(TAP);
    const destroy = await scene.sh('ifconfig tap7 destroy', undefined, 2000);
    expect(destroy).toMatchObject({ timedOut: true, status: 124 });
    for (const line of ['ifconfig -l', 'jls -d jid', 'jail -R brig-web01', 'ifconfig bridge create'])
      expect(await scene.sh(line, undefined, 1000), line).toMatchObject({ timedOut: true });
    expect(await scene.sh('ps -J brig-web01 -o pid,stat,command')).toMatchObject({ status: 0 });
    expect(scene.model.state.wedged).toBe(true);
    await scene.ok(`kill -KILL ${pid(scene)}`);
    expect(scene.model.state.wedged).toBe(false);
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0\n');
  });

  test('lets those who wait go on when it is closed in time', async () => {
    const scene = await running(TAP);
    const destroy = scene.sh('ifconfig tap7 destroy', undefined, 20_000);
    const names = scene.model.clock.advance(50).then(() => scene.sh('ifconfig -l', undefined, 20_000));
    await scene.model.clock.advance(500);
    await scene.ok(`kill -KILL ${pid(scene)}`);
    expect(await destroy).toMatchObject({ status: 0, timedOut: false });
    expect(await names).toMatchObject({ stdout: 'vtnet0 lo0\n' });
  });

  test('wedges the host when the vnet that made it goes', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine(), TAP);
    await scene.all('ifconfig -j brig-web01 tap7 create', 'ifconfig -j brig-web01 tap7 up');
    await scene.start(machine());
    expect(await scene.sh('jail -R brig-web01', undefined, 2000)).toMatchObject({ timedOut: true });
    expect(await scene.sh('jls -d jid name', undefined, 1000)).toMatchObject({ timedOut: true });
    await scene.ok(`kill -KILL ${pid(scene)}`);
    expect(await scene.ok('jls -d jid name')).toBe('1 brig-web01\n');
  });

  test('belongs to one bhyve', async () => {
    const scene = await running(TAP);
    const other = machine('web02', 20_002);
    await prepareJail(scene, other, TAP);
    await scene.spawn(other);
    await scene.model.clock.advance(200);
    expect(await scene.exit('web02')).toMatch(/^r1 4 \d+\n$/);
    expect(await scene.model.host.readFile('/brig/vms/web02/err')).toBe(
      'open of tap device /dev/tap7 failed\nDevice emulation initialization error: Device busy\n',
    );
  });

  test('goes down with its bhyve and stays in its bridge', async () => {
    const scene = await running(TAP);
    await scene.all('ifconfig bridge0 create', 'ifconfig bridge0 addm tap7 private tap7 up');
    expect(await scene.ok('ifconfig tap7')).toContain(`\tOpened by PID ${pid(scene)}\n`);
    await scene.ok(`kill -KILL ${pid(scene)}`);
    const after = await scene.ok('ifconfig tap7');
    expect(after).toMatch(/^tap7: flags=8902<BROADCAST,PROMISC,SIMPLEX,MULTICAST> /);
    expect(after).toContain('\tstatus: no carrier\n');
    expect(await scene.ok('ifconfig bridge0')).toContain('\tmember: tap7 flags=943<');
  });
});

describe('a removed jail', () => {
  test('stays dying, its interfaces away, until its devfs is unmounted', async () => {
    const scene = await running(TAP);
    await scene.all('ifconfig bridge0 create', 'ifconfig epair3 create group brig');
    await scene.all('ifconfig epair3b name web01j description brig:vm/web01 group brig');
    await scene.all('ifconfig web01j vnet brig-web01', 'ifconfig tap7 vnet brig-web01');
    await scene.ok('ifconfig -j brig-web01 bridge0 create');
    await scene.ok(`kill -KILL ${pid(scene)}`);
    await stopped(scene);
    await scene.model.clock.advance(60_000);
    expect(await scene.ok('jls -d jid name')).toBe('1 brig-web01\n');
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0 bridge0 epair3a\n');
    await scene.ok('umount /brig/vms/web01/root/dev');
    expect(await scene.ok('jls -d jid name')).toBe('');
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0 bridge0 epair3a web01j tap7\n');
    const home = await scene.ok('ifconfig web01j');
    expect(home).toContain('\tdescription: brig:vm/web01\n');
    expect(home).toContain('\tgroups: epair\n');
  });

  test('stays dying as long as its machine is in vmm(4)', async () => {
    const scene = await running();
    await scene.all(`kill -KILL ${pid(scene)}`, 'jail -R brig-web01', 'umount /brig/vms/web01/root/dev');
    expect(await scene.ok('jls -d jid name')).toBe('1 brig-web01\n');
    await scene.ok('bhyvectl --vm=web01 --destroy');
    expect(await scene.ok('jls -d jid name')).toBe('');
  });

  test('takes its bhyve with it', async () => {
    const scene = await running();
    await scene.ok('jail -R brig-web01');
    expect(await scene.sh('ps -J brig-web01 -o pid,stat,command')).toMatchObject({ status: 1 });
    await scene.model.clock.advance(10);
    expect(await scene.exit('web01')).toMatch(/^r1 137 \d+\n$/);
  });

  test('makes room for another of its name while it is dying', async () => {
    const scene = await running();
    await scene.ok('jail -R brig-web01');
    expect(await scene.ok('jail -q -i -c name=brig-web01 path=/ persist')).toBe('2\n');
    expect(await scene.ok('jls -d --libxo=json -n jid name dying')).toContain(
      '[{"jid":"1","name":"brig-web01","dying":true}, {"jid":"2","name":"brig-web01","dying":false}]',
    );
  });

  test('is held for ever by an nmdm that was cloned inside and opened outside', async () => {
    const scene = new Scene();
    await scene.ok('kldload nmdm');
    await prepareJail(scene, machine(), ['lpc.com2.path=/dev/nmdm-zA']);
    await scene.start(machine());
    await scene.model.host.say('/dev/nmdm-zB', 'x');
    await scene.ok(`kill -KILL ${pid(scene)}`);
    await stopped(scene);
    await scene.ok('umount /brig/vms/web01/root/dev');
    await scene.model.clock.advance(900_000);
    expect(await scene.ok('jls -d jid name')).toBe('1 brig-web01\n');
  });

  test('leaves its root busy for a moment', async () => {
    const scene = await running();
    await scene.ok(`kill -KILL ${pid(scene)}`);
    await stopped(scene);
    const root = '/brig/vms/web01/root';
    await scene.all(`umount ${root}/dev`, `umount ${root}/vm`, `umount ${root}/tmp`);
    expect(await scene.sh(`umount ${root}`)).toEqual({
      status: 1,
      stdout: '',
      stderr: `umount: unmount of ${root} failed: Device busy\n`,
      timedOut: false,
    });
    await scene.model.clock.advance(50);
    await scene.ok(`umount ${root}`);
  });
});

describe('interfaces', () => {
  test('leak when they are created by a name that is taken', async () => {
    const scene = new Scene();
    expect(await scene.ok('ifconfig bridge create name brig0')).toBe('brig0\n');
    expect(await scene.sh('ifconfig bridge create name brig0')).toMatchObject({ status: 1, stdout: 'bridge1\n' });
    expect(scene.names(await scene.ok('ifconfig -l'))).toEqual(['vtnet0', 'lo0', 'brig0', 'bridge1']);
  });

  test('are not made twice by unit', async () => {
    const scene = new Scene();
    expect(await scene.ok('ifconfig tap7000 create description brig:vm/web01 group brig')).toBe('');
    expect(await scene.ok('ifconfig epair7000 create up')).toBe('epair7000a\n');
    expect(await scene.sh('ifconfig tap7000 create')).toMatchObject({
      status: 1,
      stderr: 'ifconfig: SIOCIFCREATE2 (tap7000): File exists\n',
    });
  });

  test('go in pairs when they are epairs', async () => {
    const scene = new Scene();
    await scene.ok('jail -q -i -c name=x path=/ persist vnet');
    await scene.all('ifconfig epair5 create', 'ifconfig epair5b vnet x', 'ifconfig epair5a destroy');
    expect(await scene.ok('ifconfig -j x')).not.toContain('epair5b');
  });

  test('cannot join a vnet that has their name already', async () => {
    const scene = new Scene();
    await scene.ok('jail -q -i -c name=x path=/ persist vnet');
    await scene.all('ifconfig -j x bridge0 create', 'ifconfig bridge0 create');
    expect(await scene.sh('ifconfig bridge0 vnet x')).toMatchObject({ stderr: 'ifconfig: SIOCSIFVNET: File exists\n' });
    await scene.all('ifconfig bridge0 destroy', 'ifconfig bridge0 -vnet x');
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0 bridge0\n');
  });

  test('are members of one bridge', async () => {
    const scene = new Scene();
    await scene.all('ifconfig tap0 create', 'ifconfig bridge0 create', 'ifconfig bridge1 create');
    await scene.ok('ifconfig bridge0 addm tap0');
    expect(await scene.sh('ifconfig bridge1 addm tap0')).toMatchObject({
      stderr: 'ifconfig: BRDGADD tap0: Device busy\n',
    });
  });
});

describe('devfs rules', () => {
  test('end at a blank line, silently', async () => {
    const scene = new Scene();
    await scene.ok('devfs rule -s 300 add -', 'path foo unhide\n\npath bar unhide\n');
    expect(await scene.ok('devfs rule -s 300 show')).toBe('100 path foo unhide\n');
  });

  test('are shown with names where the host has them', async () => {
    const scene = new Scene();
    scene.model.addUser(20_001, 'somebody');
    await scene.ok('devfs rule -s 300 add -', 'path a user 20001 mode 0600\npath b user 20002\n');
    expect(await scene.ok('devfs rule -s 300 show')).toBe('100 path a user somebody mode 600\n200 path b user 20002\n');
  });

  test('are cut when a pattern is too long, with a warning and success', async () => {
    const scene = new Scene();
    const result = await scene.sh('devfs rule -s 300 add -', `path ${'x'.repeat(250)} unhide\n`);
    expect(result).toMatchObject({ status: 0, stderr: 'devfs rule: pattern specified too long; truncated\n' });
    expect(await scene.ok('devfs rule -s 300 show')).toBe(`100 path ${'x'.repeat(199)} unhide\n`);
  });

  test('include only sets that are there, and one level deep', async () => {
    const scene = new Scene();
    expect(await scene.sh('devfs rule -s 300 add -', 'include 299\n')).toMatchObject({
      status: 1,
      stderr: 'devfs rule: ioctl: No such process\n',
    });
    await scene.mkdir('/a', '/b');
    await scene.ok('devfs rule -s 300 add -', 'include 4\n');
    await scene.all('mount -t devfs -o ruleset=4 devfs /a', 'mount -t devfs -o ruleset=300 devfs /b');
    expect(await scene.model.host.list('/a')).toEqual(['fd', 'null', 'random', 'urandom', 'zero', 'zfs']);
    expect(await scene.model.host.list('/b')).toContain('mem');
  });

  test('do not make a directory visible by making its device visible', async () => {
    const scene = new Scene({ pool: 'tank' });
    await scene.ok('zfs create -s -V 64m -o volmode=dev tank/a');
    await scene.mkdir('/a');
    await scene.ok('devfs rule -s 300 add -', 'hide\npath zvol/tank/a unhide\n');
    await scene.ok('mount -t devfs -o ruleset=300 devfs /a');
    expect(await scene.model.host.list('/a')).toEqual([]);
    await scene.ok('devfs rule -s 300 add -', 'path zvol unhide\npath zvol/tank unhide\n');
    expect(await scene.model.host.list('/a')).toEqual([]);
    await scene.ok('devfs -m /a rule applyset');
    expect(await scene.model.host.list('/a/zvol/tank')).toEqual(['a']);
  });

  test('show every device when the set is unknown', async () => {
    const scene = new Scene();
    await scene.mkdir('/a');
    await scene.ok('mount -t devfs -o ruleset=4711 devfs /a');
    expect(await scene.model.host.list('/a')).toEqual(await scene.model.host.list('/dev'));
    expect(await scene.ok('devfs rule showsets')).toBe('1\n2\n3\n4\n5\n4711\n');
    await scene.ok('umount /a');
    expect(await scene.ok('devfs rule showsets')).toBe('1\n2\n3\n4\n5\n');
  });

  test('reach devices that come later, before anybody can open them', async () => {
    const scene = new Scene();
    await scene.mkdir('/a');
    await scene.ok('devfs rule -s 300 add -', 'hide\npath tap7 unhide user 20001 mode 600\n');
    await scene.ok('mount -t devfs -o ruleset=300 devfs /a');
    await scene.all('ifconfig tap6 create', 'ifconfig tap7 create');
    expect(await scene.model.host.list('/a')).toEqual(['tap7']);
    expect(await scene.model.host.stat('/a/tap7')).toMatchObject({ kind: 'device', mode: 0o600, uid: 20_001 });
  });
});

describe('bhyve', () => {
  test('keeps the groups of root unless chroot is told otherwise', async () => {
    const groups = async (keepGroups: boolean) => {
      const scene = new Scene();
      await prepareJail(scene, machine());
      await scene.start({ ...machine(), keepGroups });
      return scene.model.state.processes.find((process) => process.jid !== 0)?.groups;
    };
    expect(await groups(true)).toEqual([0, 5]);
    expect(await groups(false)).toEqual([20_001]);
  });

  test('reads every volume of the host with the groups of root', async () => {
    const start = async (keepGroups: boolean) => {
      const scene = new Scene({ pool: 'tank' });
      await scene.ok('zfs create -s -V 64m -o volmode=dev tank/secret');
      const disk = ['pci.0.3.0.device=virtio-blk', 'pci.0.3.0.path=/dev/zvol/tank/secret'];
      await prepareJail(scene, machine(), disk);
      await scene.ok(
        'devfs rule -s 20001 add -',
        'path zvol unhide\npath zvol/tank unhide\npath zvol/tank/secret unhide\n',
      );
      await scene.ok('devfs -m /brig/vms/web01/root/dev rule applyset');
      await scene.spawn({ ...machine(), keepGroups });
      await scene.model.clock.advance(200);
      return scene.model.guest('web01').running;
    };
    expect(await start(true)).toBe(true);
    expect(await start(false)).toBe(false);
  });

  test('leaves a machine that is busy when it is killed', async () => {
    const scene = await running();
    await scene.ok(`kill -KILL ${pid(scene)}`);
    await scene.model.clock.advance(10);
    expect(await scene.exit('web01')).toMatch(/^r1 137 /);
    expect(await scene.model.host.list('/dev/vmm')).toEqual(['web01']);
    await scene.spawn(machine(), 'r2');
    await scene.model.clock.advance(100);
    expect(await scene.exit('web01')).toMatch(/^r2 4 /);
    expect(await scene.model.host.readFile('/brig/vms/web01/err')).toBe('bhyve: vm_openf: Device busy\n');
    await scene.ok('bhyvectl --vm=web01 --destroy');
    expect(await scene.model.host.list('/dev/vmm')).toBeUndefined();
    await scene.start(machine(), 'r3');
  });

  test('starts again without a destroy after an orderly end', async () => {
    const scene = await running();
    scene.model.guest('web01').type('q');
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 1 /);
    await scene.start(machine(), 'r2');
  });

  test('does not see the machine of another jail, and cannot take its name', async () => {
    const scene = await running();
    const other = { ...machine('web01', 20_002), jail: 'brig-other', dir: '/brig/vms/other' };
    await prepareJail(scene, other);
    expect(scene.model.state.find('/brig/vms/other/root/dev/vmm/web01', 2)).toBeUndefined();
    await scene.spawn(other, 'x');
    await scene.model.clock.advance(100);
    expect(await scene.model.host.readFile('/brig/vms/other/err')).toBe('bhyve: vm_openf: File exists\n');
  });

  test('aborts without entropy', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine(), ['pci.0.5.0.device=virtio-rnd']);
    await scene.ok('devfs rule -s 20001 add -', 'path random hide\n');
    await scene.ok('devfs -m /brig/vms/web01/root/dev rule applyset');
    await scene.spawn(machine());
    await scene.model.clock.advance(100);
    expect(await scene.exit('web01')).toMatch(/^r1 134 /);
  });

  test('cannot run on devices that an unknown ruleset shows: they are not its own', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine());
    await scene.all('umount /brig/vms/web01/root/dev', 'mount -t devfs -o ruleset=9 devfs /brig/vms/web01/root/dev');
    await scene.spawn(machine());
    await scene.model.clock.advance(100);
    expect(await scene.model.host.readFile('/brig/vms/web01/err')).toBe('bhyve: vm_openf: Permission denied\n');
  });

  test('is in capability mode some time after it is in the jail', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine());
    await scene.spawn(machine());
    const look = async () => (await scene.sh('ps -J brig-web01 -o stat,command')).stdout.split('\n')[1]?.trim();
    const seen = new Set<string | undefined>();
    for (let i = 0; i < 15; i++) seen.add(await look());
    expect([...seen]).toEqual(['SJ /usr/sbin/bhyve -k /vm/bhyve.conf web01', 'SCJ bhyve: web01 (bhyve)']);
  });

  test('has its volume swapped by a rollback, and keeps it from being destroyed', async () => {
    const scene = new Scene({ pool: 'tank' });
    await scene.all('zfs create -s -V 64m -o volmode=dev tank/a', 'zfs snapshot tank/a@s');
    const disk = ['pci.0.3.0.device=virtio-blk', 'pci.0.3.0.path=/dev/zvol/tank/a'];
    await prepareJail(scene, machine(), disk);
    const zvol = 'path zvol unhide\npath zvol/tank unhide\npath zvol/tank/a unhide user 20001 mode 600\n';
    await scene.ok('devfs rule -s 20001 add -', zvol);
    await scene.ok('devfs -m /brig/vms/web01/root/dev rule applyset');
    await scene.start(machine());
    expect(await scene.sh('zfs destroy -r tank/a')).toMatchObject({
      stderr: "cannot destroy 'tank/a': dataset is busy\n",
    });
    await scene.ok('zfs rollback tank/a@s');
    expect(scene.model.state.datasets.get('tank/a')?.rollbacks).toBe(1);
  });
});
