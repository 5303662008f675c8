import type { FileStat } from '../../base/host.ts';
import { SEED } from '../../platform/seed.ts';
import { property, type Property } from '../../platform/audit.ts';
import { SOCKETS } from '../devices.ts';
import { jailOf, runsAsRoot } from '../node.ts';
import { mountsOf, rulesetOf } from '../plan.ts';
import { maskConfig, renderConfig } from '../programs/bhyve.ts';
import { renderShown } from '../programs/devfs.ts';
import { whereOf } from '../node.ts';
import { writesOf, type Entry, type Measured } from './measure.ts';

const list = (items: readonly string[]): string => (items.length === 0 ? 'none' : items.join(' '));

/** Shape: `file 600 20001:20001`. */
const describe = ({ kind, mode, uid, gid }: FileStat): string => `${kind} ${(mode & 0o7777).toString(8)} ${uid}:${gid}`;

/** Differences between two sets of names, for people. */
const compare = (expected: readonly string[], found: readonly string[]): string => {
  const more = found.filter((name) => !expected.includes(name)).map((name) => `+${name}`);
  const less = expected.filter((name) => !found.includes(name)).map((name) => `-${name}`);
  return [...more, ...less].join(' ');
};

const exactly = (
  id: string,
  what: string,
  expected: readonly string[],
  found: readonly string[] | undefined,
  how: string,
): Property => {
  const sorted = [...expected].sort();
  const difference = found && compare(sorted, found);
  const text = list(sorted);
  return property(id, what, text, difference === undefined ? undefined : difference === '' ? text : difference, how);
};

/** Names in /dev that the rules unhide. */
const expectedNodes = (m: Measured): string[] =>
  rulesetOf(m.node, m.vm).flatMap(({ path, hide }) => (path === undefined || hide ? [] : [path]));

/** A node of the VM's own must be its uid's alone. */
const ownership = (m: Measured): string[] => {
  const rules = rulesetOf(m.node, m.vm);
  return m.dev.flatMap(({ path, stat }) => {
    const rule = rules.find((each) => `/${each.path ?? ''}` === path);
    if (!rule || rule.mode === undefined || stat.kind === 'directory') return [];
    const right = (stat.mode & 0o777) === rule.mode && (rule.user === undefined || stat.uid === rule.user);
    return right ? [] : [`${path.slice(1)} is ${describe(stat)}`];
  });
};

/** What the jail has of devices, from both sides. */
export const devices = (m: Measured): Property[] => {
  const expected = expectedNodes(m);
  const { root } = m.node.layout.vm(m.vm.spec.name);
  const names = m.dev.map(({ path }) => path.slice(1));
  const seen = m.inside?.split('\n').flatMap((line) => /^sees \/dev\/(.*)$/.exec(line)?.[1] ?? []);
  const wrong = ownership(m);
  const shown = m.focus.rules;
  const wanted = renderShown(rulesetOf(m.node, m.vm));
  const ruleset = `devfs rule -s ${m.vm.place.uid} show`;
  return [
    exactly('devices.nodes', 'nodes in its /dev', expected, names, `readdir ${root}/dev`),
    exactly('devices.inside', 'nodes that it sees itself', expected, seen, `sh in jail ${jailOf(m.vm.spec.name)}`),
    property(
      'devices.owners',
      'its own nodes are open to its uid alone',
      'all',
      wrong.length === 0 ? 'all' : wrong.join('; '),
      `lstat below ${root}/dev`,
    ),
    property(
      'devices.rules',
      'its devfs rules',
      `${wanted.split('\n').length - 1} rules`,
      shown === wanted ? `${wanted.split('\n').length - 1} rules` : differ(wanted, shown),
      ruleset,
    ),
  ];
};

/** The first line that is not as it should be. */
const differ = (wanted: string, shown: string): string => {
  const [want, got] = [wanted.split('\n'), shown.split('\n')];
  const at = want.findIndex((line, i) => line !== got[i]);
  const line = at < 0 ? want.length : at;
  return `rule ${line + 1}: ${got[line] === undefined || got[line] === '' ? 'missing' : got[line]} instead of ${want[line] === undefined || want[line] === '' ? 'none' : want[line]}`;
};

/** What is mounted where, and how. Shape: `nullfs:/vm:ro,noexec,nosuid`. */
const renderMount = (type: string, node: string, options: readonly string[]): string =>
  `${type}:${node}:${['ro', 'rw', 'noexec', 'nosuid'].filter((word) => options.includes(word)).join(',')}`;

const isSetid = ({ stat }: Entry): boolean => stat.kind === 'file' && (stat.mode & 0o6000) !== 0;
/** Anybody but root could change it. */
const isOpen = ({ stat }: Entry): boolean => stat.kind !== 'other' && (stat.uid !== 0 || (stat.mode & 0o022) !== 0);

/** Files of the root itself; more than were signed would show. */
const shownFiles = (m: Measured): number => m.root.filter(({ stat }) => stat.kind === 'file').length;

