import type { Host } from '../../base/host.ts';
import { property, type Audit, type Property } from '../../platform/audit.ts';
import type { Vm } from '../../platform/platform.ts';
import type { Node } from '../node.ts';
import { observe, readRules, type Seen } from '../observe.ts';
import { statNodes, parseNodes } from '../programs/system.ts';
import { accessProperties, statPaths, textPaths } from './access.ts';
import { boundProperties, settingFiles } from './bounds.ts';
import { expect, type Expected } from './compare.ts';
import { gather, type Facts } from './facts.ts';
import { networkProperties, ruleProperties } from './network.ts';
import { processProperties } from './process.ts';
import { opaqueOf, rootAudit, sourcesOf } from './root.ts';

interface Subject {
  readonly expected: Expected;
  readonly facts: Facts | undefined;
  /** Stamps of its chains. */
  readonly rules: ReadonlyMap<string, string>;
}

const look = async (host: Host, node: Node, seen: Seen, vm: Vm): Promise<Subject> => {
  const expected = expect(node, vm);
  const paths = {
    stats: statPaths(expected),
    texts: textPaths(expected),
    settings: settingFiles(expected),
    sources: sourcesOf(expected),
  };
  const { rules = new Map() } = await readRules(host, node, vm, seen);
  return { expected, rules, facts: await gather(host, vm, seen, { ...paths, opaque: opaqueOf(expected) }) };
};

/** Device nodes of all sandboxes in one process: path from the host to what stat(1) says. */
const lookAtNodes = async (host: Host, subjects: readonly Subject[]): Promise<ReadonlyMap<string, string>> => {
  const paths = subjects.flatMap(({ facts }) =>
    (facts?.entries ?? []).flatMap(({ kind, path }) =>
      kind === 'device' ? [`/proc/${facts?.pid ?? 0}/root${path}`] : [],
    ),
  );
  return paths.length === 0 ? new Map() : parseNodes((await host.run(statNodes(paths))).stdout);
};

const nodesOf = ({ pid, entries }: Facts, nodes: ReadonlyMap<string, string>): string[] | undefined =>
  entries?.flatMap(({ kind, path }) =>
    kind === 'device' ? [`${path} ${nodes.get(`/proc/${pid}/root${path}`) ?? 'unknown'}`] : [],
  );

const measure = ({ expected, facts, rules }: Subject, nodes: ReadonlyMap<string, string>): Property[] =>
  facts
    ? [
        ...processProperties(expected, facts),
        ...rootAudit(expected, facts, nodesOf(facts, nodes)),
        ...networkProperties(expected, facts),
        ...ruleProperties(expected, rules),
        ...boundProperties(expected, facts),
        ...accessProperties(expected, facts),
      ]
    : [property('process.uid', 'QEMU runs', 'qemu-system-x86_64', undefined, 'ps')];

/** What this host cannot give any VM. */
const downgraded = ({ node: { features } }: Expected): string[] => [
  ...(features.memory ? [] : ['no cgroup controller memory: only the host bounds the memory of QEMU']),
  ...(features.accel === 'tcg' && features.kvmTrouble !== undefined
    ? [`no KVM, so QEMU translates guest code: ${features.kvmTrouble}`]
    : []),
];

/** Measures VMs from outside: three processes for the host, one more for each VM, all else are files of /proc. */
export const audit = async (host: Host, node: Node, vms: readonly Vm[]): Promise<readonly Audit[]> => {
  const seen = await observe(host, node);
  const subjects: Subject[] = [];
  for (const vm of vms) subjects.push(await look(host, node, seen, vm));
  const nodes = await lookAtNodes(host, subjects);
  return subjects.map((subject) => {
    const properties = measure(subject, nodes);
    const reasons = downgraded(subject.expected);
    return {
      vm: subject.expected.vm.spec.name,
      passes: properties.every(({ verdict }) => verdict === 'holds'),
      ...(reasons.length > 0 ? { downgraded: reasons.join('; ') } : {}),
      ...(subject.expected.vm.spec.unconfined ? { unconfined: true } : {}),
      properties,
      advisories: [],
    };
  });
};
