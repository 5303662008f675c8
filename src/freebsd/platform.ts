import { strict as assert } from 'node:assert';
import { messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import type { Paths } from '../base/placed.ts';
import { buildTestRom } from '../image/testrom.ts';
import { layout } from '../platform/layout.ts';
import type { Finding, Live, Platform, Vm } from '../platform/platform.ts';
import { audit } from './audit/audit.ts';
import { buildBase } from './base.ts';
import { precheck } from './checks.ts';
import type { Fragments } from './fragments.ts';
import { checkPosture } from './doctor.ts';
import { jailOf, machineOf, reducedBy, type Node } from './node.ts';
import { observe, type Seen } from './observe.ts';
import { catalogue, createSteps, startSteps } from './plan.ts';
import { checkHost, prepareHost, probeFeatures } from './probe.ts';
import { bhyveOf, supervisorOf } from './steps/process.ts';

export interface FreebsdOptions {
  readonly paths: Paths;
  /** Parent dataset of zvols; absent: no zvol disks. */
  readonly dataset: string | undefined;
  readonly fragments: Fragments;
  /** Devices that documents may ask for although their record is bad. */
  readonly allowDevices: readonly string[];
}

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
  const traces = seen.vmmNodes.has(machine) || seen.runDirs.has(name) || seen.jails.some((each) => each.name === jail);
  return { phase: supervised ? 'booting' : traces ? 'residue' : 'absent', supervised };
};

/** Names in everything that carries brig's mark: jails, interfaces, run directories. */
const owned = (seen: Seen): ReadonlySet<string> => {
  const jails = seen.jails.flatMap((each) => (each.name.startsWith('brig-') ? [each.name.slice('brig-'.length)] : []));
  const interfaces = [...seen.interfaces.values()].flatMap(
    (each) => /^brig:vm\/([a-z0-9-]+)$/.exec(each.description ?? '')?.[1] ?? [],
  );
  return new Set([...jails, ...interfaces, ...seen.runDirs]);
};

const checkBase = async (host: Host, base: string): Promise<Finding[]> => {
  const stat = await host.stat(base);
  return [
    stat
      ? { level: 'ok', what: "the jails' root", got: base }
      : { level: 'problem', what: "the jails' root", got: 'not built', mend: 'brig base build' },
  ];
};

/** A host that lacks bhyve can still be looked at: doctor says what is missing, and every start is refused. */
const tryBuild = async (host: Host, base: string): Promise<Finding[]> => {
  try {
    await buildBase(host, base);
    return [];
  } catch (error) {
    return [{ level: 'warning', what: "the jails' root", got: messageOf(error), mend: 'brig base build' }];
  }
};

/** The product: every VM in a jail of its own on FreeBSD 15. */
export const freebsdPlatform = (options: FreebsdOptions): Platform<Seen> => {
  const places = layout(options.paths);
  const base = `${places.baseDir}/base.tar.zst`;
  const testRom = `${options.paths.stateDir}/testrom.bin`;
  let node: Node | undefined;
  const known = (): Node => {
    assert(node, 'prepare comes first');
    return node;
  };

  const prepare = async (host: Host): Promise<readonly Finding[]> => {
    const findings = await prepareHost(host);
    const features = await probeFeatures(host);
    const root = { mode: 0o700, uid: 0, gid: 0 };
    await host.mkdir(places.baseDir, root);
    await host.writeFile(testRom, buildTestRom(), { mode: 0o444, uid: 0, gid: 0 });
    if (!(await host.stat(base))) findings.push(...(await tryBuild(host, base)));
    const all = [...findings, ...(await checkHost(host, features))];
    node = { ...options, layout: places, features, findings: all, base, testRom };
    return all;
  };

  return {
    name: 'freebsd',
    catalogue: catalogue,
    prepare,
    observe: (host, vm, depth) => observe(host, known(), vm, depth),
    createSteps: (vm) => createSteps(known(), vm),
    startSteps: (vm, run, graceMs) => startSteps(known(), vm, run, graceMs),
    live: (seen, vm) => liveOf(known(), seen, vm),
    reduced: () => reducedBy(known()),
    owned,
    precheck: (host, seen, vm) => precheck(host, known(), seen, vm),
    buildBase: (host) => buildBase(host, base),
    audit: (host, vms) => audit(host, known(), vms),
    doctor: async (host) => [
      ...(await checkBase(host, base)),
      ...(await checkHost(host, known().features)),
      ...(await checkPosture(host, known())),
    ],
  };
};
