import { describe, expect, test } from 'vitest';
import { baseEntries } from '../../../src/freebsd/base.ts';
import type { Node } from '../../../src/freebsd/node.ts';
import { catalogue } from '../../../src/freebsd/catalogue.ts';
import { createSteps, startSteps } from '../../../src/freebsd/plan.ts';
import type { Seen } from '../../../src/freebsd/observe.ts';
import type { StepDef } from '../../../src/base/step.ts';
import { readFragments } from '../../../src/io/fragments.ts';
import { layout } from '../../../src/platform/layout.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { nicOn } from '../placed.ts';
import { renderEffect } from '../../../src/saga/render.ts';
import { parseVm } from '../../../src/spec/vm.ts';

const paths = { stateDir: '/var/db/brig', runDir: '/var/run/brig' };
const node: Node = {
  paths,
  layout: layout(paths),
  dataset: 'tank/brig',
  features: {
    vmmctl: true,
    jailParameters: ['allow.set_hostname', 'allow.suser', 'allow.reserved_ports'],
    meta: true,
    racct: true,
    maxCpus: 4,
    egress: 'vtnet0',
    memoryBytes: 2 ** 32,
  },
  asks: new Set(),
  pf: { receivedOn: true },
  trusted: new Map(),
  findings: [],
  fragments: readFragments(),
  allowDevices: [],
  base: '/var/db/brig/base/base.tar.zst',
  testRom: '/var/db/brig/testrom.bin',
};
const bridge = { network: 'default', name: 'bridge7000', own: true };
const vmOf = (change: object): Vm => {
  const spec = parseVm({ name: 'web01', firmware: { builtin: 'test' }, memory: '64M', ...change });
  const nics = spec.nics.map((_, i) => nicOn(7000 + i, `58:9c:fc:00:00:0${i}`, bridge));
  return { spec, place: { slot: 1, uid: 20001, secretName: 'b0', nics } };
};
const seen: Seen = {
  jails: [],
  processes: [],
  interfaces: new Map(),
  mounts: [],
  vmmNodes: new Set(),
  rulesets: new Set(),
  datasets: new Map(),
  sysctls: new Map(),
  pf: undefined,
  rctl: [],
  runDirs: new Set(),
  stateDirs: new Set(),
};

const definition = (kind: string): StepDef<unknown, Seen> => catalogue[kind as keyof typeof catalogue];
const script = (vm: Vm): string =>
  startSteps(node, vm, 'RUN', 30_000)
    .flatMap((step) => [`# ${step.kind}`, ...definition(step.kind).apply(step.args).flatMap(renderEffect)])
    .join('\n');

const full = vmOf({
  disks: [{ zvol: { size: '1G' } }, { file: { size: '1M' } }, { image: '/isos/a.iso' }],
  nics: [{}, { mode: 'direct' }],
  limits: { memory: '512M', cpuset: '0-1' },
});

describe('a start on FreeBSD', () => {
  test('is this script, in this order', async () => {
    await expect(script(full)).toMatchFileSnapshot('../../recordings/plan-start.sh');
  });

  test('makes volumes and files when the VM is created, not when it starts', () => {
    expect(createSteps(node, full).map((step) => step.kind)).toEqual([
      'state-dir.create',
      'dataset.create',
      'zvol.create',
      'disk.create',
    ]);
  });

  test('always drops the groups of root', () => {
    expect(script(full)).toContain(
      '/usr/bin/env -i PATH=/bin:/usr/bin:/usr/sbin /usr/sbin/jexec brig-web01 /usr/sbin/chroot -G 20001 -g 20001 -u 20001 / /usr/sbin/bhyve -k /vm/bhyve.conf web01',
    );
  });

  test('backwards it is the order that FreeBSD needs', () => {
    const order = startSteps(node, full, 'RUN', 0)
      .map((step) => step.kind)
      .reverse();
    const place = (kind: string): number => order.indexOf(kind);
    const needed = [
      'bhyve.start',
      'vmm.create',
      'jail.create',
      'dev.mount',
      'fs.mount',
      'tap.create',
      'epair.create',
      'devfs.load',
      'limits.add',
      'run-dir.create',
    ];
    const positions = needed.map(place);
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
  });

  test('nothing is there before, so nothing is undone', () => {
    const steps = startSteps(node, full, 'RUN', 0);
    expect(steps.filter((step) => definition(step.kind).holds(step.args, seen) !== 'no')).toEqual([]);
  });

  test('every undo of what is not there is tolerated or has nothing to run', () => {
    for (const step of startSteps(node, full, 'RUN', 0))
      for (const effect of definition(step.kind).undo(step.args, seen))
        if (effect.do === 'run' && !['/sbin/devfs', '/usr/sbin/jail'].includes(effect.command.program))
          expect(effect.tolerate, step.kind).toBeDefined();
  });
});

describe('strangers', () => {
  const holds = (kind: string, change: Partial<Seen>): string => {
    const step = startSteps(node, full, 'RUN', 0).find((each) => each.kind === kind);
    return definition(kind).holds(step?.args, { ...seen, ...change });
  };
  const tap = {
    ...{ name: 'tap7000', flags: [], groups: [], members: [] },
    ...{ privates: [], addresses: [], mtu: 1500, filters: false },
  };

  test('an interface of our name without our mark is not ours', () => {
    expect(holds('tap.create', { interfaces: new Map([['tap7000', tap]]) })).toBe('no');
    expect(holds('tap.create', { interfaces: new Map([['tap7000', { ...tap, description: 'brig:vm/web010' }]]) })).toBe(
      'no',
    );
    expect(holds('tap.create', { interfaces: new Map([['tap7000', { ...tap, description: 'brig:vm/web01' }]]) })).toBe(
      'yes',
    );
  });

  test('a dataset of our name with another owner is not ours', () => {
    const step = createSteps(node, full).find((each) => each.kind === 'zvol.create');
    const of = (vm: string) =>
      new Map([['tank/brig/vms/web01/disk0', { name: 'tank/brig/vms/web01/disk0', type: 'volume', vm }]]);
    expect(definition('zvol.create').holds(step?.args, { ...seen, datasets: of('web01') })).toBe('yes');
    expect(definition('zvol.create').holds(step?.args, { ...seen, datasets: of('web0') })).toBe('no');
  });
});

test('the jail root has 25 files when ldd names 20 libraries, all closed to writing', () => {
  const entries = baseEntries(Array.from({ length: 20 }, (_, i) => `/lib/lib${i}.so.1`));
  expect(entries.filter((entry) => entry.from !== undefined)).toHaveLength(25);
  expect(entries.filter((entry) => entry.from !== undefined && (entry.mode & 0o222) !== 0)).toEqual([]);
  expect(entries.map((entry) => entry.path)).toEqual(entries.map((entry) => entry.path).sort());
  expect(entries.map((entry) => entry.path)).toEqual(expect.arrayContaining(['/', '/dev', '/disk', '/tmp', '/vm']));
});
