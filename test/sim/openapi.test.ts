import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { z } from 'zod';
import { ANSWERS } from '../../src/api/schemas/index.ts';
import { encodeFrame } from '../../src/api/frames.ts';
import { Brigd, type Answered } from './api.ts';
import { readMetrics } from '../unit/api/exposition.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly items?: Schema;
  readonly allOf?: readonly [Schema, { readonly then: { readonly properties: { readonly result: Schema } } }];
}
interface Response {
  readonly $ref?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}
type Paths = Readonly<Record<string, Readonly<Record<string, { readonly responses: Record<string, Response> }>>>>;

const brigd = new Brigd();
const { client } = brigd;
let paths: Paths;
const seen = new Set<string>();

beforeAll(async () => {
  await brigd.open();
  ({ paths } = (await client.openapi()) as unknown as { paths: Paths });
  const plain = { firmware: { builtin: 'test' }, nics: [] };
  await client.createNetwork({
    name: 'lan',
    kind: 'bridge',
    subnets: [{ cidr: '10.9.0.0/24' }],
    guard: false,
    persistent: true,
  });
  await client.create({
    ...plain,
    name: 'web',
    owner: 'nobody',
    labels: { tier: 'front' },
    nics: [{ network: 'lan' }],
  });
  await client.create({ ...plain, name: 'db', disks: [{ file: { size: '4M' } }] });
  await client.operate('start', 'web');
});
afterAll(() => brigd.close());

const nameOf = ({ $ref = '' }: Schema): keyof typeof ANSWERS => {
  const name = $ref.replace('#/components/schemas/', '');
  if (!Object.hasOwn(ANSWERS, name)) throw new Error(`no schema ${$ref}`);
  return name as keyof typeof ANSWERS;
};

const parse = (schema: Schema, value: unknown): void => {
  if (schema.type === 'array') {
    for (const each of value as unknown[]) parse(schema.items ?? {}, each);
    return;
  }
  if (schema.allOf) {
    const line = ANSWERS.Line.parse(value);
    if (line.type === 'result') parse(schema.allOf[1].then.properties.result, line.result);
    return;
  }
  (ANSWERS[nameOf(schema)] as z.ZodType).parse(value);
};

const valuesOf = (type: string, text: string): unknown[] => {
  if (type === 'application/json') return [JSON.parse(text)];
  const lines = text.split('\n').filter((line) => line !== '');
  if (type === 'application/x-ndjson') return lines.map((line) => JSON.parse(line) as unknown);
  return lines.flatMap((line) => (line.startsWith('data: ') ? [JSON.parse(line.slice(6)) as unknown] : []));
};

/** What came is what the document says, key by key; answers what is in it. */
const check = (method: string, template: string, { status, headers, text }: Answered): unknown[] => {
  const operation = paths[template]?.[method.toLowerCase()];
  const response = operation?.responses[status];
  expect(response, `${method} ${template}: ${status} ${text}`).toBeDefined();
  if (!response) return [];
  if (response.$ref !== undefined) {
    const { error, ...rest } = JSON.parse(text) as { error: unknown };
    expect(rest).toEqual({});
    return [ANSWERS.Error.parse(error)];
  }
  seen.add(`${method} ${template}`);
  const type = (headers['content-type'] ?? '').split(';')[0] ?? '';
  expect(Object.keys(response.content ?? {}), `${method} ${template}`).toContain(type);
  const schema = response.content?.[type]?.schema;
  if (!schema || schema.type === 'string' || type === 'application/octet-stream') return [text];
  const values = valuesOf(type, text);
  for (const value of values) parse(schema, value);
  return values;
};

const ask = async (
  method: string,
  template: string,
  names: Readonly<Record<string, string>> = {},
  { query = '', ...rest }: { query?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<unknown[]> => {
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? ''));
  return check(method, template, await brigd.ask(method, `${path}${query}`, rest));
};
/** Bytes both ways. */
const UPGRADES = /\/(console|vnc)$/;

const hasFailed = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('error' in value || ('code' in value && 'message' in value));
const isOk = (values: readonly unknown[]): boolean => values.length > 0 && !values.some(hasFailed);

test('what is served is OpenAPI 3.1', async () => {
  const { valid, errors } = await new Validator().validate(await client.openapi());
  expect(errors).toBeUndefined();
  expect(valid).toBe(true);
});

