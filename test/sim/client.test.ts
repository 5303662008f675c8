import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Asked } from '../../src/engine/access.ts';
import type { VmView } from '../../src/engine/view.ts';
import { readMetrics } from '../unit/api/exposition.ts';
import { Brigd } from './api.ts';

const brigd = new Brigd();
const { client } = brigd;
const NAMES = ['a', 'b', 'c', 'd', 'e'];
const lan = { name: 'lan', kind: 'bridge', subnets: [{ cidr: '10.9.0.0/24' }], guard: false };

beforeAll(async () => {
  await brigd.open();
  await client.createNetwork(lan);
  for (const name of NAMES) await client.create({ name, firmware: { builtin: 'test' }, nics: [] });
});
afterAll(() => brigd.close());

/** Requests that were answered, as the audit log has them. */
const routesAsked = async (): Promise<Set<string>> => {
  const verbs = new Set<string>();
  for await (const { verb } of client.auditLog({})) verbs.add(verb);
  return verbs;
};

describe('the client', () => {
  test('has a method for every route of the document', async () => {
    const { paths } = (await client.openapi()) as { paths: Record<string, object> };
    const nothing = async function* () {
      yield await Promise.resolve({ end: 'nothing' } as const);
    };
    const all = async (stream: AsyncIterable<unknown>): Promise<void> => {
      const seen: unknown[] = [];
      for await (const each of stream) seen.push(each);
    };
    const no = 'no-such-thing';
    const rule: Asked = { principal: 'user:nobody', role: 'viewer', object: 'node' };
    // What is not there is refused, and all the same asked for.
    const asked: (() => Promise<unknown>)[] = [
      () => client.list(),
      () => client.show(no),
      () => client.explain(no),
      () => client.findings(),
      () => client.plan('start', no),
      () => client.audit(),
      () => client.audit(no),
      () => client.doctor(),
      () => client.buildBase('/no/key'),
      () => client.bases(),
      () => client.showBase(no),
      () => client.verifyBase(no),
      () => client.removeBase(no),
      () => client.images(),
      () => client.showImage(no),
      () => client.verifyImage(no),
      () => client.signImage(no),
      () => client.removeImage(no),
      () => client.collectImages(true),
      () => client.keys(),
      () => client.trustKey(no, 'x'),
      () => client.revokeKey(no),
      () => client.takeImage(nothing()),
      () => all(client.readDisk(no, 0)),
      () => client.create({}),
      ...(['start', 'stop', 'kill', 'restart', 'resolve'] as const).map((verb) => () => client.operate(verb, no)),
      () => client.destroy(no, false),
      () => client.snapshots(no),
      () => client.snapshot(no),
      () => client.rollback(no, no, false),
      () => client.removeSnapshot(no, no),
      () => client.resize(no, 0, 1),
      () => client.imageFrom(no, undefined, {}),
      () => client.networks(),
      () => client.network(no),
      () => client.leases(no),
      () => client.createNetwork({}),
      () => client.editNetwork(no, {}),
      () => client.destroyNetwork(no),
      () => client.attachJail(no, no, {}),
      () => client.detachJail(no, no),
      () => client.whoami(),
      () => client.access.grants(),
      () => client.access.grant(rule),
      () => client.access.revoke(rule),
      () => client.access.test('user:nobody', 'view', 'node'),
      () => client.access.quotas(),
      () => client.templates(),
      () => client.shutdown({}, 1),
      () => client.cancel(no),
      () => all(client.events({})),
      () => all(client.auditLog({})),
      () => client.verifyAuditLog(),
      () => client.console(no),
      () => client.metrics(),
      () => client.consoleHistory(no),
      () => client.consoleSocket(no),
      () => client.vnc(no),
      () => client.access.keys(),
      () => client.access.addKey(no, { public: no }),
      () => client.access.revokeKey(no),
      () => client.secrets.list(),
      () => client.secrets.set('x', Buffer.from('y')),
      () => client.secrets.open('x'),
      () => client.secrets.remove('x'),
      () => client.secrets.rotate(),
      () => client.secrets.lock(),
      () => client.secrets.unlock(),
    ];
    for (const ask of asked) await ask().catch(() => undefined);
    const known = await routesAsked();
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.length).toBeGreaterThan(50);
    expect(routes.filter((route) => !known.has(route))).toEqual([]);
  }, 60_000);

  test('lists all VMs in pages, each once and in order', async () => {
    const pages: VmView[][] = [];
    for await (const page of client.listPages(2)) pages.push(page);
    expect(pages.map((page) => page.map(({ name }) => name))).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    const whole: number[] = [];
    for await (const page of client.listPages(5)) whole.push(page.length);
    expect(whole[0]).toBe(5);
    expect(whole.slice(1).every((length) => length === 0)).toBe(true);
    await expect(client.listPages(0).next()).rejects.toMatchObject({ code: 'api.invalid' });
  });

  test('does not write over what somebody else wrote meanwhile', async () => {
    const mine = await client.networkTag('lan');
    expect(mine).toMatch(/^"[0-9a-f]+"$/);
    expect((await client.editNetwork('lan', { ...lan, labels: { by: 'other' } }, {}, mine)).labels).toEqual({
      by: 'other',
    });
    await expect(client.editNetwork('lan', { ...lan, labels: { by: 'me' } }, {}, mine)).rejects.toMatchObject({
      code: 'api.changed',
    });
    expect((await client.network('lan')).labels).toEqual({ by: 'other' });
    const fresh = await client.networkTag('lan');
    await client.editNetwork('lan', { ...lan, labels: { by: 'me' } }, {}, fresh);
    expect((await client.network('lan')).labels).toEqual({ by: 'me' });
    await expect(client.networkTag('none')).rejects.toMatchObject({ code: 'network.unknown' });
  });
});

