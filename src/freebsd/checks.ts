import type { Host } from '../base/host.ts';
import { renderBytes } from '../base/units.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { checkDevices } from './devicechecks.ts';
import { MAKEFS } from './programs/makefs.ts';
import { checkFirewall, checkNetwork } from './networks.ts';
import { jailOf, machineOf, markOf, type Node } from './node.ts';
import type { Seen } from './observe.ts';

const problem = (what: string, got: string, mend?: string): Finding => ({
  level: 'problem',
  what,
  got,
  ...(mend === undefined ? {} : { mend }),
});

/** bhyve's own process beside the guest's memory: its heap, libraries and device models. */
const OVERHEAD_BYTES = 128 * 2 ** 20;

/** Why a start of this VM cannot work, all at once, before anything is touched. */
export const precheck = async (host: Host, node: Node, seen: Seen, vm: Vm): Promise<Finding[]> => [
  ...node.findings.filter((finding) => finding.level === 'problem'),
  ...checkSize(node, vm),
  ...checkNames(node, seen, vm),
  ...checkFirewall(
    seen,
    vm.place.nics.filter(({ policy }) => policy),
  ),
  ...vm.place.nics.flatMap(({ network }) => checkNetwork(node, seen, network)),
  ...checkDisks(node, seen, vm),
  ...(await checkDevices(host, node, vm)),
  ...(await checkFiles(host, vm)),
];

const checkSize = (node: Node, vm: Vm): Finding[] => {
  const { cpus, memory, limits } = vm.spec;
  const { maxCpus, memoryBytes } = node.features;
  return [
    ...(cpus > maxCpus
      ? [problem(`cpus at most ${maxCpus} (hw.vmm.maxcpu)`, String(cpus), 'lower cpus in the document')]
      : []),
    ...(memory > memoryBytes
      ? [
          problem(
            `memory at most ${renderBytes(memoryBytes)} (hw.physmem)`,
            renderBytes(memory),
            'lower memory in the document',
          ),
        ]
      : []),
    ...(limits.memory !== undefined && limits.memory < memory + OVERHEAD_BYTES
      ? [
          problem(
            `limits.memory of at least ${renderBytes(memory + OVERHEAD_BYTES)}: the guest's memory and bhyve itself`,
            renderBytes(limits.memory),
            'raise limits.memory',
          ),
        ]
      : []),
  ];
};

/** Leased names that somebody else uses: strangers are never touched. */
const checkNames = (node: Node, seen: Seen, vm: Vm): Finding[] => {
  const name = vm.spec.name;
  const machine = machineOf(node, vm);
  const mine = markOf(name);
  const interfaces = vm.place.nics.flatMap((nic) => [`tap${nic.unit}`, `epair${nic.unit}a`]);
  const taken = interfaces.filter(
    (each) => seen.interfaces.has(each) && seen.interfaces.get(each)?.description !== mine,
  );
  const rules = seen.focus?.rules ?? '';
  const strange = rules !== '' && !rules.includes(` path vmm/${machine} `);
  return [
    ...taken.map((each) =>
      problem(
        `interface ${each} free or marked ${mine}`,
        `in use: ${seen.interfaces.get(each)?.description ?? 'no description'}`,
        'set another unitBase',
      ),
    ),
    ...(seen.vmmNodes.has(machine) && !seen.runDirs.has(name) && !seen.jails.some((each) => each.name === jailOf(name))
      ? [
          problem(
            `the name ${machine} free in vmm(4)`,
            'a VM that is not ours',
            `bhyvectl --vm=${machine} --destroy, if nobody needs it`,
          ),
        ]
      : []),
    ...(strange
      ? [problem(`devfs ruleset ${vm.place.uid} free`, 'in use by somebody else', 'set another slotBase')]
      : []),
  ];
};

const checkDisks = (node: Node, seen: Seen, vm: Vm): Finding[] => {
  if (!vm.spec.disks.some((disk) => 'zvol' in disk)) return [];
  if (node.dataset === undefined)
    return [
      problem('a pool for zvol disks', 'no dataset configured', 'set dataset in brig.yaml, for example zroot/brig'),
    ];
  return seen.datasets.has(node.dataset)
    ? []
    : [problem(`dataset ${node.dataset}`, 'does not exist', `zfs create -p ${node.dataset}`)];
};

const checkFiles = async (host: Host, vm: Vm): Promise<Finding[]> => {
  const { firmware, disks, cloudInit } = vm.spec;
  const files = [
    ...(cloudInit ? [MAKEFS] : []),
    ...('rom' in firmware ? [firmware.rom] : []),
    ...('uefi' in firmware ? [firmware.uefi.code, firmware.uefi.vars] : []),
    ...disks.flatMap((disk) =>
      'image' in disk ? [disk.image] : 'file' in disk && disk.file.from ? [disk.file.from] : [],
    ),
  ];
  const found = await Promise.all(files.map(async (path) => ({ path, stat: await host.stat(path) })));
  return found.flatMap(({ path, stat }) =>
    stat?.kind === 'file' ? [] : [problem(`file ${path}`, stat ? `a ${stat.kind}` : 'nothing there', installOf(path))],
  );
};

/** What a file comes with, where somebody else makes it. */
const installOf = (path: string): string | undefined =>
  path.startsWith('/usr/local/share/uefi-firmware/') ? 'pkg install edk2-bhyve' : undefined;