/** The jail's file systems. */
export const root = (m: Measured): Property[] => {
  const { root: top } = m.node.layout.vm(m.vm.spec.name);
  const mounts = m.host.seen.mounts.filter((each) => each.node === top || each.node.startsWith(`${top}/`));
  const expected = [
    ...mountsOf(m.node, m.vm).map((each) =>
      renderMount(each.type, each.node.slice(top.length) || '/', [each.readOnly ? 'ro' : 'rw', ...each.options]),
    ),
    renderMount('devfs', '/dev', ['rw']),
  ];
  const found = mounts.map((each) => renderMount(each.type, each.node.slice(top.length) || '/', each.options));
  const writable = m.inside === undefined ? undefined : writesOf(m.inside);
  return [
    property(
      'root.signed',
      'its root is a base that a trusted key signed',
      'as signed',
      m.base.problems[0] ?? (m.base.manifest ? 'as signed' : undefined),
      'sha-256 and Ed25519',
    ),
    property(
      'root.digests',
      'every file of its root, read through the mount, is the one that was signed',
      `${m.base.manifest?.files.length ?? 0} files as signed`,
      m.altered.length === 0 ? `${shownFiles(m)} files as signed` : m.altered.join('; '),
      `sha-256 of files below ${top}`,
    ),
    exactly('root.mounts', 'what is mounted in its root', expected, found, 'mount -p'),
    property(
      'root.setuid',
      'no setuid or setgid file',
      'none',
      list(m.root.filter(isSetid).map(({ path }) => path)),
      `lstat below ${top}`,
    ),
    property(
      'root.owners',
      "every file is root's, and nobody else may write it",
      'all',
      list(m.root.filter(isOpen).map(({ path, stat }) => `${path} is ${describe(stat)}`)).replace(/^none$/, 'all'),
      `lstat below ${top}`,
    ),
    exactly(
      'root.writable',
      'directories that take new files',
      ['/tmp/', ...(m.vm.spec.devices.tpm ? ['/disk/tpm/'] : []), ...writableShares(m)],
      writable,
      `sh in jail ${jailOf(m.vm.spec.name)}`,
    ),
  ];
};

/** Shares that the document opens for writing: whether the uid may write there is the host's matter. */
const writableShares = (m: Measured): string[] =>
  m.vm.spec.devices['virtio-9p'].flatMap(({ readOnly }, i) => {
    const path = `/vm/share${i}/`;
    return !readOnly && m.inside?.includes(`writes ${path}`) ? [path] : [];
  });

interface Wanted {
  readonly id: string;
  readonly what: string;
  readonly path: string;
  readonly is: string;
}

/** Files of the VM on the host, with their owners and modes. */
export const wantedFiles = (m: Pick<Measured, 'node' | 'vm'>): readonly Wanted[] => {
  const { node, vm } = m;
  const { name, disks, firmware, devices, cloudInit } = vm.spec;
  const { uid } = vm.place;
  const files = node.layout.vm(name);
  const own = `${uid}:${uid}`;
  const owner = runsAsRoot(node, vm) ? 0 : uid;
  return [
    { id: 'files.run', what: 'its run directory', path: files.run, is: 'directory 700 0:0' },
    { id: 'files.input', what: 'console input', path: files.conIn, is: 'fifo 600 0:0' },
    { id: 'files.output', what: 'console output', path: files.conOut, is: 'fifo 600 0:0' },
    { id: 'files.config', what: 'its configuration', path: `${files.config}/bhyve.conf`, is: `file 600 ${own}` },
    { id: 'files.firmware', what: 'its firmware', path: `${files.config}/firmware.rom`, is: 'file 444 0:0' },
    { id: 'files.exits', what: 'where exit statuses are written', path: node.layout.exits, is: 'directory 700 0:0' },
    { id: 'files.supervisor', what: "the supervisor's script", path: node.layout.supervisor, is: 'file 500 0:0' },
    ...disks.flatMap((disk, i): Wanted[] =>
      'file' in disk
        ? [{ id: `files.disk.${i}`, what: `disk ${i}`, path: `${files.disk}/disk${i}.raw`, is: `file 600 ${own}` }]
        : [],
    ),
    ...(cloudInit
      ? [{ id: 'files.seed', what: 'its cloud-init seed', path: `${files.config}/${SEED}`, is: `file 400 ${own}` }]
      : []),
    ...('uefi' in firmware
      ? [{ id: 'files.vars', what: 'UEFI variables', path: `${files.disk}/vars.fd`, is: `file 600 ${own}` }]
      : []),
    ...(devices.fbuf
      ? [
          {
            id: 'files.screen',
            what: "the screen's socket, in a directory of root's",
            path: `${files.root}${SOCKETS.screen}`,
            is: `socket 755 ${owner}:0`,
          },
        ]
      : []),
  ];
};

export const files = (m: Measured): Property[] => {
  const wanted = maskConfig(renderConfig(m.vm, whereOf(m.node, m.vm), !m.node.features.vmmctl));
  return [
    ...wantedFiles(m).map(({ id, what, path, is }) => {
      const stat = m.files.get(path);
      return property(id, what, is, stat ? describe(stat) : 'nothing there', `lstat ${path}`);
    }),
    property(
      'files.settings',
      "bhyve's configuration is what brig wrote",
      'as written',
      m.config === wanted ? 'as written' : m.config === undefined ? 'nothing there' : differ(wanted, m.config),
      'bhyve.conf',
    ),
  ];
};