test('every change answers what the document says', async () => {
  const change = async (...asked: Parameters<typeof ask>): Promise<void> => {
    const values = await ask(...asked);
    expect(isOk(values), `${asked[0]} ${asked[1]}: ${JSON.stringify(values).slice(0, 500)}`).toBe(true);
  };
  const { host } = brigd.model;
  const web = { name: 'web' };
  const firmware = { builtin: 'test' };
  await change('POST', '/vms', {}, { body: { name: 'new', firmware, nics: [], memory: '64M' } });
  for (const verb of ['restart', 'stop', 'start', 'kill', 'start', 'resolve'])
    await change('POST', `/vms/{name}/${verb}`, web);
  await change('POST', '/vms/{name}/snapshots', { name: 'db' }, { query: '?name=one' });
  await change('POST', '/vms/{name}/snapshots', { name: 'db' }, { query: '?name=two' });
  await change('POST', '/vms/{name}/snapshots/{snapshot}/rollback', { name: 'db', snapshot: 'two' });
  await change('DELETE', '/vms/{name}/snapshots/{snapshot}', { name: 'db', snapshot: 'two' });
  await change('POST', '/vms/{name}/disks/{disk}/resize', { name: 'db', disk: '0' }, { query: '?bytes=8388608' });
  await change('DELETE', '/vms/{name}', { name: 'new' }, { query: '?force=1' });
  const lan = { name: 'lan', kind: 'bridge', subnets: [{ cidr: '10.9.0.0/24' }], guard: false, persistent: true };
  await change('PUT', '/networks/{name}', { name: 'lan' }, { body: { ...lan, labels: { a: 'b' } } });
  await change('POST', '/networks', {}, { body: { name: 'gone', kind: 'bridge' } });
  await change('DELETE', '/networks/{name}', { name: 'gone' });
  await host.run({
    program: '/usr/sbin/jail',
    args: ['-c', 'name=other', 'path=/', 'persist', 'vnet'],
    timeoutMs: 5_000,
  });
  await change('PUT', '/networks/{name}/jails/{jail}', { name: 'lan', jail: 'other' }, { body: { gateway: false } });
  await change('POST', '/images/from/{name}', { name: 'db' }, { body: { name: 'mine', version: '1' } });
  await change('POST', '/images/from/{name}', { name: 'db' }, { body: { name: 'spare', version: '1', os: 'none' } });
  await change('POST', '/images/{ref}/verify', { ref: 'mine' });
  await change('POST', '/images/{ref}/sign', { ref: 'mine' });
  await change('POST', '/images/gc', {}, { query: '?dry=1' });
  await change('DELETE', '/images/{ref}', { ref: 'spare' });
  const grant = { principal: 'user:nobody', role: 'operator', object: 'vm:web' };
  await change('POST', '/access/grants', {}, { body: grant });
  await change('POST', '/access/revoke', {}, { body: grant });
  await change('POST', '/access/grants', {}, { body: grant });
  const key = { public: `ed25519 ${Buffer.alloc(32, 9).toString('base64')}`, owner: 'nobody' };
  await change('PUT', '/access/keys/{key}', { key: 'laptop' }, { body: key });
  await change(
    'PUT',
    '/access/keys/{key}',
    { key: 'phone' },
    { body: { ...key, public: key.public.replace('CQ', 'CA') } },
  );
  await change('DELETE', '/access/keys/{key}', { key: 'laptop' });
  await change('PUT', '/secrets/{secret}', { secret: 'one' }, { body: { value: 'a' } });
  await change('PUT', '/secrets/{secret}', { secret: 'two' }, { body: { base64: 'YQ==' } });
  await change('POST', '/secrets/rotate-master', {}, { body: {} });
  await change('POST', '/secrets/{secret}/open', { secret: 'two' });
  await change('DELETE', '/secrets/{secret}', { secret: 'two' });
  await change('PUT', '/vms/{name}/console/socket', web);
  await change('POST', '/audit-log/verify');
  await change('POST', '/operations/{id}/cancel', { id: 'nothing' });
  const access = { mode: 0o555, uid: 0, gid: 0 };
  await host.writeFile('/usr/sbin/bhyve', `${(await host.readFile('/usr/sbin/bhyve')) ?? ''} newer`, access);
  await change('POST', '/base');
  const old = (await client.bases()).find(({ current }) => !current);
  await change('POST', '/base/{digest}/verify', { digest: 'current' });
  await change('POST', '/vms/{name}/kill', web);
  await change('DELETE', '/base/{digest}', { digest: old?.digest ?? '' });
  await change('POST', '/vms/{name}/start', web);
  const line = `ed25519 ${Buffer.alloc(32, 7).toString('base64')} image\n`;
  await change('PUT', '/keys/{name}', { name: 'somebody' }, { body: line });
  await change('DELETE', '/keys/{name}', { name: 'somebody' });
}, 60_000);

test('an upload answers what the document says', async () => {
  const disk = Buffer.alloc(4096, 'x');
  const about = { name: 'sent', version: '1', firmware: 'test' };
  const offer = { about, provenance: { source: 'test', verified: 'none' } };
  const frames = async function* () {
    yield await Promise.resolve({ json: offer } as const);
    yield { data: disk } as const;
    yield { end: 'disk' } as const;
    yield { json: {} } as const;
    yield { end: 'all' } as const;
  };
  expect([...encodeFrame({ end: 'all' })].length).toBeGreaterThan(0);
  const view = await client.takeImage(frames());
  ANSWERS.ImageView.parse(view);
  seen.add('POST /images');
});

