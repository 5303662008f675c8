import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ConsolePort } from '../../src/base/host.ts';
import { realHost as host } from '../../src/io/host.ts';
import type { Seen } from '../../src/linux/observe.ts';
import { linuxPlatform } from '../../src/linux/platform.ts';
import { parseExitFile, type Exit } from '../../src/platform/exit.ts';
import { layout } from '../../src/platform/layout.ts';
import type { Vm } from '../../src/platform/platform.ts';
import { holdsOf, planApply, planUndo, runActions } from '../../src/saga/run.ts';
import { parseVm } from '../../src/spec/vm.ts';

/** Numbers and names that no brigd with its usual configuration uses. */
const UID = 39_100;
const UNIT = 29_100;
const BRIDGE = 'brigtest0';

const root = mkdtempSync(`${tmpdir()}/brig-linux-`);
const paths = { stateDir: `${root}/state`, runDir: `${root}/run` };
const places = layout(paths);
const platform = linuxPlatform({ paths, accel: 'tcg' });
const ROOT = { uid: 0, gid: 0 };

let before: unknown;

beforeAll(async () => {
  before = hostState();
  await host.mkdir(`${paths.runDir}/vms`, { mode: 0o711, ...ROOT });
  await host.mkdir(places.exits, { mode: 0o700, ...ROOT });
  const script = readFileSync(new URL('../../src/platform/supervise.sh', import.meta.url));
  await host.writeFile(places.supervisor, script, { mode: 0o500, ...ROOT });
  const findings = await platform.prepare(host);
  expect(findings.filter(({ level }) => level === 'problem')).toEqual([]);
});

let made: Vm[] = [];

afterEach(async () => {
  for (const vm of made.reverse()) {
    await stop(vm);
    await undo(vm, platform.createSteps(vm));
  }
  made = [];
  expect(hostState(), 'the host is as before').toEqual(before);
});

afterAll(() => rmSync(root, { recursive: true }));

const text = (program: string, ...args: string[]): string => spawnSync(program, args, { encoding: 'utf8' }).stdout;

/** All that a VM could leave behind on a host. */
const hostState = () => ({
  links: text('/usr/sbin/ip', '-o', 'link').match(/(brig|tap)\w*test\w*|(brigv|brigp|tap|brigb)29\d+/g),
  spaces: text('/usr/sbin/ip', 'netns', 'list').match(/brig-lt\w+/g),
  cgroups: ['memory', 'cpu'].flatMap((name) =>
    readdirSync(`/sys/fs/cgroup/${name}`).filter((each) => each.startsWith('brig-lt')),
  ),
  processes: text('/usr/bin/ps', '-eo', 'uid=,args=').match(/^ *391\d\d .*|.*supervise\.sh qemu lt.*/gm),
});

const makeVm = (index: number, document: Record<string, unknown> = {}): Vm => {
  const spec = parseVm({ name: `lt${index}`, memory: '32M', firmware: { builtin: 'test' }, ...document });
  const nics = spec.nics.map((_, i) => ({
    unit: UNIT + 10 * index + i,
    mac: `58:9c:fc:00:0${index}:0${i}`,
    bridge: { network: 'default', name: BRIDGE, own: true },
  }));
  const vm = { spec, place: { slot: index, uid: UID + index, secretName: 'b0', nics } };
  made.push(vm);
  return vm;
};

const silent = { started: () => undefined, done: () => undefined, failed: () => undefined };
/** What brigd's engine knows: whether another VM of this test runs. */
const sharedBy = (vm: Vm) => ({
  undo: async (_: string, work: () => Promise<void>) => {
    const seen = await platform.observe(host);
    if (made.every((other) => other === vm || platform.live(seen, other).phase !== 'running')) await work();
  },
});
const options = (vm: Vm, seen: Seen) => ({
  host,
  catalogue: platform.catalogue,
  seen,
  progress: silent,
  shared: sharedBy(vm),
});

const create = async (vm: Vm): Promise<void> => {
  const seen = await platform.observe(host, vm);
  await runActions(planApply(platform.catalogue, platform.createSteps(vm), seen), options(vm, seen));
};

const start = async (vm: Vm): Promise<void> => {
  await create(vm);
  const seen = await platform.observe(host, vm);
  expect((await platform.precheck(host, seen, vm)).filter(({ level }) => level === 'problem')).toEqual([]);
  await runActions(planApply(platform.catalogue, platform.startSteps(vm, 'run-1', 0), seen), options(vm, seen));
};

const undo = async (vm: Vm, steps: ReturnType<typeof platform.startSteps>): Promise<void> => {
  const seen = await platform.observe(host, vm);
  await runActions(planUndo(platform.catalogue, steps, seen), options(vm, seen));
};

const stop = (vm: Vm, graceMs = 0): Promise<void> => undo(vm, platform.startSteps(vm, 'run-1', graceMs));

const live = async (vm: Vm) => platform.live(await platform.observe(host, vm), vm);

const until = async <T>(what: string, find: () => Promise<T | undefined> | T | undefined): Promise<T> => {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come`);
    await host.sleep(10);
  }
};

const exitOf = async (vm: Vm): Promise<Exit> => {
  const file = await until('the exit file', () => host.readFile(places.vm(vm.spec.name).exit));
  const record = parseExitFile(file, (await host.readFile(places.vm(vm.spec.name).err)) ?? '');
  expect(record?.run).toBe('run-1');
  return record?.exit ?? { kind: 'unknown', status: -1 };
};

/** A console that remembers what the guest said. */
const attach = async (vm: Vm): Promise<ConsolePort & { said(): string; type(text: string): void }> => {
  const { conIn, conOut } = places.vm(vm.spec.name);
  const port = await host.console(conIn, conOut);
  let said = '';
  port.onData((chunk) => (said += chunk.toString()));
  return Object.assign(port, { said: () => said, type: (keys: string) => port.write(Buffer.from(keys)) });
};

const type = async (vm: Vm, keys: string): Promise<void> => {
  const console = await attach(vm);
  await until('the guest', () => (console.said().includes('GUEST UP') ? true : undefined));
  console.type(keys);
  await host.sleep(20);
  console.close();
};

const procOf = async (vm: Vm): Promise<string> => {
  const { pid } = await live(vm);
  expect(pid).toBeDefined();
  return `/proc/${pid ?? 0}`;
};

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
    const { focus, links } = await platform.observe(host, vm);
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
    const seen = await platform.observe(host, vm);
    const steps = [...platform.createSteps(vm), ...platform.startSteps(vm, 'run-1', 0)];
    expect(
      steps.map((step) => [step.kind, holdsOf(platform.catalogue, step, seen)]).filter(([, holds]) => holds !== 'yes'),
    ).toEqual([]);
    expect(platform.live(seen, vm)).toMatchObject({ phase: 'running', supervised: true });
    expect(platform.live(await platform.observe(host), vm)).toMatchObject({ phase: 'running', supervised: true });
    expect(platform.owned(seen)).toContain('lt1');
  });
});

const pidOf = (vm: Vm): number => Number(text('/usr/bin/pgrep', '-U', String(vm.place.uid)).trim());

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
    const running = await platform.observe(host, vm);
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
    const seen = await platform.observe(host, vm);
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
      place: { ...vm.place, nics: vm.place.nics.map((nic) => ({ ...nic, bridge: { ...nic.bridge, own: false } })) },
    };
    made = [theirs];
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
});
