import type { Host } from '../base/host.ts';
import { renderBytes } from '../base/units.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { countsIo, DEVICES, diskPaths, largestFile, partsOf, type Part } from './devices.ts';
import { blockDevices, leastThreads, overheadBytes } from './limits.ts';
import { checkNetwork } from './networks.ts';
import { NFT } from './programs/nft.ts';
import { PING } from './programs/ping.ts';
import { markOf, nicNames, type Node } from './node.ts';
import type { Seen } from './observe.ts';
import { QEMU_IMG } from './programs/qemu-img.ts';
import { XORRISOFS } from './programs/xorrisofs.ts';
import { parseCpuList, parseMemory, parsePasswd } from './programs/system.ts';
import { ownsLink } from './steps/network.ts';
import { qemuOf } from './steps/process.ts';

const problem = (what: string, got: string, mend?: string): Finding => ({
  level: 'problem',
  what,
  got,
  ...(mend === undefined ? {} : { mend }),
});

/** Why a start of this VM cannot work, all at once, before anything is touched. */
export const precheck = async (host: Host, node: Node, seen: Seen, vm: Vm): Promise<Finding[]> => [
  ...node.findings.filter((finding) => finding.level === 'problem'),
  ...checkKind(vm),
  ...checkDevices(node, vm),
  ...checkSize(node, vm, partsOf(vm, node.layout.vm(vm.spec.name))),
  ...(await checkFree(host, seen, vm)),
  ...checkLimits(node, vm),
  ...checkNames(seen, vm),
  ...vm.place.nics.flatMap(({ network }) => checkNetwork(seen, network)),
  ...(await checkUid(host, seen, vm)),
  ...(await checkFiles(host, vm)),
  ...(await checkGrown(host, node, vm)),
];

/** What only FreeBSD has. */
const checkKind = ({ spec }: Vm): Finding[] => [
  ...spec.disks.flatMap((disk, i) =>
    'zvol' in disk
      ? [
          problem(
            `disk ${i} of kind file or image on Linux`,
            'zvol',
            `write file: {size: ${renderBytes(disk.zvol.size)}}`,
          ),
        ]
      : [],
  ),
  ...spec.nics.flatMap((nic, i) =>
    nic.mode === 'direct'
      ? [
          problem(
            `nic ${i} of mode vnet on Linux`,
            "direct: a tap on the host bridge cannot be opened from the VM's namespace",
            'leave out mode',
          ),
        ]
      : [],
  ),
];

/** What the document may name and QEMU in a sandbox cannot have. */
const checkAbsent = ({ spec }: Vm): Finding[] => {
  const { devices } = spec;
  const absent = {
    hda: devices.hda !== undefined,
    'virtio-scsi': devices['virtio-scsi'].length > 0,
    passthru: devices.passthru.length > 0,
  };
  return [
    ...Object.entries(absent).flatMap(([name, is]) =>
      is ? [problem(`no device ${name} on Linux`, name, `leave out devices.${name}`)] : [],
    ),
    ...spec.disks.flatMap((disk, i) =>
      'image' in disk && disk.device === 'ahci-hd'
        ? [
            problem(
              `image ${i} on virtio-blk, nvme or ahci-cd: on Linux an ahci-hd cannot be read-only`,
              disk.device,
              'write device: ahci-cd',
            ),
          ]
        : [],
    ),
  ];
};

/** Devices that this QEMU, or this node's policy, does not have. */
const checkDevices = (node: Node, vm: Vm): Finding[] => {
  const files = node.layout.vm(vm.spec.name);
  const used = DEVICES.filter(({ parts }) => parts(vm, files).length > 0);
  const missing = [...new Set(used.flatMap(({ models }) => models))].filter((each) => !node.features.models.has(each));
  return [
    ...checkAbsent(vm),
    ...(used.some(({ name }) => name === 'e1000') && !node.allowDevices.includes('e1000')
      ? [
          problem(
            'device e1000 allowed on this node',
            'not in allowDevices: its emulation has a record of escapes',
            'use virtio-net, or set allowDevices: [e1000] in brig.yaml',
          ),
        ]
      : []),
    ...(missing.length > 0
      ? [problem(`QEMU with ${missing.join(', ')}`, 'not in its -device help', 'apt-get install qemu-system-x86')]
      : []),
    ...(vm.spec.devices.fbuf?.password !== undefined && !node.features.readsPasswords
      ? [
          problem(
            'a QEMU that reads the password of devices.fbuf from a file (-vnc password-secret)',
            'one that does not',
            'install QEMU 6.1 or newer',
          ),
        ]
      : []),
    ...(vm.spec.devices.tpm && !node.tpm
      ? [problem('swtpm for devices.tpm', 'not installed', 'apt-get install swtpm, then restart brigd')]
      : []),
  ];
};

