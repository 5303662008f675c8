import { strict as assert } from 'node:assert';
import type { Host } from '../base/host.ts';
import type { Paths } from '../base/placed.ts';
import { BaseStore } from '../image/base-store.ts';
import { buildTestRom } from '../image/testrom.ts';
import { layout, type Layout } from '../platform/layout.ts';
import type { Finding, Live, Platform, Screen, Trace, Vm } from '../platform/platform.ts';
import { Traces } from '../platform/traces.ts';
import { audit } from './audit/audit.ts';
import { jailRoot } from './base.ts';
import { precheck } from './checks.ts';
import type { Fragments } from './fragments.ts';
import { SOCKETS, SWTPM } from './devices.ts';
import { checkPosture } from './doctor.ts';
import { jailOf, machineOf, reducedBy, type Node } from './node.ts';
import { basisOf, dataDepth, look, observe, probePf, type Seen } from './observe.ts';
import { catalogue } from './catalogue.ts';
import { readUplink } from './uplink.ts';
import { attachSteps, checkAttached } from './attach.ts';
import { checkNetwork, networkSteps } from './networks.ts';
import { createSteps, startSteps } from './plan.ts';
import { growSteps, openVmDisk, promoteSteps, rollbackSteps, snapshotSteps, strangersAfter } from './snapshots.ts';
import { ifconfig } from './programs/ifconfig.ts';
import { removeJail } from './programs/jail.ts';
import { fileDisks } from '../image/file-disks.ts';
import { zfsDisks } from './image-disks.ts';
import { removeRules } from './programs/rctl.ts';
import { command } from '../platform/command.ts';
import { checkHost, prepareHost, probeFeatures } from './probe.ts';
import { jailNow, jailsNamed, supervisorOf } from './lookup.ts';
import { bhyveOf } from './steps/process.ts';

export interface FreebsdOptions {
  readonly paths: Paths;
  /** Parent dataset of zvols; absent: no zvol disks. */
  readonly dataset: string | undefined;
  /** Its volumes have all their space from the beginning. */
  readonly reserve?: boolean;
  readonly fragments: Fragments;
  /** Devices that documents may ask for although their record is bad. */
  readonly allowDevices: readonly string[];
}

const processesOf = ({ processes }: Seen): Seen['processes'] => processes;

const liveOf = (node: Node, seen: Seen, vm: Vm): Live => {
  const name = vm.spec.name;
  const machine = machineOf(node, vm);
  const jail = jailOf(name);
  const process = bhyveOf(jail, seen);
  const supervised = supervisorOf(name, seen) !== undefined;
  if (process) {
    const ready = process.stat.includes('C') && process.command.startsWith(`bhyve: ${machine} `);
    return {
      phase: ready ? 'running' : 'booting',
      pid: process.pid,
      sinceMs: process.startedMs,
      rssBytes: process.rssBytes,
      supervised,
    };
  }
  const traces = seen.vmmNodes.has(machine) || seen.runDirs.has(name) || jailsNamed(jail, seen).length > 0;
  return { phase: supervised ? 'booting' : traces ? 'residue' : 'absent', supervised };
};

/** In a directory that bhyve may write; connecting to it takes the uid's own rights, on a node that has screens. */
const screenOf = (places: Layout, { spec: { name, devices }, place: { uid } }: Vm): Screen | undefined =>
  devices.fbuf && { path: `${places.vm(name).root}${SOCKETS.screen}`, uid, reach: 'owner' };

/** Names in everything that carries brig's mark: jails, interfaces, run directories. */
const owned = (places: Layout, seen: Seen): ReadonlyMap<string, readonly Trace[]> => {
  const traces = new Traces();
  for (const { name } of seen.jails)
    if (name.startsWith('brig-')) traces.add(name.slice('brig-'.length), `jail ${name}`, removeJail(name));
  for (const { name, description } of seen.interfaces.values()) {
    const vm = /^brig:vm\/([a-z0-9-]+)$/.exec(description ?? '')?.[1];
    if (vm !== undefined) traces.add(vm, `interface ${name}`, ifconfig(name, 'destroy'));
  }
  for (const vm of seen.runDirs)
    traces.add(vm, `directory ${places.vm(vm).run}`, command('/bin/rm', ['-r', places.vm(vm).run]));
  for (const jail of new Set(seen.rctl?.map((rule) => /^jail:(brig-[^:]+):/.exec(rule)?.[1] ?? '')))
    if (jail !== '') traces.add(jail.slice('brig-'.length), `limits of jail ${jail}`, removeRules(jail));
  return traces.all;
};

