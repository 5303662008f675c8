import { strict as assert } from 'node:assert';
import { readUplink } from './uplink.ts';
import { attachSteps, checkAttached } from './attach.ts';
import type { Host } from '../base/host.ts';
import type { Paths } from '../base/placed.ts';
import { BaseStore } from '../image/base-store.ts';
import { buildTestRom } from '../image/testrom.ts';
import { layout, type Layout } from '../platform/layout.ts';
import type { Finding, Live, Platform, Screen, Trace, Vm } from '../platform/platform.ts';
import { Traces } from '../platform/traces.ts';
import { audit } from './audit/audit.ts';
import { fileDisks } from '../image/file-disks.ts';
import { precheck } from './checks.ts';
import { checkHardening } from './hardening.ts';
import { vmOfSpace, type Node } from './node.ts';
import { look, observe, type Seen } from './observe.ts';
import { catalogue } from './catalogue.ts';
import { checkNetwork, networkSteps } from './networks.ts';
import { SCREEN_SOCKET } from './devices.ts';
import { createSteps, socketsOf, startSteps } from './plan.ts';
import { growSteps, openVmDisk, promoteSteps, rollbackSteps, snapshotSteps } from './snapshots.ts';
import { ip } from './programs/ip.ts';
import { removeDirectories } from './programs/system.ts';
import { command } from '../platform/command.ts';
import { checkHost, prepareTun, probeDevices, probeFeatures, type Accel } from './probe.ts';
import { bindsOf, findTpm, sandboxFiles } from './sandbox.ts';
import { renderFilter } from './seccomp.ts';
import { qemuOf, supervisorOf } from './steps/process.ts';

export interface LinuxOptions {
  readonly paths: Paths;
  /** `auto`: KVM where the test guest boots under it. */
  readonly accel: Accel;
  /** Devices that are refused elsewhere: the node's policy. */
  readonly allowDevices: readonly string[];
}

const ROOT = { uid: 0, gid: 0 };

const liveOf = (places: Layout, seen: Seen, vm: Vm): Live => {
  const { name } = vm.spec;
  const qemu = qemuOf(vm.place.uid, seen);
  const supervised = supervisorOf(places.supervisor, name, seen) !== undefined;
  if (!qemu)
    return { phase: supervised ? 'booting' : owned(places, seen).has(name) ? 'residue' : 'absent', supervised };
  const ready = seen.focus?.vm === name ? seen.focus.ready : true;
  return {
    phase: ready ? 'running' : 'booting',
    pid: qemu.pid,
    sinceMs: qemu.startedMs,
    rssBytes: qemu.rssBytes,
    supervised,
  };
};

const screenOf = (node: Node, { spec: { name, devices }, place: { uid } }: Vm): Screen | undefined =>
  devices.fbuf && { path: `${socketsOf(node, name)}/${SCREEN_SOCKET}`, uid, reach: 'descriptor' };

/** Asked for every VM of a list, and the same for all of them. */
const ownedOf = new WeakMap<Seen, ReadonlyMap<string, readonly Trace[]>>();

/** Names in everything that carries brig's mark: interfaces, namespaces, cgroups, run directories. */
const owned = (places: Layout, seen: Seen): ReadonlyMap<string, readonly Trace[]> => {
  const known = ownedOf.get(seen);
  if (known) return known;
  const traces = new Traces();
  ownedOf.set(seen, traces.all);
  for (const { name, alias } of seen.links.values()) {
    const vm = /^brig:vm\/([a-z0-9-]+)$/.exec(alias ?? '')?.[1];
    if (vm !== undefined) traces.add(vm, `interface ${name}`, ip(['link', 'delete', 'dev', name]));
  }
  for (const space of seen.spaces)
    traces.add(vmOfSpace(space), `network namespace ${space}`, ip(['netns', 'delete', space]));
  for (const dir of seen.cgroups)
    traces.add(vmOfSpace(dir.slice(dir.lastIndexOf('/') + 1)), `cgroup ${dir}`, removeDirectories([dir]));
  for (const vm of seen.runDirs)
    traces.add(vm, `directory ${places.vm(vm).run}`, command('/usr/bin/rm', ['-r', places.vm(vm).run]));
  return traces.all;
};

