import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client } from '../../src/api/client.ts';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel } from '../../src/model/model.ts';
import { parseConfig } from '../../src/spec/config.ts';
import type { EventRow } from '../../src/store/rows.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-order-'));
const config = parseConfig(JSON.stringify({ stateDir: `${dir}/state`, runDir: `${dir}/run` }), 'test');
const model = createModel({ pace: 'real' });
const client = new Client(`${config.runDir}/brigd.sock`);
let daemon: Daemon<Seen>;

beforeAll(async () => {
  daemon = await startDaemon({
    config,
    host: model.host,
    platform: freebsdPlatform({ paths: config, dataset: undefined, fragments: readFragments(), allowDevices: [] }),
  });
});
afterAll(async () => {
  await daemon.close();
  rmSync(dir, { recursive: true });
});

const define = async (name: string, after: string[] = []): Promise<void> => {
  await client.create({ name, firmware: { builtin: 'test' }, boot: { after } });
  await client.operate('start', name);
};

test('a shutdown over the socket tells of every VM as it goes down, in order', async () => {
  await define('db');
  await define('web', ['db']);
  const ids: string[] = [];
  const events: EventRow[] = [];
  const end = await client.shutdown({ begin: (id) => ids.push(id), event: (event) => events.push(event) }, 5_000);
  expect(end).toEqual({ stopped: ['web', 'db'], failed: [] });
  expect(ids).toEqual(['shutdown']);
  const told = events.filter(({ kind }) => /^(shutdown\.|vm\.stopped)/.test(kind));
  expect(told.map(({ kind, vm }) => [kind, vm])).toEqual([
    ['shutdown.started', undefined],
    ['vm.stopped', 'web'],
    ['vm.stopped', 'db'],
    ['shutdown.done', undefined],
  ]);
  expect(told[0]?.data).toEqual({ graceMs: 5_000 });
  expect((await client.list()).map(({ state }) => state)).toEqual(['defined', 'defined']);
});

test('a shutdown of a node where nothing runs is over at once', async () => {
  expect(await client.shutdown()).toEqual({ stopped: [], failed: [] });
});

test('one that cannot be is named with its reason, and the others go down', async () => {
  await client.operate('start', 'db');
  await client.operate('start', 'web');
  model.onCommand = ({ program, args }) =>
    program === '/sbin/umount' && args.some((arg) => arg.includes('/vms/web/')) ? 'before' : undefined;
  const end = await client.shutdown({}, 2_000);
  model.onCommand = undefined;
  expect(end.stopped).toEqual(['db']);
  expect(end.failed.map(({ vm }) => vm)).toEqual(['web']);
  expect((await client.show('web')).state).toBe('stuck');
  await client.operate('resolve', 'web');
});
