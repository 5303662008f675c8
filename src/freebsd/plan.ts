import { seedsOf } from '../platform/seed.ts';
import { asUser, bhyveCommand, renderConfig } from './programs/bhyve.ts';
import type { Step } from '../base/step.ts';
import type { Vm } from '../platform/platform.ts';
import { screenSecret } from '../spec/secret.ts';
import {
  diskPath,
  limitsOf,
  needsDiskDirectory,
  SOCKETS,
  sharePath,
  staleSockets,
  usesOf,
  vmDataset,
  volumeOf,
} from './devices.ts';
import { composeRules } from './fragments.ts';
import { parametersOf } from './jail.ts';
import { jailOf, machineOf, runsAsRoot, whereOf, type Node } from './node.ts';
import type { Rule } from './programs/devfs.ts';
import { makeSeed } from './programs/makefs.ts';
import { tpmCommand } from './programs/swtpm.ts';
import { rulesFor } from './programs/rctl.ts';
import { step } from './catalogue.ts';
import { nicSteps } from './networks.ts';

/** What lives as long as the VM is defined. */
export const createSteps = (node: Node, vm: Vm): Step[] => {
  const { name, disks, firmware } = vm.spec;
  const files = node.layout.vm(name);
  const parent = node.dataset ?? '';
  const uid = vm.place.uid;
  const volumes = disks.some((disk) => 'zvol' in disk)
    ? [step('dataset.create', { vm: name, dataset: vmDataset(parent, name) })]
    : [];
  return [
    step('state-dir.create', { vm: name, paths: { state: files.state, disk: files.disk } }),
    ...('uefi' in firmware
      ? [step('vars.copy', { vm: name, from: firmware.uefi.vars, path: `${files.disk}/vars.fd`, uid })]
      : []),
    ...volumes,
    ...disks.flatMap((disk, i) => {
      if ('zvol' in disk)
        return [
          step('zvol.create', {
            vm: name,
            dataset: volumeOf(parent, name, i),
            bytes: disk.zvol.size,
            ...from(disk.zvol.from),
            ...(node.reserve ? { reserve: true as const } : {}),
          }),
        ];
      const file = `disk${i}.raw`;
      return 'file' in disk
        ? [
            step('disk.create', {
              vm: name,
              path: `${files.disk}/${file}`,
              name: file,
              bytes: disk.file.size,
              uid,
              ...from(disk.file.from),
            }),
          ]
        : [];
    }),
  ];
};

const from = (source: string | undefined): { from?: string } => (source === undefined ? {} : { from: source });

/**
 * What a run is made of. Backwards it is the stop, whose order matters (FACTS S.4): bhyve gone, VM destroyed,
 * jail removed, /dev unmounted, jail gone and interfaces home, the rest unmounted, interfaces, ruleset, limits.
 */
export const startSteps = (node: Node, vm: Vm, run: string, graceMs: number): Step[] => {
  const name = vm.spec.name;
  return [
    runDirStep(node, vm),
    ...seedsOf(vm, node.layout.vm(name), makeSeed).map((args) => step('seed.make', args)),
    ...limitSteps(node, vm),
    step('devfs.load', {
      vm: name,
      machine: machineOf(node, vm),
      ruleset: vm.place.uid,
      rules: rulesetOf(node, vm),
      node: `${node.layout.vm(name).root}/dev`,
    }),
    ...nicSteps(node, vm),
    ...mountSteps(node, vm),
    devStep(node, vm),
    jailStep(node, vm),
    ...insideSteps(vm),
    ...tpmSteps(node, vm),
    step('vmm.create', { vm: name, machine: machineOf(node, vm), jail: jailOf(name) }),
    bhyveStep(node, vm, run, graceMs),
  ];
};

/** The whole of /dev in the VM's jail. */
export const rulesetOf = (node: Node, vm: Vm): Rule[] =>
  composeRules(node.fragments, usesOf(vm, whereOf(node, vm), !node.features.vmmctl));

const runDirStep = (node: Node, vm: Vm): Step => {
  const files = node.layout.vm(vm.spec.name);
  const { firmware, disks } = vm.spec;
  const rom = 'builtin' in firmware ? node.testRom : 'rom' in firmware ? firmware.rom : firmware.uefi.code;
  const { run, root, config, conIn, conOut, exit, resets } = files;
  const secret = screenSecret(vm.spec);
  return step('run-dir.create', {
    vm: vm.spec.name,
    uid: vm.place.uid,
    paths: { run, root, config, conIn, conOut, exit, resets },
    config: renderConfig(vm, whereOf(node, vm), !node.features.vmmctl),
    ...(secret ? { secrets: [secret] } : {}),
    rom,
    covers: disks.flatMap((disk, i) => ('image' in disk ? [`${config}/disk${i}.img`] : [])),
    shares: vm.spec.devices['virtio-9p'].map((_, i) => `${config}/share${i}`),
  });
};

const limitSteps = (node: Node, vm: Vm): Step[] => {
  const rules = rulesFor(jailOf(vm.spec.name), vm, whereOf(node, vm));
  return node.features.racct ? [step('limits.add', { vm: vm.spec.name, jail: jailOf(vm.spec.name), rules })] : [];
};

const modeOf = (vm: Vm, index: number): 'vnet' | 'direct' => vm.spec.nics[index]?.mode ?? 'vnet';

