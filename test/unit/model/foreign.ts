import { readFileSync } from 'node:fs';
import { parseRecording, type Recorded } from '../../recording.ts';
import { type Session } from './replay.ts';
import { prepareJail, Scene, type Machine } from './scene.ts';

/** Modules by what shows that a host had them. */
const MODULES: readonly (readonly [RegExp, string])[] = [
  [/bhyve|vmm/, 'vmm'],
  [/\btap\d*\b/, 'if_tuntap'],
  [/\bepair\d*[ab]?\b/, 'if_epair'],
  [/\bbridge\d*\b/, 'if_bridge'],
  [/\btarfs\b/, 'tarfs'],
  [/\bpfctl\b/, 'pf'],
];

const wordsOf = (command: string): string[] => command.split(/[\s;|]+/);

/** Pool of the first dataset that zfs(8) names. */
const poolOf = (all: readonly Recorded[]): string | undefined =>
  all.flatMap(({ command }) => /^zfs .*?\b([a-z][a-z0-9_-]*)\/[a-z]/.exec(command)?.[1] ?? [])[0];

/** Directories that commands take for granted: mount points, roots of jails, parents of files. */
const directoriesOf = (all: readonly Recorded[]): string[] =>
  all
    .filter(({ status }) => status === 0)
    .flatMap(({ command }) => [
      ...[...command.matchAll(/\bpath=(\/\S+)/g)].map((match) => match[1] ?? ''),
      ...(/^mount -t \S+ .*? (\/\S+)$/.exec(command)?.slice(1) ?? []),
      ...(/^mount -t nullfs (?:-o \S+ )?(\/\S+)/.exec(command)?.slice(1) ?? []),
    ])
    .filter((path) => path !== '/');

const archivesOf = (all: readonly Recorded[]): string[] =>
  all.flatMap(({ command }) => /^mount -t tarfs (?:-o \S+ )?(\/\S+) /.exec(command)?.slice(1) ?? []);

/** Names that the session uses before it makes them: interfaces and jails of somebody before it. */
const usedBefore = (all: readonly Recorded[], made: RegExp, used: RegExp): string[] => {
  const known = new Set<string>();
  const missing = new Set<string>();
  for (const { command, output, status } of all) {
    for (const match of command.matchAll(made)) known.add(match[1] ?? '');
    if (/ create\b/.test(command)) for (const word of wordsOf(output)) known.add(word);
    if (status !== 0) continue;
    for (const match of command.matchAll(used)) if (!known.has(match[1] ?? '')) missing.add(match[1] ?? '');
  }
  return [...missing];
};

const interfacesOf = (all: readonly Recorded[]): string[] =>
  usedBefore(
    all,
    /^ifconfig (\S+) create|\bname (\S+)/g,
    /^ifconfig ((?:tap|bridge)\d+) (?!create)|\baddm ((?:tap|bridge)\d+)/g,
  ).filter(Boolean);

const jailsOf = (all: readonly Recorded[]): string[] =>
  usedBefore(all, /\bname=(\S+)/g, /^(?:ps -J|jls -j|ifconfig -j|cpuset -[lg] .*-j|jexec(?: -l)?) ([a-z][\w-]*)/g);

/** VMs that are started by jexec(8), or seen to run, in jails that the session did not make. */
const machinesOf = (all: readonly Recorded[]): Machine[] => {
  const made = new Set(all.flatMap(({ command }) => /\bjail .*-c .*\bname=(\S+)/.exec(command)?.[1] ?? []));
  const found = new Map<string, Machine>();
  for (const { command, output } of all) {
    const started =
      /jexec (?:-l )?(\S+) \S*chroot (?:-G \S+ )?-g \d+ -u (\d+) .*bhyve .*?(\S+)(?: <\/dev\/null)?$/.exec(command);
    const seen = /^ps -J (\S+) /.exec(command) && /(\d+).* bhyve: (\S+) \(bhyve\)/.exec(output);
    const jail = started?.[1] ?? (seen ? command.split(' ')[2] : undefined);
    const name = started?.[3] ?? seen?.[2];
    if (jail === undefined || name === undefined || made.has(jail) || found.has(jail)) continue;
    found.set(jail, { name, jail, uid: Number(started?.[2] ?? 20_001), dir: `/brig/vms/${name}` });
  }
  return [...found.values()];
};

/** A VM that runs when a listing shows it is started before. */
const startSeen =
  (machines: readonly Machine[]) =>
  async (scene: Scene, command: string): Promise<void> => {
    const machine = machines.find(({ jail }) => command.startsWith(`ps -J ${jail} `));
    const { vms } = scene.model.state;
    // One start after the other: whoever recorded them destroyed what the last one left.
    if (command.startsWith('timeout '))
      for (const { name } of vms.filter((vm) => vm.ended)) await scene.ok(`bhyvectl --vm=${name} --destroy`);
    if (machine && vms.every((vm) => vm.name !== machine.name)) await scene.start(machine).catch(() => undefined);
  };

const prepare = async (scene: Scene, all: readonly Recorded[]): Promise<void> => {
  const text = all.map(({ command }) => command).join('\n');
  for (const [shows, name] of MODULES) if (shows.test(text)) await scene.ok(`kldload -n ${name}`);
  await scene.mkdir(...new Set(directoriesOf(all)));
  for (const path of archivesOf(all)) await scene.file(path, 'image');
  for (const name of interfacesOf(all)) await scene.sh(`ifconfig ${name} create`);
  const machines = machinesOf(all);
  for (const machine of machines) await prepareJail(scene, machine);
  const ready = new Set(machines.map(({ jail }) => jail));
  for (const name of jailsOf(all).filter((jail) => !ready.has(jail)))
    await scene.sh(`jail -q -i -c name=${name} path=/ persist vnet`);
};

/** A recording that nobody wrote a session for: a fresh host with what its commands take for granted. */
export const foreignSession = (path: string): Session => {
  const recording = parseRecording(readFileSync(path, 'utf8'));
  const pool = poolOf(recording);
  return {
    file: path,
    recording,
    scene: () => new Scene({ cpus: 2, ...(pool === undefined ? {} : { pool }) }),
    between: startSeen(machinesOf(recording)),
    unseen: { start: (scene) => prepare(scene, recording) },
    passed: {},
  };
};