const checkSize = ({ features }: Node, vm: Vm, parts: readonly Part[]): Finding[] => {
  const { spec } = vm;
  const least = spec.memory + overheadBytes(vm, parts);
  const { memory: limit, cpuset, threads } = spec.limits;
  const leastTasks = leastThreads(vm, parts);
  return [
    ...(threads !== undefined && threads < leastTasks
      ? [
          problem(
            `limits.threads of at least ${leastTasks}, which QEMU may need`,
            String(threads),
            'raise limits.threads',
          ),
        ]
      : []),
    ...(spec.cpus > features.cpus
      ? [problem(`cpus at most ${features.cpus}, the host's`, String(spec.cpus), 'lower cpus in the document')]
      : []),
    ...(spec.memory > features.memoryBytes
      ? [
          problem(
            `memory at most ${renderBytes(features.memoryBytes)}, the host's`,
            renderBytes(spec.memory),
            'lower memory in the document',
          ),
        ]
      : []),
    ...(limit !== undefined && limit < least
      ? [
          problem(
            `limits.memory of at least ${renderBytes(least)}: the guest's memory and QEMU itself`,
            renderBytes(limit),
            'raise limits.memory',
          ),
        ]
      : []),
    ...(cpuset !== undefined && parseCpuList(cpuset).highest >= features.cpus
      ? [problem(`limits.cpuset within 0-${features.cpus - 1}`, cpuset, 'name CPUs that the host has')]
      : []),
  ];
};

/** A guest takes its memory little by little, so it may still fit: told, not refused. */
const checkFree = async (host: Host, seen: Seen, { spec, place }: Vm): Promise<Finding[]> => {
  const free = parseMemory((await host.readFile('/proc/meminfo')) ?? '', 'MemAvailable');
  if (free === undefined || free >= spec.memory || qemuOf(place.uid, seen)) return [];
  return [
    {
      level: 'warning',
      what: `${renderBytes(spec.memory)} of free memory`,
      got: renderBytes(free),
      mend: 'stop another VM first',
    },
  ];
};

/** A limit that nobody would keep is refused: the document says more than the host can do. */
const checkLimits = (node: Node, vm: Vm): Finding[] => {
  const { features } = node;
  const { spec } = vm;
  return [
    ...(spec.limits.memory !== undefined && !features.memory
      ? [problem('cgroup controller memory for limits.memory', 'none on this host', 'leave out limits.memory')]
      : []),
    ...(spec.limits.pcpu !== undefined && !features.cpu
      ? [problem('cgroup controller cpu for limits.pcpu', 'none on this host', 'leave out limits.pcpu')]
      : []),
    ...(spec.wired && !features.locksMemory
      ? [
          problem(
            'the right to lock memory for wired: true',
            'brigd lacks CAP_SYS_RESOURCE, and its limit of locked memory is too low',
            'start brigd with LimitMEMLOCK=infinity, or leave out wired',
          ),
        ]
      : []),
    ...(countsIo(vm) ? checkIo(node, vm) : []),
  ];
};

const IO = 'limits of bytes and operations a second';

const checkIo = (node: Node, vm: Vm): Finding[] => {
  if (!node.features.io) return [problem(`cgroup controller io for ${IO}`, 'none on this host', `leave out ${IO}`)];
  const files = node.layout.vm(vm.spec.name);
  return blockDevices(node, vm, files).includes(undefined)
    ? [problem(`disks on a block device for ${IO}`, 'a file system without one', 'put the disks on ext4 or xfs')]
    : [];
};

/** Leased names that somebody else uses: strangers are never touched. */
const checkNames = (seen: Seen, { spec, place }: Vm): Finding[] => {
  const wanted = place.nics.map(({ unit }) => ({ name: nicNames(unit).host, kind: 'veth', mark: markOf(spec.name) }));
  return wanted.flatMap(({ name, kind, mark }) => {
    const link = seen.links.get(name);
    return link && ownsLink(link, mark, kind) === 'no'
      ? [
          problem(
            `interface ${name} free or marked ${mark}`,
            `in use: ${link.alias ?? 'no alias'}`,
            'set another unitBase',
          ),
        ]
      : [];
  });
};