test('a VM that is stuck is told as the document says', async () => {
  brigd.model.onCommand = ({ program, args }) =>
    program === '/sbin/umount' && args.some((arg) => arg.includes('/vms/web/')) ? 'before' : undefined;
  const failed = await ask('POST', '/vms/{name}/kill', { name: 'web' });
  brigd.model.onCommand = undefined;
  expect(isOk(failed)).toBe(false);
  const [view] = (await ask('GET', '/vms/{name}', { name: 'web' })) as { state: string; left?: unknown[] }[];
  expect(view?.state).toBe('stuck');
  expect(view?.left?.length).toBeGreaterThan(0);
  await ask('GET', '/vms/{name}/explain', { name: 'web' });
  await client.operate('resolve', 'web');
  await client.operate('start', 'web');
}, 60_000);

test('everything that is read is what the document says', async () => {
  const names = { vm: 'web', name: 'web', snapshot: 'one', ref: 'mine', disk: '0', digest: 'current' };
  const queries: Record<string, string> = {
    '/vms/{name}/plan': '?verb=destroy',
    '/access/test': '?principal=user:nobody&verb=view&object=vm:web',
  };
  for (const [template, methods] of Object.entries(paths)) {
    if (!methods.get || UPGRADES.test(template)) continue;
    const name = template.startsWith('/networks') ? 'lan' : template.endsWith('/snapshots') ? 'db' : 'web';
    await ask('GET', template, { ...names, name }, { query: queries[template] ?? '' });
    expect([...seen], template).toContain(`GET ${template}`);
  }
  await ask('GET', '/vms', {}, { query: '?limit=1' });
  await ask('GET', '/vms/{name}', { name: 'db' });
  await ask('GET', '/networks/{name}', { name: 'default' });
  const stream = { headers: { accept: 'text/event-stream' }, query: '?follow=0' };
  expect((await ask('GET', '/events', {}, stream)).length).toBeGreaterThan(10);
}, 60_000);

test('findings are what the document says', async () => {
  await brigd.model.host.run({ program: '/usr/bin/rctl', args: ['-r', 'jail:brig-web'], timeoutMs: 5_000 });
  await ask('GET', '/vms/{name}/explain', { name: 'web' });
  await brigd.daemon.keeper.pass();
  await ask('GET', '/findings');
  await ask('GET', '/vms/{name}/explain', { name: 'web' });
  await ask('GET', '/events');
});

test('what fails does so as the document says', async () => {
  const wrong = async (status: number, ...[method, template, names, rest]: Parameters<typeof ask>): Promise<void> => {
    const last = (await ask(method, template, names, rest)).at(-1) as { code?: string; error?: { code?: string } };
    const error = last.error ?? last;
    expect(error.code, `${method} ${template}`).toBeDefined();
    expect(paths[template]?.[method.toLowerCase()]?.responses[status]).toBeDefined();
  };
  await wrong(404, 'GET', '/vms/{name}', { name: 'nobody' });
  await wrong(400, 'GET', '/vms', {}, { query: '?limit=0' });
  await wrong(400, 'GET', '/vms', {}, { query: '?strange=1' });
  await wrong(400, 'POST', '/vms', {}, { body: { name: 'x', strange: 1 } });
  await wrong(409, 'POST', '/networks', {}, { body: { name: 'lan', kind: 'bridge' } });
  await wrong(412, 'PUT', '/networks/{name}', { name: 'lan' }, { body: {}, headers: { 'if-match': '"old"' } });
  await wrong(400, 'GET', '/vms/{name}/console', { name: 'web' });
});

test('the last of all changes answer what the document says', async () => {
  for (const [method, template, names] of [
    ['DELETE', '/networks/{name}/jails/{jail}', { name: 'lan', jail: 'other' }],
    ['POST', '/shutdown', {}],
  ] as const)
    expect(isOk(await ask(method, template, names)), template).toBe(true);
  const rest = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  // There is nothing to unlock where no passphrase is asked for.
  expect(rest.filter((each) => !seen.has(each) && !UPGRADES.test(each))).toEqual(['POST /secrets/unlock']);
});

test('metrics of a node with VMs are what Prometheus reads', async () => {
  const samples = readMetrics(await client.metrics());
  const names = new Set(samples.map(({ name }) => name));
  for (const name of ['brig_vms', 'brig_vm_state', 'brig_step_seconds_bucket', 'brig_network_addresses'])
    expect(names).toContain(name);
  for (const name of ['brig_store_bytes', 'brig_process_epoch', 'brig_requests_total', 'brig_node_memory_bytes'])
    expect(names).toContain(name);
  const value = (name: string, labels: Record<string, string> = {}): number | undefined =>
    samples.find(
      (each) => each.name === name && Object.entries(labels).every(([key, text]) => each.labels[key] === text),
    )?.value;
  expect(value('brig_vm_state', { vm: 'web' })).toBe(1);
  expect(value('brig_network_addresses', { network: 'lan', what: 'size' })).toBe(254);
  expect(value('brig_network_addresses', { network: 'lan', what: 'free' })).toBeLessThan(254);
  expect(value('brig_process_epoch')).toBe(1);
  expect(value('brig_operations_waiting')).toBe(0);
  expect(value('brig_audit_log_entries_total')).toBeGreaterThan(50);
  expect(value('brig_steps_failed_total', { op: 'undo' })).toBeDefined();
});
