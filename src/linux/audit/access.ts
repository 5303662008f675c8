import type { FileStat } from '../../base/host.ts';
import { property, type Property } from '../../platform/audit.ts';
import { diskPaths, tpmOf } from '../devices.ts';
import { socketsOf } from '../plan.ts';
import { renderCommonArgs, renderVmArgs } from '../programs/bwrap.ts';
import { RUN_FILES } from '../steps/files.ts';
import { BESIDE } from '../tpm.ts';
import { sameSet, type Expected } from './compare.ts';
import type { Facts } from './facts.ts';

type Row = readonly [path: string, kind: FileStat['kind'], mode: number, uid: number];

/** Everything in the run directory that brig made. */
const runRows = ({ files, vm, node }: Expected): Row[] => {
  const { uid } = vm.place;
  return [
    [files.run, 'directory', 0o700, 0],
    [files.config, 'directory', 0o755, 0],
    [files.conIn, 'fifo', 0o600, 0],
    [files.conOut, 'fifo', 0o600, 0],
    [`${files.run}/err.in`, 'fifo', 0o600, 0],
    [`${files.run}/${RUN_FILES.sandbox}`, 'file', 0o600, 0],
    [node.sandbox, 'file', 0o600, 0],
    [`${files.config}/${RUN_FILES.firmware}`, 'file', 0o444, 0],
    [`${files.config}/${RUN_FILES.monitor}`, 'fifo', 0o600, uid],
    ...(vm.spec.devices.tpm ? ([[`${files.run}/${RUN_FILES.beside}`, 'file', 0o500, 0]] as const) : []),
  ];
};

const diskRows = ({ files, vm, own }: Expected): Row[] => {
  const { uid } = vm.place;
  const mine = vm.spec.disks.flatMap((disk, i) => ('file' in disk ? diskPaths(disk, i, files).slice(0, 1) : []));
  const vars = 'uefi' in vm.spec.firmware ? [`${files.disk}/vars.fd`] : [];
  const { dir, socket } = tpmOf(files);
  const used = own.some(({ from }) => from.startsWith(`${files.disk}/`));
  return [
    ...(used ? ([[files.disk, 'directory', 0o711, 0]] as const) : []),
    ...[...mine, ...vars].map((path) => [path, 'file', 0o600, uid] as const),
    ...(vm.spec.devices.tpm
      ? ([
          [dir, 'directory', 0o700, uid],
          [socket, 'socket', 0o600, uid],
        ] as const)
      : []),
  ];
};

/** What QEMU listens on; umask of supervise.sh makes them the uid's alone. */
const socketRows = ({ node, vm, parts }: Expected): Row[] => {
  const { uid } = vm.place;
  const directory = socketsOf(node, vm.spec.name);
  const names = parts.flatMap(({ socket }) => (socket === undefined ? [] : [socket]));
  return names.length === 0
    ? []
    : [
        [directory, 'directory', 0o700, uid],
        ...names.map((name) => [`${directory}/${name}`, 'socket', 0o700, uid] as const),
      ];
};

const allRows = (expected: Expected): Row[] => [...runRows(expected), ...diskRows(expected), ...socketRows(expected)];

export const statPaths = (expected: Expected): string[] => [
  ...allRows(expected).map(([path]) => path),
  expected.node.layout.supervisor,
];

export const textPaths = ({ files, node }: Expected): string[] => [
  `${files.run}/${RUN_FILES.sandbox}`,
  node.sandbox,
  `${files.run}/${RUN_FILES.beside}`,
];

const renderRow = ([path, kind, mode, uid]: Row, gid = uid): string =>
  `${path} ${kind} ${mode.toString(8)} ${uid}:${gid}`;

const accessProperty = (id: string, what: string, rows: readonly Row[], { stats }: Facts): Property[] =>
  rows.length === 0
    ? []
    : [
        sameSet(
          id,
          what,
          rows.map((row) => renderRow(row)),
          rows.flatMap(([path]) => {
            const stat = stats.get(path);
            return stat ? [renderRow([path, stat.kind, stat.mode, stat.uid], stat.gid)] : [];
          }),
          'lstat',
        ),
      ];

/** Whether the files that describe the sandbox still say what the plan says. */
const description = (expected: Expected, { texts }: Facts): Property => {
  const { files, vm, own, node } = expected;
  const wanted: readonly (readonly [string, string])[] = [
    [`${files.run}/${RUN_FILES.sandbox}`, renderVmArgs(vm.spec.name, own)],
    [node.sandbox, renderCommonArgs(node.common)],
    ...(vm.spec.devices.tpm ? ([[`${files.run}/${RUN_FILES.beside}`, BESIDE]] as const) : []),
  ];
  const changed = wanted.flatMap(([path, text]) => (texts.get(path) === text ? [] : [path]));
  return property(
    'run-dir.sandbox',
    'a guest that resets comes back into the same sandbox',
    'as planned',
    changed.length === 0 ? 'as planned' : `changed: ${changed.join(', ')}`,
    'the files that bwrap reads',
  );
};

export const accessProperties = (expected: Expected, facts: Facts): Property[] => [
  ...accessProperty('run-dir.access', 'only root enters its run directory', runRows(expected), facts),
  ...accessProperty('disks.access', 'its disks are its own alone', diskRows(expected), facts),
  ...accessProperty('sockets.access', 'only root of the host reaches its sockets', socketRows(expected), facts),
  description(expected, facts),
];
