import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel } from '../../src/model/model.ts';
import type { Node } from '../../src/model/world.ts';
import { parseConfig } from '../../src/spec/config.ts';
import { encodingsOf, leaks } from '../canary.ts';
import { Mortal } from './world.ts';

const LONG = 'canary/correct+horse=battery staple';
const PASSWORD = 'cNry=,#7';
const PHRASE = 'canary passphrase, the first of them';
const NEXT_PHRASE = 'canary passphrase, the second of them';
const ALL = [LONG, PASSWORD, PHRASE, NEXT_PHRASE];

const dir = mkdtempSync(join(tmpdir(), 'brig-canary-'));
const root = new URL('../../', import.meta.url).pathname;
const config = parseConfig(
  JSON.stringify({ stateDir: `${dir}/state`, runDir: `${dir}/run`, secrets: { master: 'passphrase' } }),
  'test',
);
const model = createModel({ pace: 'real' });
const mortal = new Mortal(model.host);
const socket = `${config.runDir}/brigd.sock`;
/** All that anybody was told, or could read: with where it was. */
const said: { readonly where: string; readonly text: string }[] = [];
const statuses: number[] = [];
let daemon: Daemon<Seen>;

const up = async (): Promise<void> => {
  const log = pino({ level: 'debug' }, { write: (text: string) => void said.push({ where: 'log', text }) });
  const platform = freebsdPlatform({ paths: config, dataset: undefined, fragments: readFragments(), allowDevices: [] });
  daemon = await startDaemon({ config, host: mortal.host, platform, log });
};

/** The CLI in a process of its own, as people run it. */
const brig = async (args: readonly string[], input = ''): Promise<number> => {
  const argv = ['--disable-warning=ExperimentalWarning', `${root}src/cli/main.ts`, '--socket', socket, ...args];
  const child = spawn(process.execPath, argv);
  const where = `brig ${args.slice(0, 2).join(' ')}`;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => said.push({ where, text }));
  child.stdin.end(input);
  const status = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 130)));
  statuses.push(status);
  return status;
};
const ok = async (args: readonly string[], input = ''): Promise<void> => {
  const status = await brig(args, input);
  expect(status, `brig ${args.join(' ')}: ${said.at(-1)?.text ?? ''}`).toBe(0);
};

/** A request as somebody makes it who does not use brig's client. */
const raw = (method: string, path: string, body: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath: socket, method, path: `/v1${path}` }, (response) => {
      response.setEncoding('utf8').on('data', (text: string) => said.push({ where: `${method} ${path}`, text }));
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    asked.on('error', reject);
    asked.end(body);
  });

/** Each name is looked up by itself: something may be mounted there. */
const walk = (path: string): { readonly path: string; readonly node: Readonly<Node> }[] => {
  const node = model.state.find(path === '' ? '/' : path);
  if (!node) return [];
  const names = node.kind === 'directory' ? [...node.entries.keys()] : [];
  return [{ path, node }, ...names.flatMap((name) => walk(`${path}/${name}`))];
};

/** Files of the host that hold any of it, and who may read them; a jail has them by another name. */
const holders = (): string[] => {
  const found = [...walk(dir), ...walk('')].flatMap(({ path, node }) => {
    const text = node.kind === 'file' ? Buffer.from(node.content).toString('latin1') : '';
    return encodingsOf(ALL).some((each) => text.includes(each))
      ? [`${path.replace('/root/vm/', '/vm/')} ${(node.mode & 0o777).toString(8)} ${node.uid}:${node.gid}`]
      : [];
  });
  return [...new Set(found)];
};

/** What is on real disks: the store with its log of writes, among others. */
const onDisk = () =>
  globSync('**/*', { cwd: dir })
    .filter((path) => statSync(join(dir, path)).isFile())
    .map((path) => ({ where: path, text: readFileSync(join(dir, path)).toString('latin1') }));

const DOCUMENT = {
  name: 'web01',
  owner: 'alice',
  memory: '64M',
  firmware: { builtin: 'test' },
  restart: { policy: 'never' },
  cloudInit: { userData: '#cloud-config\npassword: {{secret:pw}}\n', vendorData: 'secret:pw' },
  devices: { fbuf: { password: 'secret:vnc' } },
};
const define = (document: object): string => {
  writeFileSync(`${dir}/web01.json`, JSON.stringify(document));
  return `${dir}/web01.json`;
};

beforeAll(up);
afterAll(async () => {
  await daemon.close();
  rmSync(dir, { recursive: true });
});

