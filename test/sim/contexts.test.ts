import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { chosen } from '../../src/cli/connection.ts';
import { connectTo, takeGlobals } from '../../src/cli/globals.ts';
import { parseContext, parseContexts } from '../../src/spec/contexts.ts';
import { Node } from '../unit/daemon/remote.ts';

const CLI = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const home = mkdtempSync(join(tmpdir(), 'brig-home-'));
const contextsFile = join(home, 'brig/contexts.yaml');
const keyFile = (name: string): string => join(home, 'brig/keys', `${name}.key`);
let node: Node;
let other: Node;

beforeAll(async () => {
  [node, other] = await Promise.all([new Node().open(), new Node().open()]);
});
afterAll(() => {
  node.close();
  other.close();
  rmSync(home, { recursive: true });
});

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** brig as a person runs it, with nobody at a terminal. */
const brig = (...args: string[]): Promise<Ran> =>
  new Promise((resolve) => {
    const env = { PATH: process.env.PATH, XDG_CONFIG_HOME: home, USER: 'alice' };
    const flags = ['--disable-warning=ExperimentalWarning', CLI, ...args];
    const child = spawn(process.execPath, flags, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk.toString()));
    child.on('close', (status) => resolve({ status, stdout: out.join(''), stderr: err.join('') }));
  });

/** The same of somebody who goes on typing: what he typed comes back. */
const typing = (...args: string[]) => {
  const env = { PATH: process.env.PATH, XDG_CONFIG_HOME: home };
  const flags = ['--disable-warning=ExperimentalWarning', CLI, ...args];
  const child = spawn(process.execPath, flags, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  let heard = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (heard += text));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<Ran>((resolve) =>
    child.on('close', (status) => resolve({ status, stdout: heard, stderr: said })),
  );
  return { type: (text: string) => child.stdin.write(text), heard: () => heard, ended };
};

/** What the administrator is told to type. */
const lineOf = ({ stderr }: Ran): [string, string] => {
  const match = /brig key add (\S+) '(ed25519 \S+)'/.exec(stderr);
  return [match?.[1] ?? '', match?.[2] ?? ''];
};

