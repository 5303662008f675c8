import type { Host } from '../../base/host.ts';
import type { Audit } from '../../platform/audit.ts';
import type { Vm } from '../../platform/platform.ts';
import { reducedBy, type Node } from '../node.ts';
import { exposures } from './advisories.ts';
import { devices, files, root, wantedFiles } from './files.ts';
import { jail, network } from './jail.ts';
import { measureHost, measureVm, type Inspect, type Measured } from './measure.ts';
import { confinement, descriptors, environment, identity, limits } from './process.ts';

/** VMs measured at once: each holds a shell in its jail and some descriptors of ours meanwhile. */
const PARALLEL = 8;

const judge = (m: Measured): Audit => {
  const properties = [
    identity,
    confinement,
    jail,
    root,
    devices,
    descriptors,
    network,
    limits,
    environment,
    files,
  ].flatMap((measure) => measure(m));
  const advisories = exposures(m);
  const reduced = reducedBy(m.node);
  return {
    vm: m.vm.spec.name,
    passes: reduced === undefined && [...properties, ...advisories].every(({ verdict }) => verdict === 'holds'),
    ...(reduced === undefined ? {} : { downgraded: reduced }),
    ...(m.vm.spec.unconfined ? { unconfined: true } : {}),
    properties,
    advisories,
  };
};

/** Measures running VMs. Errors: as observe's. */
export const audit = async (
  host: Host,
  node: Node,
  vms: readonly Vm[],
  inspect: Inspect,
): Promise<readonly Audit[]> => {
  const facts = await measureHost(host, node, vms);
  const results: Audit[] = [];
  const queue = vms.entries();
  const worker = async (): Promise<void> => {
    for (const [i, vm] of queue) {
      const paths = wantedFiles({ node, vm }).map(({ path }) => path);
      results[i] = judge(await measureVm(host, node, vm, facts, paths, inspect));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return results;
};
