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

const dir = mkdtempSync(join(tmpdir(), 'brig-api-'));
const config = parseConfig(JSON.stringify({ stateDir: `${dir}/state`, runDir: `${dir}/run` }), 'test');
const { host } = createModel({ pace: 'real' });
const client = new Client(`${config.runDir}/brigd.sock`);
let daemon: Daemon<Seen>;

beforeAll(async () => {
  daemon = await startDaemon({
    config,
    host,
    platform: freebsdPlatform({ paths: config, dataset: undefined, fragments: readFragments(), allowDevices: [] }),
  });
});
afterAll(async () => {
  await daemon.close();
  rmSync(dir, { recursive: true });
});

test('a base is listed, shown, verified, made and removed over the socket, and the log says who did what', async () => {
  const [first, ...rest] = await client.bases();
  expect(rest).toEqual([]);
  expect(first).toMatchObject({ current: true, verified: true, files: 25, usedBy: [] });
  const digest = first?.digest ?? '';
  expect((await client.showBase('current')).manifest.digest).toBe(digest);
  expect(await client.verifyBase(digest.slice(0, 8))).toEqual({ digest, ok: true, files: 25, problems: [] });
  await host.writeFile('/usr/sbin/bhyve', `${(await host.readFile('/usr/sbin/bhyve')) ?? ''} newer`, {
    mode: 0o555,
    uid: 0,
    gid: 0,
  });
  const built = await client.buildBase();
  expect(built).toMatchObject({ current: true, verified: true });
  expect(built.digest).not.toBe(digest);
  expect(await client.removeBase(digest.slice(0, 12))).toEqual({ removed: digest });
  expect((await client.bases()).map((each) => each.digest)).toEqual([built.digest]);
  const events = daemon.events.list(0, 100).filter(({ kind }) => kind.startsWith('base.'));
  expect(events.map(({ kind, cause, data }) => [kind, cause, data.digest])).toEqual([
    ['base.built', 'operator', built.digest],
    ['base.removed', 'operator', digest],
  ]);
});

test('what brigd refuses arrives with its code', async () => {
  await expect(client.removeBase('current')).rejects.toMatchObject({ code: 'image.inUse' });
  for (const name of ['zz', '..', 'a/b', '']) await expect(client.showBase(name), name).rejects.toThrow();
  await expect(client.verifyBase('f'.repeat(64))).rejects.toMatchObject({ code: 'image.unknown' });
  await expect(client.buildBase('/no/key')).rejects.toMatchObject({ code: 'acl.invalid' });
  expect(await client.bases()).toHaveLength(1);
});