/** Everything that runs as the uid is killed at a stop: it must be nobody's. */
const checkUid = async (host: Host, seen: Seen, { place }: Vm): Promise<Finding[]> => {
  const user = parsePasswd((await host.readFile('/etc/passwd')) ?? '').get(place.uid);
  const stranger = seen.processes.find((each) => each.uid === place.uid && each !== qemuOf(place.uid, seen));
  return [
    ...(user === undefined
      ? []
      : [problem(`uid ${place.uid} in no passwd entry`, `user ${user}`, 'set another slotBase')]),
    ...(stranger
      ? [
          problem(
            `uid ${place.uid} without processes`,
            `process ${stranger.pid}: ${stranger.args.slice(0, 60)}`,
            'set another slotBase',
          ),
        ]
      : []),
  ];
};

const checkFiles = async (host: Host, { spec, place }: Vm): Promise<Finding[]> => {
  const { firmware, disks } = spec;
  const copied =
    'rom' in firmware ? [firmware.rom] : 'uefi' in firmware ? [firmware.uefi.code, firmware.uefi.vars] : [];
  const bases = disks.flatMap((disk) => ('file' in disk && disk.file.from !== undefined ? [disk.file.from] : []));
  const shown = disks.flatMap((disk) => ('image' in disk ? [disk.image] : []));
  const found = await Promise.all([
    ...copied.map((path) => checkFile(host, path, false)),
    // QEMU opens these itself, as the VM's uid.
    ...[...bases, ...shown].map((path) => checkFile(host, path, true)),
    ...spec.devices['virtio-9p'].map(({ path }) => checkShare(host, path)),
    ...(bases.length > 0 ? [checkTool(host, QEMU_IMG, 'a disk with from', 'qemu-utils')] : []),
    ...(spec.cloudInit ? [checkTool(host, XORRISOFS, 'cloudInit', 'xorriso')] : []),
    ...(place.nics.some(({ network }) => network.moved)
      ? [checkTool(host, PING, 'moveAddresses', 'iputils-ping')]
      : []),
    ...(place.nics.some(({ policy }) => policy)
      ? [checkTool(host, NFT, 'a network that guards its guests', 'nftables')]
      : []),
  ]);
  return found.flat();
};

const checkFile = async (host: Host, path: string, byEverybody: boolean): Promise<Finding[]> => {
  const stat = await host.stat(path);
  const mend = path.startsWith('/usr/share/OVMF/') ? 'apt-get install ovmf' : undefined;
  if (stat?.kind !== 'file') return [problem(`file ${path}`, stat ? `a ${stat.kind}` : 'nothing there', mend)];
  return byEverybody && (stat.mode & 0o004) === 0
    ? [problem(`file ${path} readable for everybody`, `mode ${stat.mode.toString(8)}`, `chmod a+r ${path}`)]
    : [];
};

/** QEMU may write no file that is larger than the document says, so a disk that somebody has grown would fail in use. */
const checkGrown = async (host: Host, node: Node, vm: Vm): Promise<Finding[]> => {
  const files = node.layout.vm(vm.spec.name);
  const most = largestFile(vm) ?? Number.MAX_SAFE_INTEGER;
  const found = await Promise.all(
    vm.spec.disks.map(async (disk, i) => {
      const path = 'file' in disk ? diskPaths(disk, i, files)[0] : undefined;
      const bytes = path === undefined ? 0 : ((await host.stat(path))?.bytes ?? 0);
      return bytes > most
        ? [problem(`disk ${i} as large as its document says`, renderBytes(bytes), 'raise size in the document')]
        : [];
    }),
  );
  return found.flat();
};

/** QEMU enters it as the VM's uid. */
const checkShare = async (host: Host, path: string): Promise<Finding[]> => {
  const stat = await host.stat(path);
  if (stat?.kind !== 'directory') return [problem(`directory ${path}`, stat ? `a ${stat.kind}` : 'nothing there')];
  return (stat.mode & 0o005) === 0o005
    ? []
    : [problem(`directory ${path} open to everybody`, `mode ${stat.mode.toString(8)}`, `chmod a+rx ${path}`)];
};

const checkTool = async (host: Host, path: string, what: string, from: string): Promise<Finding[]> =>
  (await host.stat(path)) ? [] : [problem(`${path} for ${what}`, 'nothing there', `apt-get install ${from}`)];