describe('a request that comes again under its key', () => {
  const key = { 'idempotency-key': 'one-1' };

  test('is done once, and answered the same', async () => {
    const first = await brigd.ask('POST', '/vms/b/snapshots?name=x', { headers: key });
    const second = await brigd.ask('POST', '/vms/b/snapshots?name=x', { headers: key });
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.headers['idempotent-replayed']).toBe('true');
    expect(second.text.trim()).toBe(first.text.trim().split('\n').at(-1));
    expect((await client.snapshots('b')).length).toBe(1);
  });

  test('and is another one is refused', async () => {
    const { status, text } = await brigd.ask('POST', '/vms/c/snapshots?name=x', { headers: key });
    expect([status, text.includes('api.invalid')]).toEqual([400, true]);
  });
});

describe('server-sent events', () => {
  const stream = (headers: Record<string, string>, until: (text: string) => boolean, query = '') =>
    brigd.ask('GET', `/events${query}`, { headers: { accept: 'text/event-stream', ...headers }, until });
  const idsOf = (text: string): number[] => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));

  test('have a cursor, a kind and one line of data, and go on', async () => {
    // It happens while somebody listens who has read all there was.
    const heard = stream({}, (each) => /event: access\.revoked\ndata: .*\n\n/.test(each));
    const rule = { principal: 'user:nobody', role: 'viewer', object: 'vm:a' };
    await client.access.grant(rule);
    await client.access.revoke(rule);
    const { text, headers } = await heard;
    expect(headers['content-type']).toBe('text/event-stream');
    const blocks = text.split('\n\n').filter((block) => block !== '');
    for (const block of blocks.slice(0, -1)) {
      const [id, kind, data, ...rest] = block.split('\n');
      const event = JSON.parse(data?.replace(/^data: /, '') ?? '') as { seq: number; kind: string };
      expect([id, kind, rest]).toEqual([`id: ${event.seq}`, `event: ${event.kind}`, []]);
    }
  });

  test('come after the last that a reader had, none twice and none lost', async () => {
    const all = idsOf((await stream({}, () => false, '?follow=0')).text);
    const from = all[Math.floor(all.length / 2)] ?? 0;
    const { text } = await stream({ 'last-event-id': String(from) }, () => false, '?follow=0');
    expect(idsOf(text)).toEqual(all.filter((id) => id > from));
  });

  test('which the log could not keep are no cursor', async () => {
    const heard = stream({}, (each) => each.includes('event: test.lost\n'), '?after=1');
    let isWritten = false;
    const full = {
      toJSON: () => {
        if (isWritten) return {};
        isWritten = true;
        throw new Error('database or disk is full');
      },
    };
    await brigd.ask('GET', '/whoami');
    brigd.daemon.events.add('test.lost', 'brigd', undefined, full);
    const { text } = await heard;
    const block = text.split('\n\n').find((each) => each.includes('test.lost')) ?? '';
    expect(block.split('\n')[0]).toBe('event: test.lost');
    expect(block).toContain('"seq":0');
  });

  test('of a cursor that is none begin at the beginning', async () => {
    const all = idsOf((await stream({}, () => false, '?follow=0')).text);
    const { text } = await stream({ 'last-event-id': 'x\u00e9' }, () => false, '?follow=0');
    expect(idsOf(text)[0]).toBe(all[0]);
  });
});

test('a long log comes whole, however slowly it is read', async () => {
  const kind = 'test.long';
  for (let i = 0; i < 900; i++) brigd.daemon.events.add(kind, 'brigd', undefined, { text: 'x'.repeat(4_000), i });
  const seen: unknown[] = [];
  for await (const event of client.events({})) {
    if (event.kind !== kind) continue;
    if (seen.length === 0) await sleep(200);
    seen.push(event.data.i);
  }
  expect(seen).toEqual(Array.from({ length: 900 }, (_, i) => i));
});

test.runIf(process.getuid?.() === 0)(
  'metrics of somebody who may view one VM tell of no other, and not of the node',
  async () => {
    await client.access.grant({ principal: 'user:nobody', role: 'viewer', object: 'vm:b' });
    const users = `${brigd.config.runDir}/users`;
    const { status, text } = await brigd.ask('GET', '/metrics', { socket: `${users}/${readdirSync(users)[0] ?? ''}` });
    expect(status).toBe(200);
    const samples = readMetrics(text);
    expect(new Set(samples.flatMap(({ labels: { vm } }) => vm ?? []))).toEqual(new Set(['b']));
    expect(samples.filter(({ name }) => name === 'brig_vms').reduce((all, { value }) => all + value, 0)).toBe(1);
    expect([...new Set(samples.map(({ name }) => name))].sort()).toEqual([
      'brig_vm_restarts_total',
      'brig_vm_state',
      'brig_vms',
    ]);
  },
);
