import { STEP_SECONDS, type Counters, type Durations } from '../engine/counters.ts';
import type { Operation } from '../engine/operation.ts';
import type { VmState } from '../engine/views.ts';
import type { SubnetView } from '../platform/networks.ts';
import { Exposition, type Sample } from './exposition.ts';
import type { Traffic } from './traffic.ts';

/** The node and brigd itself, at one moment. Units: bytes, seconds. */
export interface NodeFigures {
  readonly cpus: number;
  /** Over one, five and fifteen minutes. */
  readonly load: readonly number[];
  readonly memory: { readonly total: number; readonly free: number };
  /** The file system of stateDir. */
  readonly stateDir: { readonly size: number; readonly free: number; readonly available: number };
  readonly store: number;
  readonly resident: number;
  readonly cpuSeconds: number;
  readonly uptimeSeconds: number;
  /** Starts of brigd on this store. */
  readonly epoch: number;
}

/** What somebody may be told. */
export interface Told {
  readonly vms: readonly VmState[];
  readonly networks: readonly { readonly name: string; readonly subnets: readonly SubnetView[] }[];
  readonly counters: Counters;
  /** Absent: he may not view the node. */
  readonly node?: NodeFigures;
  readonly operations: readonly Operation[];
  readonly auditHead: number;
  readonly traffic: Traffic;
}

/** How many there are of each. */
const tally = (keys: Iterable<string>): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
};

const by = (label: string, counts: Iterable<readonly [string, number]>): Sample[] =>
  [...counts].map(([key, value]) => ({ labels: { [label]: key }, value }));

const STATES: readonly VmState['state'][] = ['defined', 'starting', 'running', 'stopping', 'failed', 'stuck'];

const addVms = (out: Exposition, { vms, counters }: Told): void => {
  const states = tally(vms.map(({ state }) => state));
  out.family(
    ...(['brig_vms', 'gauge', 'VMs by state.'] as const),
    by(
      'state',
      STATES.map((state) => [state, states.get(state) ?? 0]),
    ),
  );
  out.family(
    ...(['brig_vm_state', 'gauge', 'The state that a VM is in.'] as const),
    vms.map(({ name, state }) => ({ labels: { vm: name, state }, value: 1 })),
  );
  out.family(
    ...(['brig_vm_resident_bytes', 'gauge', 'Memory of the process of a VM.'] as const),
    vms.flatMap(({ name, rssBytes }) => (rssBytes === undefined ? [] : [{ labels: { vm: name }, value: rssBytes }])),
  );
  out.family(
    ...(['brig_vm_restarts_total', 'counter', 'Restarts of a VM by its policy, since brigd began.'] as const),
    vms.map(({ name }) => ({ labels: { vm: name }, value: counters.restarts(name) })),
  );
};

const addNetworks = (out: Exposition, { networks }: Told): void =>
  out.family(
    ...(['brig_network_addresses', 'gauge', 'Addresses, or blocks, that a subnet can give, and has left.'] as const),
    networks.flatMap(({ name, subnets }) =>
      subnets.flatMap(({ cidr, size, free }) => [
        { labels: { network: name, cidr, what: 'size' }, value: Number(size) },
        { labels: { network: name, cidr, what: 'free' }, value: Number(free) },
      ]),
    ),
  );

const durationSamples = ({ step, op, within, sum, count }: Durations): Sample[] => [
  ...STEP_SECONDS.map((most, i) => ({
    ...{ suffix: '_bucket', labels: { step, op, le: String(most) }, value: within[i] ?? 0 },
  })),
  { suffix: '_bucket', labels: { step, op, le: '+Inf' }, value: count },
  { suffix: '_sum', labels: { step, op }, value: sum },
  { suffix: '_count', labels: { step, op }, value: count },
];

const addWork = (out: Exposition, { counters, operations }: Told): void => {
  const steps = counters.steps();
  out.family(
    ...(['brig_step_seconds', 'histogram', 'How long steps took that came through.'] as const),
    steps.filter(({ count }) => count > 0).flatMap(durationSamples),
  );
  out.family(
    ...(['brig_steps_failed_total', 'counter', 'Steps that failed.'] as const),
    steps.map(({ step, op, failed }) => ({ labels: { step, op }, value: failed })),
  );
  out.family('brig_vm_ends_total', 'counter', 'Ends of VMs by cause.', by('cause', counters.ends()));
  const running = operations.filter(({ queued }) => !queued).map(({ verb }) => verb);
  out.family('brig_operations', 'gauge', 'Operations under way.', by('verb', tally(running)));
  out.family('brig_operations_waiting', 'gauge', 'Operations that wait for their turn.', [
    { value: operations.length - running.length },
  ]);
};

const addNode = (out: Exposition, node: NodeFigures): void => {
  const { load, memory, stateDir } = node;
  const gauge = (name: string, help: string, samples: Iterable<Sample>): void =>
    out.family(name, 'gauge', help, samples);
  gauge('brig_node_cpus', 'Processors that brigd may use.', [{ value: node.cpus }]);
  gauge(
    'brig_node_load',
    'Load averages.',
    ['1', '5', '15'].map((minutes, i) => ({ labels: { minutes }, value: load[i] ?? 0 })),
  );
  gauge('brig_node_memory_bytes', 'Memory of the node.', by('what', Object.entries(memory)));
  gauge('brig_node_state_dir_bytes', 'The file system of stateDir.', by('what', Object.entries(stateDir)));
  gauge('brig_store_bytes', 'Size of brig.db.', [{ value: node.store }]);
  gauge('brig_process_resident_bytes', 'Memory of brigd.', [{ value: node.resident }]);
  out.family('brig_process_cpu_seconds_total', 'counter', 'Time of a processor that brigd took.', [
    { value: node.cpuSeconds },
  ]);
  gauge('brig_process_uptime_seconds', 'Since brigd began.', [{ value: node.uptimeSeconds }]);
  gauge('brig_process_epoch', 'Starts of brigd on its store.', [{ value: node.epoch }]);
};

const addApi = (out: Exposition, { traffic, auditHead }: Told): void => {
  out.family(
    ...(['brig_requests_total', 'counter', 'Requests by method and class of status.'] as const),
    traffic.all().map(({ method, status, count }) => ({ labels: { method, status }, value: count })),
  );
  out.family('brig_requests_throttled_total', 'counter', 'Requests that were told to come later.', [
    { value: traffic.throttled },
  ]);
  out.family('brig_audit_log_entries_total', 'counter', 'Number of the last entry of the audit log.', [
    { value: auditHead },
  ]);
};

/** Metrics for somebody: of VMs and networks that he may view, and of the node where he may view that. */
export const renderMetrics = (told: Told): string => {
  const out = new Exposition();
  addVms(out, told);
  addNetworks(out, told);
  if (!told.node) return out.render();
  addWork(out, told);
  addNode(out, told.node);
  addApi(out, told);
  return out.render();
};