/** What every sandbox has, as of the current base. */
const commonOf = ({ file, manifest }: BaseStore): Pick<Node, 'sandbox' | 'common'> => ({
  sandbox: file,
  common: manifest ? bindsOf(manifest) : [],
});

/** Package ovmf. */
const UEFI = { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', vars: '/usr/share/OVMF/OVMF_VARS_4M.fd' };

/** Real VMs where there is no FreeBSD: QEMU in bubblewrap, in a network namespace, under the same engine. */
export const linuxPlatform = (options: LinuxOptions): Platform<Seen> => {
  const places = layout(options.paths);
  const testRom = `${options.paths.stateDir}/testrom.bin`;
  const filter = `${places.baseDir}/sandbox.bpf`;
  let node: Node | undefined;
  const asks = new Set<string>();
  const trusted: Node['trusted'] = new Map();
  const bases = new BaseStore(sandboxFiles(places), places);
  const known = (): Node => {
    assert(node, 'prepare comes first');
    return { ...node, ...commonOf(bases) };
  };

  const prepare = async (host: Host): Promise<readonly Finding[]> => {
    await host.mkdir(options.paths.stateDir, { mode: 0o711, ...ROOT });
    await host.writeFile(testRom, buildTestRom(), { mode: 0o444, ...ROOT });
    await prepareTun(host);
    const features = await probeFeatures(host, options.accel, testRom);
    const findings = await checkHost(host, features);
    const usable = findings.every(({ level }) => level !== 'problem');
    const tpm = usable ? await findTpm(host) : undefined;
    const { paths, allowDevices } = options;
    const devices = await probeDevices(host);
    const fixed = { paths, layout: places, testRom, filter, allowDevices };
    const built = await bases.prepare(host);
    await host.writeFile(filter, renderFilter(), { mode: 0o600, ...ROOT });
    node = { ...fixed, ...commonOf(bases), features, findings, devices, asks, trusted, ...(tpm ? { tpm } : {}) };
    return [...findings, ...built];
  };

  return {
    name: 'linux',
    catalogue,
    prepare,
    observe: (host) => observe(host, known()),
    dataDepth: () => 'run',
    look: async (host, seen, vm) => ({ ...seen, focus: await look(host, known(), vm, seen) }),
    createSteps: (vm) => createSteps(known(), vm),
    startSteps: (vm, run, graceMs) => startSteps(known(), vm, run, graceMs),
    networkSteps: (network) => networkSteps(network),
    processes: ({ processes }) => processes.map(({ pid, args }) => ({ pid, command: args })),
    attend: (steps) => steps.filter(({ kind }) => kind === 'firewall.create').forEach(({ kind }) => asks.add(kind)),
    readUplink,
    attachSteps: (attached) => attachSteps(attached),
    checkAttached,
    jailOf: (seen, name) => (seen.spaces.has(name) ? 'there' : 'gone'),
    checkNetwork,
    snapshotSteps: (vm, snapshot) => snapshotSteps(known(), vm, snapshot),
    rollbackSteps: (vm, snapshot) => rollbackSteps(known(), vm, snapshot),
    strangersAfter: () => [],
    growSteps: (vm, disk) => growSteps(known(), vm, disk),
    promoteSteps: (vm) => promoteSteps(known(), vm),
    openVmDisk: (host, vm, disk, snapshot) => openVmDisk(host, known(), vm, disk, snapshot),
    live: (seen, vm) => liveOf(places, seen, vm),
    screen: (vm) => screenOf(known(), vm),
    basis: (seen) => [seen],
    reduced: () => undefined,
    owned: (seen) => owned(places, seen),
    precheck: async (host, seen, vm) => [...(await bases.precheck(host)), ...(await precheck(host, known(), seen, vm))],
    bases,
    imageDisks: fileDisks(places.imageDisksDir),
    arch: (host) => bases.arch(host),
    uefi: UEFI,
    audit: (host, vms) => audit(host, known(), vms),
    doctor: async (host) => [
      ...(await bases.doctor(host)),
      ...(await checkHost(host, known().features)),
      ...(await checkHardening(host)),
    ],
  };
};
