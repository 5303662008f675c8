import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIMITS } from '../../src/base/limits.ts';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel } from '../../src/model/model.ts';
import { parseConfig } from '../../src/spec/config.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-rights-'));
const config = parseConfig(JSON.stringify({ stateDir: `${dir}/state`, runDir: `${dir}/run` }), 'test');
const { host } = createModel({ pace: 'real' });
let daemon: Daemon<Seen>;

/** Users of every host; a socket says who calls, whoever connects to it. */
const SOCKETS = { root: `${config.runDir}/brigd.sock`, daemon: `${config.runDir}/users/1.sock` } as const;
type Caller = keyof typeof SOCKETS;

interface Answer {
  readonly status: number;
  readonly text: string;
}

const ask = (
  who: Caller,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const asked = request(
      { socketPath: SOCKETS[who], method, path: `/v1${path}`, agent: false, headers: { host: 'brigd', ...headers } },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
      },
    );
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });

const rule = (principal: string, role: string, object: string) => ({ principal, role, object });
const document = (name: string, more: object = {}) => ({ name, firmware: { builtin: 'test' }, memory: '64M', ...more });
/** As whoever asks has to take it: without names of VMs that he chose himself. */
const plain = ({ status, text }: Answer, name: string): string => `${status} ${text.replaceAll(name, 'VM')}`;

