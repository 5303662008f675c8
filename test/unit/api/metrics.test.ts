import { expect, test } from 'vitest';
import { Exposition } from '../../../src/api/exposition.ts';
import { renderMetrics, type NodeFigures, type Told } from '../../../src/api/metrics.ts';
import { Traffic } from '../../../src/api/traffic.ts';
import { Counters, STEP_SECONDS } from '../../../src/engine/counters.ts';
import type { EventRow } from '../../../src/store/rows.ts';
import { readMetrics } from './exposition.ts';

const event = (kind: string, atMs: number, data: EventRow['data'] = {}, vm = 'web'): EventRow => ({
  ...{ seq: atMs, atMs, vm, kind, cause: 'crash', data },
});

const step = (counters: Counters, name: string, beganMs: number, endedMs: number, end = 'step.done'): void => {
  counters.take(event('step.started', beganMs, { op: 'apply', step: name }));
  counters.take(event(end, endedMs, { op: 'apply', step: name }));
};

const node: NodeFigures = {
  ...{ cpus: 2, load: [0.5, 0.25, 0], memory: { total: 1000, free: 10 } },
  ...{ stateDir: { size: 100, free: 50, available: 40 }, store: 4096, resident: 1, cpuSeconds: 1.5 },
  ...{ uptimeSeconds: 60, epoch: 3 },
};

const told = (more: Partial<Told> = {}): Told => ({
  ...{ vms: [], networks: [], counters: new Counters(), operations: [], auditHead: 0, traffic: new Traffic() },
  ...more,
});

const valueOf = (text: string, name: string, labels: Record<string, string> = {}): number | undefined =>
  readMetrics(text).find(
    (each) => each.name === name && Object.entries(labels).every(([key, value]) => each.labels[key] === value),
  )?.value;

test('labels are escaped by the rules of the format', () => {
  const out = new Exposition();
  const strange = 'a"b\\c\nd{},=é';
  out.family('brig_x', 'gauge', 'with \\ and\nmore', [{ labels: { vm: strange }, value: 1 }]);
  expect(out.render()).toBe(
    '# HELP brig_x with \\\\ and\\nmore\n# TYPE brig_x gauge\nbrig_x{vm="a\\"b\\\\c\\nd{},=é"} 1\n',
  );
  expect(readMetrics(out.render())).toEqual([{ name: 'brig_x', labels: { vm: strange }, value: 1 }]);
});

test('a family without samples is not there at all', () => {
  const out = new Exposition();
  out.family('brig_x', 'gauge', 'nothing', []);
  expect(out.render()).toBe('');
});

test('durations of steps are counted in every bucket that they fit', () => {
  const counters = new Counters();
  step(counters, 'jail.create', 1000, 1020);
  step(counters, 'jail.create', 2000, 2300);
  step(counters, 'jail.create', 3000, 3000 + 120_000);
  step(counters, 'jail.create', 200_000, 200_001, 'step.failed');
  const text = renderMetrics(told({ counters, node }));
  const bucket = (le: string) => valueOf(text, 'brig_step_seconds_bucket', { le, step: 'jail.create', op: 'apply' });
  expect([bucket('0.01'), bucket('0.025'), bucket('0.5'), bucket('60'), bucket('+Inf')]).toEqual([0, 1, 2, 2, 3]);
  expect(valueOf(text, 'brig_step_seconds_sum')).toBeCloseTo(120.32);
  expect(valueOf(text, 'brig_steps_failed_total', { step: 'jail.create' })).toBe(1);
});

test('steps of different VMs at the same time are told apart', () => {
  const counters = new Counters();
  const data = { op: 'apply', step: 'disk.create' };
  counters.take(event('step.started', 0, data, 'a'));
  counters.take(event('step.started', 500, data, 'b'));
  counters.take(event('step.done', 600, data, 'b'));
  counters.take(event('step.done', 2000, data, 'a'));
  expect(counters.steps()).toMatchObject([{ sum: 2.1, count: 2 }]);
});

