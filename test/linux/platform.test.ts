import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { realHost as host } from '../../src/io/host.ts';
import { holdsOf, planApply, planUndo, runActions } from '../../src/saga/run.ts';
import { nicOn } from '../unit/placed.ts';
import {
  attach,
  BRIDGE,
  create,
  exitOf,
  live,
  lookAt,
  made,
  makeVm,
  options,
  paths,
  pidOf,
  places,
  platform,
  procOf,
  root,
  start,
  stop,
  text,
  type,
  UID,
  until,
} from './rig.ts';

describe('a running VM', () => {
  test('is confined in every way that is promised', async () => {
    const vm = makeVm(1, { nics: [{}], limits: { openfiles: 200, cpuset: '0' } });
    await start(vm);
    const proc = await procOf(vm);
    const status = readFileSync(`${proc}/status`, 'utf8');
    const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(status)?.[1];
    const uid = String(UID + 1);
    expect(field('Uid')).toBe([uid, uid, uid, uid].join('\t'));
    expect(field('Gid')).toBe([uid, uid, uid, uid].join('\t'));
    expect(field('Groups')).toBe('');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(field(set), set).toBe('0000000000000000');
    expect([field('NoNewPrivs'), field('Seccomp'), field('Cpus_allowed_list')]).toEqual(['1', '2', '0']);
    expect(field('NSpid')?.split('\t')[1]).toBe('2');
    for (const space of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'])
      expect(readlinkSync(`${proc}/ns/${space}`), space).not.toBe(readlinkSync(`/proc/self/ns/${space}`));
    expect(readFileSync(`${proc}/limits`, 'utf8')).toMatch(/^Max open files +200 +200 /m);
  });

  test('sees a few files, all read-only, and nothing of the host', async () => {
    const vm = makeVm(1, { nics: [{}] });
    await start(vm);
    const proc = await procOf(vm);
    expect(readdirSync(`${proc}/root`).sort()).toEqual(['dev', 'lib', 'lib64', 'usr', 'vm']);
    expect(readdirSync(`${proc}/root/dev`).sort()).toEqual(['net', 'null', 'random', 'urandom', 'zero']);
    expect(readdirSync(`${proc}/root/vm`).sort()).toEqual(['firmware.rom', 'mon.in', 'mon.out']);
    expect(readdirSync(`${proc}/root/usr/bin`).sort()).toEqual(['qemu-system-x86_64', 'setpriv']);
    const mounts = readFileSync(`${proc}/mountinfo`, 'utf8').trimEnd().split('\n');
    const writable = mounts.filter((line) => !/ ro,/.test(line)).map((line) => line.split(' ')[4]);
    expect(writable.filter((path) => !path?.startsWith('/dev/') && path !== '/vm/mon.out')).toEqual([]);
  });

  test('has a namespace with its tap and its end of the veth pair, joined', async () => {
    const vm = makeVm(1, { nics: [{}] });
    await start(vm);
    const { focus, links } = await lookAt(vm);
    expect([...(focus?.inside.keys() ?? [])].sort()).toEqual(['brigb29110', 'brigp29110', 'lo', 'tap29110']);
    expect(focus?.inside.get('tap29110')).toMatchObject({ master: 'brigb29110', user: UID + 1, up: true });
    expect(focus?.inside.get('brigp29110')).toMatchObject({ master: 'brigb29110' });
    expect(focus?.inside.get('lo')).toMatchObject({ up: false });
    expect(links.get('brigv29110')).toMatchObject({ master: BRIDGE, isolated: true, alias: 'brig:vm/lt1' });
    expect(links.get(BRIDGE)).toMatchObject({ alias: 'brig:net/default', up: true });
    const open = readdirSync(`${await procOf(vm)}/fd`).map((fd) => readlinkSync(`/proc/${String(pidOf(vm))}/fd/${fd}`));
    expect(open).toContain('/dev/net/tun');
  });

  test('is in its cgroups, its supervisor is not', async () => {
    const vm = makeVm(1, { limits: { memory: '512M', pcpu: 150 } });
    await start(vm);
    const groups = readFileSync(`${await procOf(vm)}/cgroup`, 'utf8');
    expect(groups).toMatch(/:memory:\/brig-lt1$/m);
    expect(groups).toMatch(/:cpu:\/brig-lt1$/m);
    expect(readFileSync('/sys/fs/cgroup/memory/brig-lt1/memory.limit_in_bytes', 'utf8')).toBe(`${512 * 2 ** 20}\n`);
    expect(readFileSync('/sys/fs/cgroup/cpu/brig-lt1/cpu.cfs_quota_us', 'utf8')).toBe('150000\n');
    const supervisor = text('/usr/bin/pgrep', '-f', 'supervise.sh qemu lt1 ').trim();
    expect(readFileSync(`/proc/${supervisor}/cgroup`, 'utf8')).not.toContain('brig-lt1');
  });

  test('talks over its console', async () => {
    const vm = makeVm(1);
    await start(vm);
    const console = await attach(vm);
    await until('the banner', () => (console.said().includes('GUEST UP\r\n') ? true : undefined));
    console.type('abc');
    await until('the echo', () => (console.said().endsWith('abc') ? true : undefined));
    console.close();
  });

  test('needs no more steps, and its platform says that it runs', async () => {
    const vm = makeVm(1, { nics: [{}], disks: [{ file: { size: '2M' } }], limits: { pcpu: 50 } });
    await start(vm);
    const seen = await lookAt(vm);
    const steps = [...platform.createSteps(vm), ...platform.startSteps(vm, 'run-1', 0)];
    expect(
      steps.map((step) => [step.kind, holdsOf(platform.catalogue, step, seen)]).filter(([, holds]) => holds !== 'yes'),
    ).toEqual([]);
    expect(platform.live(seen, vm)).toMatchObject({ phase: 'running', supervised: true });
    expect(platform.live(await platform.observe(host), vm)).toMatchObject({ phase: 'running', supervised: true });
    expect([...platform.owned(seen).keys()]).toContain('lt1');
  });
});

describe('an end', () => {
  test.each([
    ['q', { kind: 'poweroff', status: 1 }],
    ['t', { kind: 'tripleFault', status: 3 }],
  ])('by key %s is told', async (key, exit) => {
    const vm = makeVm(1);
    await start(vm);
    await type(vm, key);
    expect(await exitOf(vm)).toEqual(exit);
    expect(await live(vm)).toMatchObject({ phase: 'residue', supervised: false });
  });

  test('by SIGKILL is told', async () => {
    const vm = makeVm(1);
    await start(vm);
    process.kill(pidOf(vm), 'SIGKILL');
    expect(await exitOf(vm)).toEqual({ kind: 'signal', status: 137, signal: 9 });
  });

  test('of the supervisor is the end of the VM: nothing runs that nobody watches', async () => {
    const vm = makeVm(1);
    await start(vm);
    process.kill(Number(text('/usr/bin/pgrep', '-f', 'supervise.sh qemu lt1 ').trim()), 'SIGKILL');
    await until('the end of QEMU', async () => ((await live(vm)).pid === undefined ? true : undefined));
    expect(await host.stat(places.vm('lt1').exit)).toBeUndefined();
  });

  test('by reset is none: the guest runs again', async () => {
    const vm = makeVm(1);
    await start(vm);
    const console = await attach(vm);
    for (let boots = 1; boots <= 3; boots += 1) {
      await until('the banner', () => (console.said().split('GUEST UP').length > boots ? true : undefined));
      console.type(boots < 3 ? 'r' : 'q');
    }
    expect(await exitOf(vm)).toMatchObject({ kind: 'poweroff' });
    expect(await host.readFile(places.vm('lt1').resets)).toMatch(/^run-1 2 \d+\n$/);
    console.close();
  });
});

describe('a stop', () => {
  test('is the ACPI power button first', async () => {
    const vm = makeVm(1);
    await start(vm);
    const console = await attach(vm);
    await until('the banner', () => (console.said().includes('GUEST UP') ? true : undefined));
    await stop(vm, 5_000);
    expect(console.said()).toContain('BUTTON');
    expect(await exitOf(vm)).toEqual({ kind: 'poweroff', status: 1 });
    console.close();
  });

  test('of a guest that does not listen is a power-off', async () => {
    const vm = makeVm(1);
    await start(vm);
    await type(vm, 'h');
    await stop(vm, 200);
    expect(await exitOf(vm)).toEqual({ kind: 'poweroff', status: 1 });
  });

  test('of a QEMU that does not listen is a kill', async () => {
    const vm = makeVm(1);
    await start(vm);
    process.kill(pidOf(vm), 'SIGSTOP');
    await stop(vm);
    expect(await exitOf(vm)).toMatchObject({ kind: 'signal', signal: 9 });
  });

  test('that is done again, step by step, is success', async () => {
    const vm = makeVm(1, { nics: [{}], limits: { pcpu: 50 } });
    await start(vm);
    const running = await lookAt(vm);
    const steps = platform.startSteps(vm, 'run-1', 0);
    const actions = planUndo(platform.catalogue, steps, running);
    expect(actions).toHaveLength(steps.length);
    await runActions(actions, options(vm, running));
    const again = actions.filter(({ step }) => step.kind !== 'qemu.start');
    await runActions(again, options(vm, running));
    expect(await live(vm)).toEqual({ phase: 'absent', supervised: false });
  });
});

describe('a start that fails', () => {
  test('says what QEMU said and is taken back', async () => {
    writeFileSync(`${root}/bad.rom`, 'x'.repeat(1000));
    const vm = makeVm(1, { nics: [{}], firmware: { rom: `${root}/bad.rom` } });
    await expect(start(vm)).rejects.toThrow(
      /qemu\.start: wait for QEMU of lt1 .*the process ended with status 71.*could not load PC BIOS/,
    );
    await stop(vm);
    expect(await live(vm)).toEqual({ phase: 'absent', supervised: false });
  });

  test('in the sandbox says what bwrap said', async () => {
    const vm = makeVm(1, { disks: [{ file: { size: '2M' } }] });
    await create(vm);
    rmSync(`${places.vm('lt1').disk}/disk0.raw`);
    const seen = await lookAt(vm);
    const run = runActions(planApply(platform.catalogue, platform.startSteps(vm, 'run-1', 0), seen), options(vm, seen));
    await expect(run).rejects.toThrow(/bwrap: Can't find source path .*disk0\.raw/);
  });
});

describe('networks', () => {
  test('share one bridge that goes with the last VM', async () => {
    const [one, two] = [makeVm(1, { nics: [{}, {}] }), makeVm(2, { nics: [{}] })] as const;
    await start(one);
    await start(two);
    const ports = [...(await platform.observe(host)).links.values()].filter((link) => link.master === BRIDGE);
    expect(ports.map(({ name, isolated }) => [name, isolated])).toEqual([
      ['brigv29110', true],
      ['brigv29111', true],
      ['brigv29120', true],
    ]);
    await stop(one);
    expect((await platform.observe(host)).links.has(BRIDGE)).toBe(true);
    await stop(two);
    expect((await platform.observe(host)).links.has(BRIDGE)).toBe(false);
  });

  test('of somebody else are used and left alone', async () => {
    text('/usr/sbin/ip', 'link', 'add', 'name', BRIDGE, 'type', 'bridge');
    text('/usr/sbin/ip', 'link', 'set', 'dev', BRIDGE, 'alias', 'mine', 'up');
    const vm = makeVm(1, { nics: [{}] });
    const theirs = {
      ...vm,
      place: {
        ...vm.place,
        nics: vm.place.nics.map(({ unit, mac }) => nicOn(unit, mac, { network: 'default', name: BRIDGE, own: false })),
      },
    };
    made.splice(0, made.length, theirs);
    await start(theirs);
    expect((await platform.observe(host)).links.get('brigv29110')).toMatchObject({ master: BRIDGE });
    await stop(theirs);
    expect((await platform.observe(host)).links.get(BRIDGE)).toMatchObject({ alias: 'mine', up: true });
    text('/usr/sbin/ip', 'link', 'delete', 'dev', BRIDGE);
  });
});

describe('disks', () => {
  test('are files of the VM, read-only images, and UEFI variables', async () => {
    const rom = readFileSync(`${paths.stateDir}/testrom.bin`);
    writeFileSync(`${root}/code.fd`, rom);
    writeFileSync(`${root}/vars.fd`, Buffer.alloc(65_536));
    writeFileSync(`${root}/image.img`, Buffer.alloc(2 ** 20), { mode: 0o644 });
    const vm = makeVm(1, {
      firmware: { uefi: { code: `${root}/code.fd`, vars: `${root}/vars.fd` } },
      disks: [{ file: { size: '2M' } }, { image: `${root}/image.img` }],
    });
    await start(vm);
    const proc = await procOf(vm);
    const open = readdirSync(`${proc}/fd`).map((fd) => readlinkSync(`${proc}/fd/${fd}`));
    expect(open).toEqual(expect.arrayContaining(['/disk/vars.fd', '/disk/disk0.raw', '/vm/disk1.img']));
    expect(readdirSync(`${proc}/root/disk`).sort()).toEqual(['disk0.raw', 'vars.fd']);
    await type(vm, 'q');
    expect(await exitOf(vm)).toMatchObject({ kind: 'poweroff' });
    await stop(vm);
    const { disk } = places.vm('lt1');
    expect(readdirSync(disk).sort()).toEqual(['disk0.raw', 'vars.fd']);
    expect(await host.stat(`${disk}/disk0.raw`)).toMatchObject({ mode: 0o600, uid: UID + 1, bytes: 2 * 2 ** 20 });
  });

  test('that are images start whoever has locked the image', async () => {
    writeFileSync(`${root}/image.img`, Buffer.alloc(2 ** 20), { mode: 0o644 });
    const file = JSON.stringify({ driver: 'file', filename: `${root}/image.img`, 'node-name': 'disk' });
    const drive = ['-blockdev', file, '-device', 'virtio-blk-pci,drive=disk,share-rw=off'];
    const quiet = ['-nodefaults', '-display', 'none', '-S', '-m', '16M', '-M', 'q35,accel=tcg'];
    const owner = spawn('/usr/bin/qemu-system-x86_64', [...quiet, ...drive]);
    const isLocked = () =>
      text('/usr/bin/cat', '/proc/locks').includes(`:${statSync(`${root}/image.img`).ino} `) ? true : undefined;
    await until('its lock', isLocked);
    const vm = makeVm(1, { disks: [{ image: `${root}/image.img` }] });
    await start(vm);
    expect((await live(vm)).phase).toBe('running');
    owner.kill('SIGKILL');
  });
});