// Only root of the host can hand out sockets.
describe.skipIf(process.getuid?.() !== 0)('a tenant', () => {
  beforeAll(async () => {
    daemon = await startDaemon({
      config,
      host,
      platform: freebsdPlatform({ paths: config, dataset: undefined, fragments: readFragments(), allowDevices: [] }),
    });
    expect(await ask('root', 'POST', '/access/grants', rule('user:daemon', 'create', 'node'))).toMatchObject({
      status: 200,
    });
    for (const name of ['theirs', 'shared']) await ask('root', 'POST', '/vms', document(name));
  });
  afterAll(async () => {
    await daemon.close();
    rmSync(dir, { recursive: true });
  });

  test.each(['revoke', 'test'])('learns by %s of no VM that is not there for him', async (what) => {
    const answers = await Promise.all(
      ['theirs', 'nobodys'].map(async (name) =>
        plain(
          what === 'revoke'
            ? await ask('daemon', 'POST', '/access/revoke', rule('user:games', 'view', `vm:${name}`))
            : await ask('daemon', 'GET', `/access/test?principal=user:games&verb=view&object=vm:${name}`),
          name,
        ),
      ),
    );
    expect(answers[0]).toBe(answers[1]);
  });

  test.each([
    [
      'a port of another host',
      { boot: { ready: { port: { address: '127.0.0.1', port: 22 } } } },
      403,
      'boot.ready.port',
    ],
    ['a VM to hear from that is not there for him', { nics: [{ allow: [{ from: { vm: 'theirs' } }] }] }, 404, 'theirs'],
    ['a VM to wait for that is not there for him', { boot: { after: ['theirs'] } }, 404, 'theirs'],
  ])('has no VM with %s', async (_, more, status, word) => {
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'network', 'network:default'));
    const answer = await ask('daemon', 'POST', '/vms', document('mine', more));
    expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(word) as string]);
  });

  test('hears nothing of the VM that had the name of his before', async () => {
    await ask('root', 'DELETE', '/vms/shared');
    expect(await ask('daemon', 'POST', '/vms', document('shared'))).toMatchObject({ status: 200 });
    const told = [await ask('daemon', 'GET', '/events'), await ask('daemon', 'GET', '/vms/shared/explain')];
    for (const { text } of told) {
      expect(text).toContain('"kind":"vm.created"');
      expect(text).not.toContain('vm.destroyed');
      expect(text.split('"kind":"vm.created"')).toHaveLength(2);
    }
  });

  test('has no socket kept open by a protocol that every object has', async () => {
    const answer = await ask('daemon', 'GET', '/vms/shared/console', undefined, {
      ...{ connection: 'upgrade', upgrade: 'constructor' },
    });
    expect(answer.status).toBe(400);
  });

  test('that asks for too much at once is refused, and fills no log with that', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask('daemon', 'GET', '/audit')));
    const refused = answers.filter(({ status }) => status === 429).length;
    expect(refused).toBeGreaterThan(5);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    const { text } = await ask('root', 'GET', '/audit-log?who=user:daemon');
    expect(text.split('"result":"api.busy"')).toHaveLength(2);
  });

  test('whose right ends while his request is on its way does nothing by it', async () => {
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'admin', 'node'));
    const late = new Promise<string>((resolve) => {
      const where = { socketPath: SOCKETS.daemon, method: 'PUT', path: '/v1/access/keys/mine' };
      const asked = request({ ...where, headers: { host: 'brigd' } }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        answer.on('end', () => resolve(text));
      });
      asked.write('{');
      // Let in by then: what he asks next is answered.
      void ask('daemon', 'GET', '/doctor')
        .then(() => ask('root', 'POST', '/access/revoke', rule('user:daemon', 'admin', 'node')))
        .then(() => asked.end(`"public":"ed25519 ${Buffer.alloc(32, 1).toString('base64')}","owner":"games"}`));
    });
    expect(await late).toContain('acl.denied');
    expect((await ask('root', 'GET', '/access/keys')).text).toBe('[]\n');
  });

  test('who comes to the socket of a console once too often is let go, and that is written down', async () => {
    await ask('root', 'POST', '/vms/shared/start');
    const { text: answer } = await ask('daemon', 'PUT', '/vms/shared/console/socket');
    const { path } = JSON.parse(answer) as { path: string };
    const all = Array.from({ length: LIMITS.consoleSocketConnections + 1 }, () => connect(path));
    await Promise.race(all.map((socket) => once(socket.resume(), 'close')));
    const { text } = await ask('root', 'GET', '/audit-log?who=user:daemon');
    const told = text.split('\n').filter((line) => line.includes('"verb":"console socket"'));
    expect(told.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { from: 'unix', object: 'vm:shared', phase: 'told', decision: 'deny', result: 'api.busy' },
    ]);
    for (const socket of all) socket.destroy();
    await ask('root', 'POST', '/vms/shared/stop?timeout=0');
  });

  test('comes in again when somebody took the directory of sockets away, and brigd lives on', async () => {
    rmSync(`${config.runDir}/users`, { recursive: true });
    expect(await ask('root', 'POST', '/vms', document('other', { owner: 'games' }))).toMatchObject({ status: 200 });
    await ask('root', 'POST', '/access/grants', rule('user:games', 'view', 'vm:other'));
    expect(await ask('daemon', 'GET', '/whoami')).toMatchObject({ status: 200 });
  });

  test("is told the quota of his own VMs, and of nobody else's", async () => {
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'view', 'vm:other'));
    expect((await ask('daemon', 'GET', '/vms/other')).text).not.toContain('"quota"');
    expect((await ask('daemon', 'GET', '/vms/shared')).text).toContain('"quota":{"owner":"daemon"');
  });

  test('who puts his VMs on all networks makes none of interfaces of the host', async () => {
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'network', 'node'));
    const network = { name: 'mine', kind: 'bridge', uplinks: ['em0'], moveAddresses: true };
    expect(await ask('daemon', 'POST', '/networks', network)).toMatchObject({ status: 403 });
    const nics = [{ network: 'default' }];
    expect(await ask('daemon', 'POST', '/vms', document('wired', { nics }))).toMatchObject({ status: 200 });
  });

  test.each(['/images', '/images/gc', '/images/from/shared'])('who uses all images changes none: %s', async (path) => {
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'image', 'node'));
    expect(await ask('daemon', 'POST', path, {})).toMatchObject({ status: 403 });
    expect(await ask('daemon', 'GET', '/images')).toMatchObject({ status: 200 });
  });

  test('who has a network learns of no VM of others that is on it, and how many there are', async () => {
    const lan = { name: 'lan', kind: 'bridge' };
    expect(await ask('root', 'POST', '/networks', lan)).toMatchObject({ status: 200 });
    const nics = [{ network: 'lan' }];
    await ask('root', 'POST', '/vms', document('secret', { owner: 'games', nics }));
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'admin', 'network:lan'));
    for (const role of ['network', 'image'])
      await ask('root', 'POST', '/access/revoke', rule('user:daemon', role, 'node'));
    const gone = await ask('daemon', 'DELETE', '/networks/lan');
    expect(gone.text).toContain('got 1 that you may not view');
    const edited = await ask('daemon', 'PUT', '/networks/lan', { ...lan, labels: { a: 'b' } });
    expect(edited.text).toContain('"labels":{"a":"b"}');
    expect(gone.text + edited.text).not.toContain('secret');
  });

  test('who may remove an image promotes no VM that he may not edit', async () => {
    const file = { size: '1M' };
    await ask('root', 'POST', '/vms', document('source', { disks: [{ file }] }));
    expect(await ask('root', 'POST', '/images/from/source', { name: 'made', version: '1' })).toMatchObject({
      status: 200,
    });
    await ask('root', 'POST', '/vms', { name: 'hidden', image: 'made', memory: '64M', owner: 'games' });
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'destroy', 'image:made'));
    const promote = () => ask('daemon', 'DELETE', '/images/made:1?promote=1');
    const refused = await promote();
    expect([refused.status, refused.text]).toEqual([403, expect.stringContaining('promote made:1: denied') as string]);
    expect(refused.text).not.toContain('hidden');
    expect((await ask('daemon', 'GET', '/audit-log')).text).not.toContain('hidden');
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'view', 'vm:hidden'));
    expect((await promote()).text).toContain('nothing gives user:daemon edit on vm:hidden');
    expect((await ask('root', 'GET', '/vms/hidden')).text).toContain('"image"');
    await ask('root', 'POST', '/access/grants', rule('user:daemon', 'edit', 'vm:hidden'));
    expect(await promote()).toMatchObject({ status: 200 });
    expect((await ask('root', 'GET', '/vms/hidden')).text).not.toContain('"image"');
  });

  test('loses with a key what that was given', async () => {
    const key = { public: `ed25519 ${Buffer.alloc(32, 2).toString('base64')}` };
    expect(await ask('root', 'PUT', '/access/keys/ci', key)).toMatchObject({ status: 200 });
    await ask('root', 'POST', '/access/grants', rule('key:ci', 'admin', 'vm:shared'));
    const test = () => ask('root', 'GET', '/access/test?principal=key:ci&verb=power&object=vm:shared');
    expect((await test()).text).toContain('"allow":true');
    expect(await ask('root', 'DELETE', '/access/keys/ci')).toMatchObject({ status: 200 });
    expect((await test()).text).toContain('"allow":false');
    expect((await ask('root', 'GET', '/access/grants')).text).not.toContain('key:ci');
  });

  test('whose cursor is too old is told that he missed something', async () => {
    for (let i = 0; i < LIMITS.eventsKept + 2_000; i++) daemon.events.add('many', 'brigd', undefined);
    const { text } = await ask('daemon', 'GET', '/events?after=1');
    const [first = '', ...rest] = text.split('\n');
    expect(first).toContain('"kind":"events.gap"');
    expect(rest.filter((line) => line.includes('"many"'))).toEqual([]);
  });
});