describe('brig login', () => {
  test('trusts no certificate without a person or --fingerprint', async () => {
    const ran = await brig('login', node.url, '--name', 'one');
    expect(ran.status).toBe(77);
    expect(ran.stderr).toContain(`certificate of ${node.url}: sha256 ${node.certificate.fingerprint}`);
    expect(ran.stderr).toContain('expected --fingerprint');
    const wrong = await brig('login', node.url, '--name', 'one', '--fingerprint', 'b'.repeat(64));
    expect([wrong.status, wrong.stdout]).toEqual([77, '']);
    expect(wrong.stderr).toContain(`got ${node.certificate.fingerprint}`);
    expect(existsSync(contextsFile)).toBe(false);
  });

  test('makes a private key and a context, and says in one line what the administrator types', async () => {
    const colons = node.certificate.fingerprint.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:');
    const ran = await brig('login', node.url, '--name', 'one', '--fingerprint', colons);
    expect(ran.status).toBe(77);
    expect(ran.stderr.trim().split('\n')).toHaveLength(1);
    expect(ran.stderr).toContain('[--owner USER] [--expires 90d]');
    const [name, line] = lineOf(ran);
    expect(name).toMatch(/^alice-[0-9a-f]{4}$/);
    const secret = readFileSync(keyFile('one'), 'utf8').split(' ')[1]?.trim() ?? 'none';
    expect(ran.stderr + readFileSync(contextsFile, 'utf8')).not.toContain(secret);
    expect([keyFile('one'), contextsFile, join(home, 'brig/keys')].map((path) => statSync(path).mode & 0o777)).toEqual([
      ...[0o600, 0o600, 0o700],
    ]);
    node.keys.add(name, { public: line, owner: 'alice' }, 'root');
    const again = await brig('login', node.url, '--name', 'one', '--fingerprint', colons);
    expect(again).toEqual({
      ...{ status: 0, stderr: '' },
      stdout: `one: key:${name} on ${node.url}; brig context use local goes back\n`,
    });
    expect(readFileSync(keyFile('one'), 'utf8')).toContain(secret);
  });

  test('takes a key of one’s own, and who signed the certificate', async () => {
    const ca = join(home, 'ca.pem');
    writeFileSync(ca, other.certificate.cert);
    const ran = await brig('login', other.url, '--name', 'two', '--ca', ca, '--key', keyFile('one'));
    other.keys.add('work', { public: lineOf(ran)[1] }, 'root');
    const again = await brig('login', other.url, '--name', 'two', '--ca', ca, '--key', keyFile('one'), '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ context: 'two', id: 'key:work' });
  });

  test.each(['http://n', 'n', 'https://n/v1', 'https://n?x=1', 'https://u:p@n', 'https://', ''])(
    'takes no %j',
    (url) => {
      const context = { url, key: '/k', fingerprint: 'a'.repeat(64) };
      expect(() => parseContext(context, 'n')).toThrow('url: expected https://HOST:PORT');
      expect(() => parseContext({ ...context, url: 'https://n' }, 'local')).toThrow('another name than local');
    },
  );

  test('shows nothing of a URL that has a password', async () => {
    const ran = await brig('login', 'https://alice:canary@node.example');
    expect(ran.status).toBe(64);
    expect(ran.stderr).not.toContain('canary');
  });

  test('that reaches nobody says so', async () => {
    const ran = await brig('login', 'https://127.0.0.1:1', '--name', 'none', '--fingerprint', 'a'.repeat(64));
    expect([ran.status, ran.stderr]).toEqual([
      69,
      'brig: connect https://127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1\n',
    ]);
  });
});

describe('contexts', () => {
  test('are listed, shown, chosen and removed; a flag chooses one for once', async () => {
    expect((await brig('context', 'use', 'one')).status).toBe(0);
    expect((await brig('context', 'list')).stdout.split('\n').map((line) => line.trimEnd())).toEqual([
      'CURRENT  NAME   URL',
      '         local  this node',
      `*        one    ${node.url}`,
      `         two    ${other.url}`,
      '',
    ]);
    expect((await brig('whoami')).stdout).toMatch(/^key:alice-[0-9a-f]{4} of alice, from 127\.0\.0\.1\n$/);
    expect((await brig('--context', 'two', 'whoami')).stdout).toBe('key:work, from 127.0.0.1\n');
    expect((await brig('context', 'show', '--json')).stdout).toContain(node.certificate.fingerprint);
    expect((await brig('context', 'use', 'three')).stderr).toContain('find context three: no such context');
    expect((await brig('context', 'rm', 'one')).status).toBe(0);
    expect(JSON.parse((await brig('context', 'list', '--json')).stdout)).toMatchObject([
      { name: 'local', current: true },
      { name: 'two', current: false },
    ]);
    expect((await brig('--context', 'one', 'whoami')).status).toBe(64);
    expect(existsSync(keyFile('one'))).toBe(true);
  });

  test('whose key others may read are refused, and so is a file of contexts that others may change', async () => {
    chmodSync(keyFile('one'), 0o640);
    const ran = await brig('--context', 'two', 'whoami');
    chmodSync(keyFile('one'), 0o600);
    expect([ran.status, ran.stderr]).toEqual([
      77,
      `brig: read ${keyFile('one')}: others may read it (uid ${process.getuid?.()}, mode 640) (chmod 600 ${keyFile('one')})\n`,
    ]);
    chmodSync(contextsFile, 0o666);
    expect((await brig('--context', 'two', 'whoami')).stderr).toContain('others may change it');
    chmodSync(contextsFile, 0o600);
    expect((await brig('--context', 'two', 'whoami')).status).toBe(0);
  });

  test('that are broken are told with all problems', () => {
    const broken = 'current: local\ncontexts: {a: {url: "http://x", key: k}, B: {url: "https://x", key: /k, ca: /c}}';
    expect(() => parseContexts(broken, 'c')).toThrow('check c: 5 problems');
    expect(parseContexts('', 'c')).toEqual({ contexts: {} });
  });

  test('that are broken do not keep a person from a socket', async () => {
    const old = readFileSync(contextsFile, 'utf8');
    writeFileSync(contextsFile, 'contexts: []', { mode: 0o600 });
    expect((await brig('whoami')).status).toBe(78);
    const ran = await brig('--socket', '/nowhere/brigd.sock', 'whoami');
    expect(ran.stderr).toContain('connect /nowhere/brigd.sock: brigd is not running');
    expect((await brig('--context', 'local', 'template', 'list')).stdout).toMatch(/^test /m);
    writeFileSync(contextsFile, old);
  });

  test('that are broken hinder nothing that asks no node', async () => {
    const old = readFileSync(contextsFile, 'utf8');
    writeFileSync(contextsFile, 'contexts: []', { mode: 0o600 });
    const empty = join(home, 'audit.log.1');
    writeFileSync(empty, '');
    const ran = [
      await brig('help', 'start'),
      await brig('completion', 'bash'),
      await brig('template', 'render', 'test'),
      await brig('template', 'show', new URL('../../templates/test.yaml', import.meta.url).pathname),
      await brig('audit-log', 'verify', empty),
    ];
    writeFileSync(contextsFile, old);
    expect(ran.map(({ status, stderr }) => [status, stderr])).toEqual(ran.map(() => [0, '']));
  });
});

describe('where a command goes', () => {
  test('is a flag’s word before the environment’s, and a socket before a context', () => {
    const env = { BRIG_SOCKET: '/s', BRIG_CONTEXT: 'c' };
    expect(chosen({ context: 'x' }, env)).toEqual({ context: 'x' });
    expect(chosen({ socket: '/x' }, env)).toEqual({ socket: '/x' });
    expect(chosen({}, env)).toEqual({ socket: '/s' });
    expect(chosen({}, { BRIG_CONTEXT: 'c' })).toEqual({ context: 'c' });
    expect(chosen({}, {})).toEqual({});
  });

  test('is said before the command, once', async () => {
    const args = ['--context', 'x', 'list', '--context', 'y'];
    expect(takeGlobals(args)).toEqual({ given: { context: 'x' }, rest: ['list', '--context', 'y'] });
    await expect(connectTo({ socket: '/x', context: 'y' })).rejects.toThrow('got both');
    expect(() => takeGlobals(['--socket'])).toThrow('expected a path after --socket');
  });
});

test('a template of a node elsewhere is filled in there', async () => {
  await brig('--context', 'two', 'create', 'web', '--template', 'test');
  expect(other.told.at(-1)).toMatchObject({
    ...{ method: 'POST', url: '/v1/vms?template=test' },
    body: '{"name":"web","set":{}}',
  });
});

describe('brig key', () => {
  test('adds, lists and revokes by the API, and shows no control characters', async () => {
    mkdirSync(join(home, 'brig/keys'), { recursive: true });
    const ran = await brig('--context', 'two', 'key', 'add', 'tablet', 'ed25519 AAAA', '--expires', '90d');
    expect(ran.status).toBe(0);
    const { method, url, body } = other.told.at(-1) ?? { method: '', url: '', body: '{}' };
    expect([method, url]).toEqual(['PUT', '/v1/access/keys/tablet']);
    const sent = JSON.parse(body) as { public: string; expiresMs: number };
    expect(sent.public).toBe('ed25519 AAAA');
    expect(Math.abs(sent.expiresMs - Date.now() - 90 * 86_400_000)).toBeLessThan(60_000);
    await brig('--context', 'two', 'key', 'revoke', 'tablet');
    expect(other.told.at(-1)).toMatchObject({ method: 'DELETE', url: '/v1/access/keys/tablet' });
    expect((await brig('--context', 'two', 'key', 'add', 'tablet')).status).toBe(64);
    expect((await brig('--context', 'two', 'key', 'add', 'k', 'l', '--expires', 'soon')).status).toBe(64);
  });
});

test('a console ends when its key is revoked, though its input goes on', async () => {
  const { type, heard, ended } = typing('--context', 'two', 'console', 'web');
  type('hello');
  await vi.waitFor(() => expect(heard()).toContain('hello'), 10_000);
  other.keys.revoke('work');
  const { status, stderr } = await ended;
  expect([status, stderr.trim().split('\n')]).toEqual([77, [expect.stringMatching(/^brig: .*key/)]]);
});
