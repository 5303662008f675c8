import type { Command, Effect, FileStat, Host, Result } from '../../../src/base/host.ts';
import type { Step, StepDef } from '../../../src/base/step.ts';
import { DEVICES, partsOf } from '../../../src/linux/devices.ts';
import type { Node } from '../../../src/linux/node.ts';
import type { Seen } from '../../../src/linux/observe.ts';
import { catalogue } from '../../../src/linux/catalogue.ts';
import { createSteps, startSteps } from '../../../src/linux/plan.ts';
import { nicOn } from '../placed.ts';
import { qemuCommand } from '../../../src/linux/programs/qemu.ts';
import { layout } from '../../../src/platform/layout.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { definitionOf } from '../../../src/saga/run.ts';
import { parseVm } from '../../../src/spec/vm.ts';
import type { Link } from '../../../src/linux/programs/ip.ts';

const paths = { stateDir: '/var/db/brig', runDir: '/run/brig' };
const GIB = 2 ** 30;

export const buildNode = (features: Partial<Node['features']> = {}, more: Partial<Node> = {}): Node => ({
  paths,
  layout: layout(paths),
  features: {
    accel: 'tcg',
    cpus: 4,
    memoryBytes: 8 * GIB,
    locksMemory: true,
    readsPasswords: true,
    models: new Set(DEVICES.flatMap(({ models }) => models)),
    ...features,
  },
  findings: [],
  testRom: '/var/db/brig/testrom.bin',
  sandbox: '/var/db/brig/base/sandbox.args',
  filter: '/var/db/brig/base/sandbox.bpf',
  common: [],
  allowDevices: [],
  asks: new Set(),
  trusted: new Map(),
  devices: { find: () => '8:0' },
  ...more,
});

/** web01 in slot 1 with the default network; `document` overrides. */
export const buildVm = (document: Record<string, unknown> = {}, own = true): Vm => {
  const spec = parseVm({ name: 'web01', firmware: { builtin: 'test' }, ...document });
  const bridge = own ? { network: 'default', name: 'bridge7000', own } : { network: 'lan', name: 'br0', own };
  const nics = spec.nics.map((nic, i) => nicOn(7001 + i, `58:9c:fc:00:00:0${i}`, bridge, nic));
  return { spec, place: { slot: 1, uid: 20_001, secretName: 'b0', nics } };
};

export const buildSeen = (seen: Partial<Seen> = {}): Seen => ({
  processes: [],
  links: new Map(),
  spaces: new Set(),
  cgroups: new Set(),
  runDirs: new Set(),
  forwarding: new Set(),
  chains: new Set(),
  ...seen,
});

/** A link of the host's, down and without addresses; `more` overrides. */
export const buildLink = (name: string, more: Partial<Link> = {}): Link => ({
  ...{ name, up: false, isolated: false, mtu: 1500, addresses: [], filters: false },
  ...more,
});

export const partsOfVm = (vm: Vm) => partsOf(vm, layout(paths).vm(vm.spec.name));
/** QEMU's command line. */
export const qemuOfVm = (vm: Vm, accel: 'tcg' | 'kvm' = 'tcg'): string[] =>
  qemuCommand(
    vm,
    accel,
    partsOfVm(vm).flatMap(({ args }) => args),
  );

export const definition = (step: Step): StepDef<unknown, Seen> => definitionOf<Seen>(catalogue, step);
export const apply = (step: Step): readonly Effect[] => definition(step).apply(step.args);
export const undo = (step: Step, seen = buildSeen()): readonly Effect[] => definition(step).undo(step.args, seen);
export const holds = (step: Step, seen: Seen) => definition(step).holds(step.args, seen);

/** The first step of a kind, of all that a VM has. */
export const find = (vm: Vm, kind: string, node = buildNode(), graceMs = 0): Step => {
  const all = [...createSteps(node, vm), ...startSteps(node, vm, 'run-1', graceMs)];
  const step = all.find((each) => each.kind === kind);
  if (!step) throw new Error(`no step ${kind}`);
  return step;
};

type Answers = Readonly<Record<string, Partial<Result>>>;
export type Files = Readonly<Record<string, string | Partial<FileStat>>>;

const FILE: FileStat = { kind: 'file', mode: 0o644, uid: 0, gid: 0, bytes: 1, modifiedMs: 0 };

/** A host that only answers: files by path, programs by name. What is written is remembered. */
export const buildHost = (
  files: Files,
  answers: Answers = {},
): { host: Host; written: Map<string, string>; ran: Command[] } => {
  const written = new Map<string, string>();
  const ran: Command[] = [];
  const reading: Partial<Host> = {
    readFile: (path) => Promise.resolve(typeof files[path] === 'string' ? files[path] : undefined),
    stat: (path) => {
      const file = files[path];
      return Promise.resolve(file === undefined ? undefined : typeof file === 'string' ? FILE : { ...FILE, ...file });
    },
    list: (path) => {
      const below = Object.keys(files).filter((each) => each.startsWith(`${path}/`));
      const names = new Set(below.map((each) => each.slice(path.length + 1).split('/')[0] ?? ''));
      return Promise.resolve(names.size > 0 ? [...names] : undefined);
    },
    run: (command) => {
      ran.push(command);
      return Promise.resolve({ status: 0, stdout: '', stderr: '', timedOut: false, ...answers[command.program] });
    },
    writeFile: (path, content) => {
      written.set(path, String(content));
      return Promise.resolve();
    },
    mkdir: () => Promise.resolve(),
  };
  return { host: reading as Host, written, ran };
};