/** swtpm may have been installed after the root was built. */
const checkRoot = ({ manifest }: BaseStore, { spec }: Vm): Finding[] =>
  !spec.devices.tpm || !manifest || manifest.files.some(({ path }) => path === SWTPM)
    ? []
    : [{ level: 'problem', what: `${SWTPM} in the jails' root`, got: 'a root without it', mend: 'brig base build' }];

/** Package edk2-bhyve. */
const UEFI = {
  code: '/usr/local/share/uefi-firmware/BHYVE_UEFI_CODE.fd',
  vars: '/usr/local/share/uefi-firmware/BHYVE_UEFI_VARS.fd',
};

/** What an observation asks about only when somebody needs it. */
const SELDOM: ReadonlySet<string> = new Set(['forward.enable', 'firewall.create']);

/** The product: every VM in a jail of its own on FreeBSD 15. */
export const freebsdPlatform = (options: FreebsdOptions): Platform<Seen> => {
  const places = layout(options.paths);
  const bases = new BaseStore(jailRoot(places), places);
  const testRom = `${options.paths.stateDir}/testrom.bin`;
  let node: Node | undefined;
  const asks = new Set<string>();
  const pf: Node['pf'] = {};
  const trusted: Node['trusted'] = new Map();
  const known = (): Node => {
    assert(node, 'prepare comes first');
    return { ...node, base: bases.file };
  };

  const prepare = async (host: Host): Promise<readonly Finding[]> => {
    const findings = await prepareHost(host);
    const features = await probeFeatures(host);
    await probePf(host, pf);
    findings.push(...(await bases.prepare(host)));
    await host.writeFile(testRom, buildTestRom(), { mode: 0o444, uid: 0, gid: 0 });
    const all = [...findings, ...(await checkHost(host, features))];
    node = { ...options, layout: places, features, asks, pf, trusted, findings: all, base: bases.file, testRom };
    return all;
  };

  return {
    name: 'freebsd',
    catalogue: catalogue,
    prepare,
    observe: (host, depth) => observe(host, known(), depth),
    dataDepth,
    look: async (host, seen, vm, withSnapshots = false) => ({
      ...seen,
      focus: await look(host, known(), vm, seen, withSnapshots),
    }),
    createSteps: (vm) => createSteps(known(), vm),
    startSteps: (vm, run, graceMs) => startSteps(known(), vm, run, graceMs),
    networkSteps: (network) => networkSteps(known(), network),
    processes: processesOf,
    attend: (steps) => steps.filter(({ kind }) => SELDOM.has(kind)).forEach(({ kind }) => asks.add(kind)),
    readUplink,
    attachSteps: (attached) => attachSteps(known(), attached),
    checkAttached: (seen, attached) => checkAttached(known(), seen, attached),
    jailOf: jailNow,
    checkNetwork: (seen, network) => checkNetwork(known(), seen, network),
    snapshotSteps: (vm, snapshot) => snapshotSteps(known(), vm, snapshot),
    rollbackSteps: (vm, snapshot) => rollbackSteps(known(), vm, snapshot),
    strangersAfter: (seen, vm, snapshot, own) => strangersAfter(known(), seen, vm, snapshot, own),
    growSteps: (vm, disk) => growSteps(known(), vm, disk),
    promoteSteps: (vm) => promoteSteps(known(), vm),
    openVmDisk: (host, vm, disk, snapshot) => openVmDisk(host, known(), vm, disk, snapshot),
    live: (seen, vm) => liveOf(known(), seen, vm),
    screen: (vm) => screenOf(places, vm),
    basis: (seen, { spec }) => basisOf(known(), seen, spec.name),
    reduced: () => reducedBy(known()),
    owned: (seen) => owned(places, seen),
    precheck: async (host, seen, vm) => [
      ...(await bases.precheck(host)),
      ...checkRoot(bases, vm),
      ...(await precheck(host, known(), seen, vm)),
    ],
    bases,
    imageDisks: options.dataset === undefined ? fileDisks(places.imageDisksDir) : zfsDisks(`${options.dataset}/images`),
    arch: (host) => bases.arch(host),
    uefi: UEFI,
    audit: (host, vms) => audit(host, known(), vms, (port, file) => bases.inspect(port, file)),
    doctor: async (host) => [
      ...(await bases.doctor(host)),
      ...(await checkHost(host, known().features)),
      ...(await checkPosture(host, known())),
    ],
  };
};
