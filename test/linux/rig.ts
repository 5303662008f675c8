import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { ConsolePort } from '../../src/base/host.ts';
import type { Step } from '../../src/base/step.ts';
import { closeInherited } from '../../src/io/descriptors.ts';
import { realHost as host } from '../../src/io/host.ts';
import type { Seen } from '../../src/linux/observe.ts';
import { linuxPlatform } from '../../src/linux/platform.ts';
import { parseExitFile, type Exit } from '../../src/platform/exit.ts';
import { layout } from '../../src/platform/layout.ts';
import type { Vm } from '../../src/platform/platform.ts';
import { planApply, planUndo, runActions } from '../../src/saga/run.ts';
import { parseVm } from '../../src/spec/vm.ts';
import { nicOn } from '../unit/placed.ts';

/** Numbers and names that no brigd with its usual configuration uses. */
export const UID = 39_100;
const UNIT = 29_100;
export const BRIDGE = 'brigtest0';

export const root = mkdtempSync(`${tmpdir()}/brig-linux-`);
export const paths = { stateDir: `${root}/state`, runDir: `${root}/run` };
export const places = layout(paths);
export const platform = linuxPlatform({ paths, accel: 'tcg', allowDevices: ['e1000'] });
/** swtpm(8) is a package of its own. */
export const HAS_TPM = existsSync('/usr/bin/swtpm');
const ROOT = { uid: 0, gid: 0 };

let before: unknown;

beforeAll(async () => {
  closeInherited();
  before = hostState();
  await host.mkdir(`${paths.runDir}/vms`, { mode: 0o711, ...ROOT });
  await host.mkdir(places.exits, { mode: 0o700, ...ROOT });
  const script = readFileSync(new URL('../../src/platform/supervise.sh', import.meta.url));
  await host.writeFile(places.supervisor, script, { mode: 0o500, ...ROOT });
  const findings = await platform.prepare(host);
  expect(findings.filter(({ level }) => level === 'problem')).toEqual([]);
});

export const made: Vm[] = [];

afterEach(async () => {
  for (const vm of [...made].reverse()) {
    await stop(vm);
    await undo(vm, platform.createSteps(vm));
  }
  made.length = 0;
  expect(hostState(), 'the host is as before').toEqual(before);
});

afterAll(() => rmSync(root, { recursive: true }));

export const text = (program: string, ...args: string[]): string =>
  spawnSync(program, args, { encoding: 'utf8' }).stdout;

/** All that a VM could leave behind on a host. */
const hostState = () => ({
  links: text('/usr/sbin/ip', '-o', 'link').match(/(brig|tap)\w*test\w*|(brigv|brigp|tap|brigb)29\d+/g),
  spaces: text('/usr/sbin/ip', 'netns', 'list').match(/brig-lt\w+/g),
  cgroups: ['memory', 'cpu', 'cpuset', 'pids', 'blkio'].flatMap((name) =>
    readdirSync(`/sys/fs/cgroup/${name}`).filter((each) => each.startsWith('brig-lt')),
  ),
  processes: text('/usr/bin/ps', '-eo', 'uid=,args=').match(/^ *391\d\d .*|.*supervise\.sh qemu lt.*/gm),
});

export const makeVm = (index: number, document: Record<string, unknown> = {}): Vm => {
  const spec = parseVm({ name: `lt${index}`, memory: '32M', firmware: { builtin: 'test' }, ...document });
  const bridge = { network: 'default', name: BRIDGE, own: true };
  const nics = spec.nics.map((_, i) => nicOn(UNIT + 10 * index + i, `58:9c:fc:00:0${index}:0${i}`, bridge));
  const vm = { spec, place: { slot: index, uid: UID + index, secretName: 'b0', nics } };
  made.push(vm);
  return vm;
};

const silent = { started: () => undefined, done: () => undefined, failed: () => undefined, stage: () => undefined };
/** What brigd's engine knows: whether another VM of this test runs. */
const sharedBy = (vm: Vm) => ({
  undo: async (_: string, work: () => Promise<void>) => {
    const seen = await platform.observe(host);
    if (made.every((other) => other === vm || platform.live(seen, other).phase !== 'running')) await work();
  },
});
export const options = (vm: Vm, seen: Seen) => ({
  host,
  catalogue: platform.catalogue,
  seen,
  progress: silent,
  shared: sharedBy(vm),
});

export const create = async (vm: Vm): Promise<void> => {
  const seen = await lookAt(vm);
  await runActions(planApply(platform.catalogue, platform.createSteps(vm), seen), options(vm, seen));
};

/** `edit` spoils a step of the start, as a host could that is not what brig takes it for. */
export const start = async (vm: Vm, edit: (step: Step) => Step = (step) => step): Promise<void> => {
  await create(vm);
  const seen = await lookAt(vm);
  expect((await platform.precheck(host, seen, vm)).filter(({ level }) => level === 'problem')).toEqual([]);
  const steps = platform.startSteps(vm, 'run-1', 0).map(edit);
  await runActions(planApply(platform.catalogue, steps, seen), options(vm, seen));
};

const undo = async (vm: Vm, steps: ReturnType<typeof platform.startSteps>): Promise<void> => {
  const seen = await lookAt(vm);
  await runActions(planUndo(platform.catalogue, steps, seen), options(vm, seen));
};

export const stop = (vm: Vm, graceMs = 0): Promise<void> => undo(vm, platform.startSteps(vm, 'run-1', graceMs));

/** The host, with a closer look at one VM. */
export const lookAt = async (vm: Vm): Promise<Seen> => platform.look(host, await platform.observe(host), vm);

export const live = async (vm: Vm) => platform.live(await lookAt(vm), vm);

export const until = async <T>(what: string, find: () => Promise<T | undefined> | T | undefined): Promise<T> => {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come`);
    await host.sleep(10);
  }
};

export const exitOf = async (vm: Vm): Promise<Exit> => {
  const file = await until('the exit file', () => host.readFile(places.vm(vm.spec.name).exit));
  const record = parseExitFile(file, (await host.readFile(places.vm(vm.spec.name).err)) ?? '');
  expect(record?.run).toBe('run-1');
  return record?.exit ?? { kind: 'unknown', status: -1 };
};

/** A console that remembers what the guest said. */
export const attach = async (vm: Vm): Promise<ConsolePort & { said(): string; type(text: string): void }> => {
  const { conIn, conOut } = places.vm(vm.spec.name);
  const port = await host.console(conIn, conOut);
  let said = '';
  port.onData((chunk) => (said += chunk.toString()));
  return Object.assign(port, { said: () => said, type: (keys: string) => port.write(Buffer.from(keys)) });
};

export const type = async (vm: Vm, keys: string): Promise<void> => {
  const console = await attach(vm);
  await until('the guest', () => (console.said().includes('GUEST UP') ? true : undefined));
  console.type(keys);
  await host.sleep(20);
  console.close();
};

export const procOf = async (vm: Vm): Promise<string> => {
  const { pid } = await live(vm);
  expect(pid).toBeDefined();
  return `/proc/${pid ?? 0}`;
};

export const pidOf = (vm: Vm): number =>
  Number(text('/usr/bin/pgrep', '-f', `^/usr/bin/qemu-.* -name brig-${vm.spec.name} `).trim());