/** One file system of a jail: where it comes from, where it goes, and why. */
export interface JailMount {
  readonly type: 'tarfs' | 'tmpfs' | 'nullfs';
  readonly options: readonly string[];
  readonly special: string;
  readonly node: string;
  readonly why: string;
  readonly readOnly: boolean;
  /** bhyve has files of it open as long as it runs. */
  readonly heldOpen: boolean;
}

/** Nothing that a guest can write is ever a program. */
const CLOSED = ['noexec', 'nosuid'] as const;

/** Everything that is mounted in the VM's root but its /dev, in order. */
export const mountsOf = (node: Node, vm: Vm): JailMount[] => {
  const { name, disks, devices } = vm.spec;
  const { root, config, disk } = node.layout.vm(name);
  const nullfs = (special: string, path: string, readOnly: boolean, why: string): JailMount => ({
    ...{
      type: 'nullfs',
      options: readOnly ? ['ro', 'nosuid'] : CLOSED,
      special,
      node: `${root}${path}`,
      why,
      readOnly,
      heldOpen: path !== '/vm',
    },
  });
  const options = ['size=16m', 'mode=1777', ...CLOSED];
  const small = { type: 'tmpfs', options, special: 'tmpfs', readOnly: false, heldOpen: false } as const;
  return [
    {
      ...{ type: 'tarfs', options: [], special: node.base, node: root, readOnly: true, heldOpen: true },
      why: `the jail of ${name} sees a few signed files that nobody can change, and nothing of the host`,
    },
    { ...small, node: `${root}/tmp`, why: 'iasl(8) needs a little room when bhyve builds its ACPI tables' },
    nullfs(config, '/vm', true, `bhyve of ${name} reads its configuration and cannot change it`),
    ...(needsDiskDirectory(vm)
      ? [nullfs(disk, '/disk', false, `bhyve of ${name} writes its file disks and UEFI variables here`)]
      : []),
    ...disks.flatMap((each, i) =>
      'image' in each
        ? [nullfs(each.image, diskPath(vm, i, node.dataset), true, `disk ${i} of ${name} is a read-only image`)]
        : [],
    ),
    ...devices['virtio-9p'].map((share, i) =>
      nullfs(share.path, sharePath(i), share.readOnly, `${name} shares ${share.path} with its guest`),
    ),
  ];
};

const mountSteps = (node: Node, vm: Vm): Step[] =>
  mountsOf(node, vm).map(({ type, options, special, node: at, why, heldOpen }) =>
    step('fs.mount', { vm: vm.spec.name, type, options, special, node: at, why, heldOpen }),
  );

const devStep = (node: Node, vm: Vm): Step =>
  step('dev.mount', {
    vm: vm.spec.name,
    jail: jailOf(vm.spec.name),
    ruleset: vm.place.uid,
    node: `${node.layout.vm(vm.spec.name).root}/dev`,
    interfaces: vm.place.nics.flatMap((nic, i) =>
      modeOf(vm, i) === 'vnet' ? [`epair${nic.unit}b`, `tap${nic.unit}`] : [],
    ),
    meta: node.features.meta,
  });

const jailStep = (node: Node, vm: Vm): Step => {
  const { name, limits } = vm.spec;
  return step('jail.create', {
    vm: name,
    jail: jailOf(name),
    path: node.layout.vm(name).root,
    parameters: parametersOf(node, vm),
    ...(limits.cpuset === undefined ? {} : { cpuset: limits.cpuset }),
  });
};

const insideSteps = (vm: Vm): Step[] =>
  vm.place.nics.flatMap((nic, i) =>
    modeOf(vm, i) === 'vnet'
      ? [
          step('vnet.join', {
            ...{ vm: vm.spec.name, jail: jailOf(vm.spec.name), unit: nic.unit, inside: i },
            ...(nic.network.mtu === undefined ? {} : { mtu: nic.network.mtu }),
          }),
        ]
      : [],
  );

const tpmSteps = (node: Node, vm: Vm): Step[] => {
  const { name, devices } = vm.spec;
  const { uid } = vm.place;
  const { disk, root } = node.layout.vm(name);
  const paths = { state: `${disk}/tpm`, socket: `${root}${SOCKETS.tpm}` };
  return devices.tpm
    ? [step('tpm.start', { vm: name, jail: jailOf(name), uid, command: asUser(uid, tpmCommand()), paths })]
    : [];
};

const bhyveStep = (node: Node, vm: Vm, run: string, graceMs: number): Step => {
  const name = vm.spec.name;
  const files = node.layout.vm(name);
  const paths = {
    supervisor: node.layout.supervisor,
    run: files.run,
    exits: node.layout.exits,
    exit: files.exit,
    err: files.err,
    stop: files.stop,
  };
  const machine = machineOf(node, vm);
  const command = bhyveCommand(vm, machine, !node.features.vmmctl);
  const root = runsAsRoot(node, vm);
  return step('bhyve.start', {
    vm: name,
    machine,
    jail: jailOf(name),
    identity: root ? 'root of its jail' : `uid ${vm.place.uid}`,
    command: asUser(root ? 0 : vm.place.uid, command),
    limits: limitsOf(vm, whereOf(node, vm)),
    sockets: staleSockets(vm.spec).map((path) => `${files.root}${path}`),
    run,
    graceMs,
    paths,
  });
};