test('kinds beyond all measure are counted as one', () => {
  const counters = new Counters();
  for (let i = 0; i < 1_000; i++) step(counters, `step.${i}`, i, i + 1);
  expect(counters.steps().length).toBeLessThanOrEqual(401);
  expect(counters.steps().find((each) => each.step === 'other')?.count).toBe(600);
});

test('what began and did not end is not kept without bound', () => {
  const counters = new Counters();
  for (let i = 0; i < 30_000; i++) counters.take(event('step.started', i, { op: 'apply', step: 'x' }, `vm${i}`));
  counters.take(event('step.done', 40_000, { op: 'apply', step: 'x' }, 'vm29999'));
  expect(counters.steps()[0]?.count).toBe(0);
});

test('restarts of a VM are its own, and go with it', () => {
  const counters = new Counters();
  counters.take(event('vm.ended', 1, { restart: true }));
  counters.take(event('vm.ended', 2, { restart: false }));
  const vms = [{ name: 'web', state: 'running' as const, rssBytes: 7 }];
  const text = renderMetrics(told({ counters, vms, node }));
  expect(valueOf(text, 'brig_vm_restarts_total', { vm: 'web' })).toBe(1);
  expect(valueOf(text, 'brig_vm_ends_total', { cause: 'crash' })).toBe(2);
  expect(valueOf(text, 'brig_vm_resident_bytes', { vm: 'web' })).toBe(7);
  expect(valueOf(text, 'brig_vm_state', { vm: 'web', state: 'running' })).toBe(1);
  expect(valueOf(text, 'brig_vms', { state: 'running' })).toBe(1);
  counters.take(event('vm.destroyed', 3));
  expect(counters.restarts('web')).toBe(0);
});

test('who may not view the node is told nothing of it', () => {
  const counters = new Counters();
  step(counters, 'jail.create', 0, 1);
  const names = new Set(readMetrics(renderMetrics(told({ counters }))).map(({ name }) => name));
  expect([...names]).toEqual(['brig_vms']);
});

test('requests are few numbers whatever is asked', () => {
  const traffic = new Traffic();
  for (const method of ['GET', 'BREW', 'X'.repeat(100), undefined]) traffic.count(method, 200);
  traffic.count('GET', 429);
  traffic.count('GET', 0);
  const text = renderMetrics(told({ traffic, node, auditHead: 12 }));
  expect(valueOf(text, 'brig_requests_total', { method: 'other', status: '2xx' })).toBe(3);
  expect(valueOf(text, 'brig_requests_total', { method: 'GET', status: 'none' })).toBe(1);
  expect(valueOf(text, 'brig_requests_throttled_total')).toBe(1);
  expect(valueOf(text, 'brig_audit_log_entries_total')).toBe(12);
});

test('a subnet of IPv6 is a number that Prometheus reads', () => {
  const subnets = [{ cidr: 'fd00::/64', size: '18446744073709551614', free: '18446744073709551613' }];
  const text = renderMetrics(told({ networks: [{ name: 'lan', subnets }] }));
  expect(valueOf(text, 'brig_network_addresses', { what: 'size', cidr: 'fd00::/64' })).toBe(2 ** 64);
});

test('bounds of buckets ascend', () => {
  expect([...STEP_SECONDS].sort((a, b) => a - b)).toEqual([...STEP_SECONDS]);
});

test.each([
  ['a_total 1\n', 'no type'],
  ['# TYPE a gauge\na 1', 'line feed'],
  ['# TYPE a gauge\na{x="\\q"} 1\n', 'label'],
  ['# TYPE a gauge\na 1\na 1\n', 'twice'],
  ['# TYPE a gauge\n# TYPE b gauge\na 1\nb 1\na{x="1"} 1\n', 'two places'],
  ['# TYPE a counter\na 1\n', '_total'],
  ['# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n', 'cumulative'],
])('the reader of these tests refuses %j', (text, why) => {
  expect(() => readMetrics(text)).toThrow(why);
});
