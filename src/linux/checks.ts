import type { Host } from '../base/host.ts';
import { renderBytes } from '../base/units.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { markOf, networkMark, nicNames, OVERHEAD_BYTES, type Node } from './node.ts';
import type { Seen } from './observe.ts';
import { QEMU_IMG } from './programs/qemu-img.ts';
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
  ...checkSize(node, vm),
  ...(await checkFree(host, seen, vm)),
  ...checkLimits(node, vm),
  ...checkNames(seen, vm),
  ...checkNetworks(seen, vm),
  ...(await checkUid(host, seen, vm)),
  ...(await checkFiles(host, vm)),
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

const checkSize = ({ features }: Node, { spec }: Vm): Finding[] => {
  const least = spec.memory + OVERHEAD_BYTES;
  const { memory: limit, cpuset } = spec.limits;
  return [
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
const checkLimits = ({ features }: Node, { spec }: Vm): Finding[] => [
  ...(spec.limits.memory !== undefined && !features.memory
    ? [problem('cgroup controller memory for limits.memory', 'none on this host', 'leave out limits.memory')]
    : []),
  ...(spec.limits.pcpu !== undefined && !features.cpu
    ? [problem('cgroup controller cpu for limits.pcpu', 'none on this host', 'leave out limits.pcpu')]
    : []),
];

/** Leased names that somebody else uses: strangers are never touched. */
const checkNames = (seen: Seen, { spec, place }: Vm): Finding[] => {
  const wanted = place.nics.flatMap(({ unit, bridge }) => [
    { name: nicNames(unit).host, kind: 'veth', mark: markOf(spec.name) },
    ...(bridge.own ? [{ name: bridge.name, kind: 'bridge', mark: networkMark(bridge.network) }] : []),
  ]);
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

const checkNetworks = (seen: Seen, { place }: Vm): Finding[] =>
  place.nics.flatMap(({ bridge: { own, name, network } }) =>
    own || seen.links.get(name)?.kind === 'bridge'
      ? []
      : [
          problem(
            `bridge ${name} of network ${network}`,
            seen.links.has(name) ? 'no bridge' : 'no such interface',
            `ip link add name ${name} type bridge`,
          ),
        ],
  );

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

const checkFiles = async (host: Host, { spec }: Vm): Promise<Finding[]> => {
  const { firmware, disks } = spec;
  const copied =
    'rom' in firmware ? [firmware.rom] : 'uefi' in firmware ? [firmware.uefi.code, firmware.uefi.vars] : [];
  const bases = disks.flatMap((disk) => ('file' in disk && disk.file.from !== undefined ? [disk.file.from] : []));
  const shown = disks.flatMap((disk) => ('image' in disk ? [disk.image] : []));
  const found = await Promise.all([
    ...copied.map((path) => checkFile(host, path, false)),
    // QEMU opens these itself, as the VM's uid.
    ...[...bases, ...shown].map((path) => checkFile(host, path, true)),
    ...(bases.length > 0 ? [checkQemuImg(host)] : []),
  ]);
  return found.flat();
};

const checkFile = async (host: Host, path: string, byEverybody: boolean): Promise<Finding[]> => {
  const stat = await host.stat(path);
  if (stat?.kind !== 'file') return [problem(`file ${path}`, stat ? `a ${stat.kind}` : 'nothing there')];
  return byEverybody && (stat.mode & 0o004) === 0
    ? [problem(`file ${path} readable for everybody`, `mode ${stat.mode.toString(8)}`, `chmod a+r ${path}`)]
    : [];
};

const checkQemuImg = async (host: Host): Promise<Finding[]> =>
  (await host.stat(QEMU_IMG))
    ? []
    : [problem(`${QEMU_IMG} for a disk with from`, 'nothing there', 'apt-get install qemu-utils')];