test('secrets are set, used and removed, and all goes wrong that can', { timeout: 240_000 }, async () => {
  const { uid, conf, seed } = { uid: 20_000, conf: `${dir}/run/vms/web01/vm/bhyve.conf`, seed: 'vm/seed.iso' };
  await ok(['secret', 'unlock'], `${PHRASE}\n`);
  await ok(['secret', 'set', 'pw', '--owner', 'alice'], `${LONG}\n`);
  writeFileSync(`${tmpdir()}/brig-canary-value`, PASSWORD);
  await ok(['secret', 'set', 'vnc', '--owner', 'alice', '--file', `${tmpdir()}/brig-canary-value`]);
  rmSync(`${tmpdir()}/brig-canary-value`);
  // Wrong calls: none of them may say what came.
  expect(await brig(['secret', 'set', 'pw', LONG])).toBe(64);
  expect(await brig(['secret', 'set', 'pw', 'a', LONG, LONG])).toBe(64);
  expect(await brig(['secret', 'unlock'], `${NEXT_PHRASE}\n`)).toBe(77);
  expect(await brig(['secret', 'set', 'B!', '--owner', 'alice'], LONG)).toBe(65);
  for (const body of [
    `{"value": "${LONG}`,
    JSON.stringify({ value: [LONG] }),
    JSON.stringify({ [LONG]: 'x' }),
    JSON.stringify({ value: LONG, base64: LONG }),
    JSON.stringify({ base64: `!${LONG}` }),
    JSON.stringify(LONG),
    JSON.stringify({ value: LONG.repeat(3_000) }),
  ])
    expect(await raw('PUT', '/secrets/pw?owner=alice', body), body.slice(0, 20)).toBe(400);
  for (const path of ['/secrets/unlock', '/secrets/rotate-master'])
    expect(await raw('POST', path, JSON.stringify({ passphrase: [PHRASE] }))).toBe(400);
  const plain = { ...DOCUMENT, devices: { fbuf: { password: PASSWORD } } };
  expect(await brig(['create', '-f', define(plain)])).toBe(65);
  rmSync(`${dir}/web01.json`);
  await ok(['create', '-f', define(DOCUMENT)]);
  await ok(['plan', 'start', 'web01']);
  await ok(['start', 'web01']);
  expect(holders().sort()).toEqual(
    [`${conf} 600 ${uid}:${uid}`, `${conf.replace('vm/bhyve.conf', seed)} 400 ${uid}:${uid}`].sort(),
  );
  for (const args of [
    ['show', 'web01'],
    ['list'],
    ['audit', 'web01'],
    ['explain', 'web01'],
    ['events'],
    ['secret', 'list'],
    ['plan', 'stop', 'web01'],
    ['plan', 'destroy', 'web01'],
  ])
    for (const more of [[], ['--json']]) await ok([...args, ...more]);
  // Somebody changes and removes what holds them.
  await model.host.writeFile(conf, `${(await model.host.readFile(conf)) ?? ''}x=y\n`, { mode: 0o600, uid, gid: uid });
  expect(await brig(['audit', 'web01', '--json'])).toBe(1);
  await model.host.remove(conf.replace('vm/bhyve.conf', seed));
  await daemon.engine.repair('web01', () => undefined);
  await ok(['explain', 'web01']);
  await ok(['stop', 'web01', '--timeout', '0s']);
  expect(holders()).toEqual([]);
  // A start that fails at each of its first effects, among which is every one that writes a value.
  for (let at = 1; at <= 22; at++) {
    mortal.arm({ kind: 'fails after', at, forEver: false });
    await daemon.engine.start('web01', { cause: 'operator' }).catch((error: unknown) => {
      said.push({ where: `start ${at}`, text: JSON.stringify([String(error), error]) });
    });
    mortal.arm(undefined);
    await daemon.engine.stop('web01', { cause: 'operator', graceMs: 0 });
    expect(holders(), `at ${at}`).toEqual([]);
  }
  mortal.broken = '/usr/sbin/makefs';
  expect(await brig(['start', 'web01'])).toBe(71);
  mortal.broken = undefined;
  expect(holders()).toEqual([]);
  // What VNC does not take, and what is not there.
  await ok(['secret', 'set', 'vnc', '--owner', 'alice'], LONG);
  expect(await brig(['start', 'web01'])).toBe(75);
  expect(await brig(['secret', 'rm', 'vnc', '--owner', 'alice'])).toBe(75);
  await ok(['secret', 'rotate-master'], `${NEXT_PHRASE}\n`);
  // Another brigd, which nobody has told the passphrase.
  await daemon.close();
  said.push(...onDisk());
  await up();
  expect(await brig(['start', 'web01'])).toBe(75);
  expect(await brig(['secret', 'unlock'], `${PHRASE}\n`)).toBe(77);
  await ok(['secret', 'unlock'], `${NEXT_PHRASE}\n`);
  await ok(['secret', 'set', 'vnc', '--owner', 'alice'], PASSWORD);
  await ok(['start', 'web01']);
  await ok(['destroy', '--force', 'web01']);
  await ok(['secret', 'rm', 'vnc', '--owner', 'alice']);
  await ok(['events', '--json']);
  expect(holders()).toEqual([]);
});

test('nobody was told any of it, and no file has it', () => {
  const commands = mortal.commands.map((command) => ({ where: command.program, text: JSON.stringify(command) }));
  const processes = model.state.processes.map(({ command }) => ({ where: 'ps', text: command }));
  const all = [...said, ...commands, ...processes, ...onDisk()];
  expect(all.length).toBeGreaterThan(1_000);
  expect(said.some(({ where }) => where === 'log')).toBe(true);
  expect(all.some(({ where }) => where.endsWith('brig.db'))).toBe(true);
  expect(leaks(ALL, all)).toEqual([]);
  // What was looked for is what was set.
  expect(leaks(['secret:vnc'], all).length).toBeGreaterThan(0);
});
