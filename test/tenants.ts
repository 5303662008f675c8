import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, leftovers, run, Stage, type Ran } from './demo/stage.ts';

const REQUESTS = new URL('requests.ts', import.meta.url).pathname;

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Users that every host has, none of whom is root. */
const accountOf = (name: string): { name: string; uid: number; gid: number } => {
  const [, , uid, gid] = run('/usr/bin/getent', ['passwd', name]).stdout.split(':');
  return { name, uid: Number(uid), gid: Number(gid) };
};

interface Later {
  text(): string;
  hasEnded(): boolean;
  status(): number | null;
}

/** Where requests from elsewhere come in. */
const PORT = 20_000 + (process.pid % 10_000);

/** Somebody of this host, with nothing but his own socket. */
export class Tenant {
  readonly name: string;
  readonly uid: number;
  readonly #stage: Stage;
  readonly #gid: number;

  constructor(stage: Stage, name: string) {
    this.#stage = stage;
    ({ name: this.name, uid: this.uid, gid: this.#gid } = accountOf(name));
  }

  get socket(): string {
    return join(this.#stage.dir, 'run/users', `${this.uid}.sock`);
  }

  #run(args: readonly string[], input: string, home = '/nonexistent'): Ran {
    const { uid } = this;
    const env = { PATH: process.env.PATH, LC_ALL: 'C', HOME: home };
    const as = { uid, gid: this.#gid, cwd: '/', env };
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { input, encoding: 'utf8', ...as });
    return { status: status ?? 127, stdout, stderr };
  }

  /** Tenants run what is tested from where it is. */
  checkReach(): void {
    const { status, stderr } = this.#run(['-e', `require('fs').readFileSync(process.argv[1])`, REQUESTS], '');
    if (status !== 0)
      throw new Error(`expected a checkout and a node that every user can read, got\n${stderr}\nmove it out of /root`);
  }

  get #local(): string[] {
    return [...this.#stage.command.slice(0, -2), '--socket', this.socket];
  }

  brig(...args: string[]): Ran {
    return this.#run([...this.#local, ...args], '');
  }

  type(vm: string, text: string): string {
    return this.#run([...this.#local, 'console', vm], text).stdout;
  }

  /** As from another host: by the context that a login made. */
  remote(home: string, ...args: string[]): Ran {
    return this.#run([...this.#stage.command.slice(0, -2), ...args], '', home);
  }

  /** The same without waiting for its end. */
  later(...args: string[]): Later {
    return this.#later([...this.#local, ...args], '/nonexistent');
  }

  remoteLater(home: string, ...args: string[]): Later {
    return this.#later([...this.#stage.command.slice(0, -2), ...args], home);
  }

  #later(args: readonly string[], home: string): Later {
    const child = spawn(process.execPath, args, {
      ...{ uid: this.uid, gid: this.#gid, cwd: '/', stdio: ['pipe', 'pipe', 'ignore'] },
      env: { PATH: process.env.PATH, LC_ALL: 'C', HOME: home },
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    return { text: () => text, hasEnded: () => child.exitCode !== null, status: () => child.exitCode };
  }

  /** By the API, one after the other. */
  ask(requests: readonly Asked[], socket = this.socket): Answer[] {
    const { stdout, stderr } = this.#run([REQUESTS, socket], JSON.stringify(requests));
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as Answer[];
  }

  get(path: string): Answer {
    return this.ask([{ method: 'GET', path }])[0] ?? { status: 0, text: '' };
  }
}

const SMALL = ['--test-rom', '--memory', '64M'] as const;

/** Everything that names a VM, as the API itself lists it. */
const requestsOn = (document: string, vm: string): Asked[] => {
  const { paths } = JSON.parse(document) as { paths: Record<string, Record<string, unknown>> };
  const fill = (path: string): string =>
    `/v1${path}`.replace('{name}', vm).replace('{snapshot}', 'fresh').replace('{disk}', '0');
  return Object.entries(paths)
    .filter(([path]) => path.startsWith('/vms/{name}') || path === '/images/from/{name}')
    .flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({
        method: method.toUpperCase(),
        path: fill(path) + (path.endsWith('/plan') ? '?verb=start' : path.endsWith('/resize') ? '?bytes=1048576' : ''),
        ...(method === 'get' ? {} : { body: {} }),
      })),
    );
};

/** Two users of one host who try each other's VMs, by every way that there is. */
export const tellTenants = (config: Record<string, unknown> = {}): void => {
  let stage: Stage;
  let alice: Tenant;
  let bob: Tenant;
  let before: Record<string, string[]>;
  const ok = (...args: string[]): string => {
    const { status, stdout, stderr } = stage.brig(...args);
    expect(status, `brig ${args.join(' ')}: ${stderr}`).toBe(0);
    return stdout;
  };

  beforeAll(async () => {
    before = inventory();
    const listen = { address: '127.0.0.1', port: PORT };
    stage = new Stage('tenants', { quotas: { '*': { vms: 3, cpus: 8 } }, listen, ...config });
    chmodSync(stage.dir, 0o711);
    await stage.up();
    [alice, bob] = [new Tenant(stage, 'daemon'), new Tenant(stage, 'games')];
    alice.checkReach();
    // Of a user whom this host does not know, and who is asked for before those that it knows.
    await stage.client.create({ name: 'away-1', firmware: { builtin: 'test' }, memory: '64M', owner: 'away' });
  });
  afterAll(async () => {
    await stage.close();
    expect(leftovers(before, inventory())).toEqual([]);
  });

  describe('tenants', () => {
    test('have no way in before a rule speaks of them', () => {
      expect(existsSync(alice.socket)).toBe(false);
      const [denied] = alice.ask([{ method: 'GET', path: '/v1/vms' }], stage.socket);
      expect(denied).toEqual({ status: 0, text: 'EACCES' });
      expect(alice.brig('list').status).toBe(69);
    });

    test('get a socket of their own with their first rule, which nobody else can use', () => {
      ok('grant', alice.name, 'create', 'node');
      ok('grant', bob.name, 'create', 'node');
      const { uid, mode } = statSync(alice.socket);
      expect([uid, (mode & 0o777).toString(8)]).toEqual([alice.uid, '600']);
      expect(bob.ask([{ method: 'GET', path: '/v1/whoami' }], alice.socket)).toEqual([{ status: 0, text: 'EACCES' }]);
      expect(JSON.parse(alice.get('/v1/whoami').text)).toMatchObject({ id: `user:${alice.name}`, isRoot: false });
    });

    test('make VMs of their own, within their quota', () => {
      for (const vm of ['alice-1', 'alice-2'])
        expect(alice.brig('create', vm, ...SMALL), vm).toMatchObject({ status: 0 });
      expect(bob.brig('create', 'bob-1', ...SMALL)).toMatchObject({ status: 0 });
      expect(alice.brig('create', 'alice-3', ...SMALL, '--cpus', '7')).toMatchObject({
        status: 75,
        stderr: expect.stringContaining('expected at most 8 CPUs for daemon, got 9 CPUs') as string,
      });
      ok('create', 'roots', ...SMALL);
      expect(alice.brig('show', 'alice-1').stdout).toMatch(/owner +daemon\nquota +VMs 2 of 3, CPUs 2 of 8/);
    });

    test('see their own alone', () => {
      const names = (tenant: Tenant): string[] =>
        (JSON.parse(tenant.get('/v1/vms').text) as { name: string }[]).map(({ name }) => name);
      expect([names(alice), names(bob)]).toEqual([['alice-1', 'alice-2'], ['bob-1']]);
      expect(stage.json<unknown[]>('list')).toHaveLength(5);
    });

    test.each(['unowned file', 'another owner', "a host's address", 'no network of his'])('are refused %s', (what) => {
      const documents: Record<string, object> = {
        'unowned file': { disks: [{ image: '/etc/passwd' }] },
        'another owner': { owner: bob.name },
        "a host's address": { nics: [{ network: 'default', mode: 'direct' }] },
        'no network of his': { nics: [{ network: 'default' }] },
      };
      const body = { name: 'trick', firmware: { builtin: 'test' }, ...documents[what] };
      const [answer] = alice.ask([{ method: 'POST', path: '/v1/vms', body }]);
      expect([answer?.status, answer?.text]).toEqual([
        what === 'no network of his' ? 404 : 403,
        expect.stringMatching(/"code":"(acl\.denied|network\.unknown)"/),
      ]);
    });

    test('who may create of one template choose its parameters, and nothing else', () => {
      ok('revoke', bob.name, 'create', 'node');
      expect(bob.brig('create', 'bob-t', ...SMALL)).toMatchObject({ status: 77 });
      ok('grant', bob.name, 'create', 'template:test');
      ok('grant', bob.name, 'network', 'network:default');
      expect(bob.brig('create', 'bob-t', '--template', 'test', '--label', 'a=b'), 'create').toMatchObject({
        status: 0,
      });
      expect(bob.brig('create', 'bob-u', '--template', 'test', '--cpus', '2')).toMatchObject({ status: 77 });
      expect(bob.brig('create', 'bob-u', '--template', 'debian')).toMatchObject({ status: 77 });
      expect(JSON.parse(bob.get('/v1/templates').text)).toMatchObject([{ name: 'test' }]);
      expect(bob.brig('destroy', 'bob-t')).toMatchObject({ status: 0 });
      ok('grant', bob.name, 'create', 'node');
      ok('revoke', bob.name, 'create', 'template:test');
      ok('revoke', bob.name, 'network', 'network:default');
    });

    test("cannot tell another's VM from none, by any request that there is", () => {
      const { text } = bob.get('/v1/openapi.json');
      const [real, none] = ['alice-1', 'alicf-1'].map((vm) => bob.ask(requestsOn(text, vm)));
      expect(real?.length).toBeGreaterThan(12);
      const plain = (answers: Answer[] | undefined): string =>
        JSON.stringify(answers)
          .replaceAll('alicf-1', 'alice-1')
          .replaceAll(/"(date|etag)":"[^"]*"/g, '');
      expect(plain(real)).toBe(plain(none));
      expect(real?.filter(({ status }) => status !== 404 && status !== 403)).toEqual([]);
      expect(stage.json('show', 'alice-1')).toMatchObject({ state: 'defined' });
    });

    test('hear nothing of each other', () => {
      const events = bob.get('/v1/events').text;
      expect(events).toContain('"vm":"bob-1"');
      expect(events).not.toMatch(/alice|roots/);
      expect(bob.get('/v1/findings').text).not.toMatch(/alice|roots/);
      expect(bob.get('/v1/access/grants').text).not.toContain(alice.name);
      expect(bob.get('/v1/quotas').text).not.toContain(alice.name);
    });

    test('hand on what is theirs, and no more', () => {
      const given = alice.brig('grant', bob.name, 'console', 'alice-1');
      expect(given).toMatchObject({ status: 0, stderr: '' });
      expect(bob.brig('show', 'alice-1').status).toBe(0);
      expect(bob.brig('start', 'alice-1')).toMatchObject({ status: 77 });
      expect(bob.brig('grant', bob.name, 'operator', 'alice-1')).toMatchObject({ status: 77 });
      expect(alice.brig('grant', bob.name, 'admin', 'alice-1')).toMatchObject({ status: 77 });
      expect(alice.brig('grant', bob.name, 'view', 'node')).toMatchObject({ status: 77 });
      expect(bob.brig('acl', 'test', bob.name, 'power', 'alice-1')).toMatchObject({ status: 1 });
      expect(alice.brig('revoke', bob.name, 'console', 'alice-1')).toMatchObject({ status: 0 });
      expect(bob.brig('show', 'alice-1')).toMatchObject({ status: 69 });
    });

    test('start and stop what is theirs', () => {
      expect(alice.brig('start', 'alice-1')).toMatchObject({ status: 0 });
      expect(stage.json('show', 'alice-1')).toMatchObject({ state: 'running' });
      expect(alice.brig('stop', 'alice-1')).toMatchObject({ status: 0 });
    });

    test('with the console alone type at it, and do nothing else', async () => {
      ok('start', 'alice-1');
      ok('grant', bob.name, 'console', 'alice-1');
      await stage.until('the banner', () => bob.type('alice-1', '').includes('GUEST UP'));
      await stage.until('the echo', () => bob.type('alice-1', 'xyz').includes('xyz'));
      for (const verb of ['stop', 'kill', 'restart', 'destroy'])
        expect(bob.brig(verb, 'alice-1'), verb).toMatchObject({ status: 77 });
      expect(bob.brig('snapshot', 'create', 'alice-1')).toMatchObject({ status: 77 });
      ok('revoke', bob.name, 'console', 'alice-1');
    });

    test('with view alone read the console, and what they type goes nowhere', () => {
      ok('grant', bob.name, 'view', 'alice-1');
      expect(bob.type('alice-1', 'nothing-of-this')).not.toContain('nothing-of-this');
      expect(bob.brig('console', 'alice-1', '--history').stdout).toContain('GUEST UP');
      ok('revoke', bob.name, 'view', 'alice-1');
      expect(bob.brig('console', 'alice-1', '--history')).toMatchObject({ status: 69 });
      ok('stop', 'alice-1');
    });

    test('come from elsewhere with a key, until it is revoked', async () => {
      const home = join(stage.dir, 'home');
      mkdirSync(home, { mode: 0o700 });
      chownSync(home, bob.uid, 0);
      const fingerprint = /"fingerprint":"([0-9a-f]{64})"/.exec(stage.log)?.[1] ?? '';
      const login = ['login', `https://127.0.0.1:${PORT}`, '--name', 'node1', '--fingerprint', fingerprint];
      const asked = bob.remote(home, ...login);
      const line = /brig key add (\S+) '(ed25519 [^']+)'/.exec(asked.stderr);
      expect(asked, asked.stderr).toMatchObject({ status: 77 });
      ok('key', 'add', 'laptop', line?.[2] ?? '', '--owner', bob.name, '--expires', '1h');
      expect(JSON.parse(bob.remote(home, 'whoami', '--json').stdout)).toMatchObject({
        ...{ id: 'key:laptop', isRoot: false, owner: bob.name },
      });
      expect(JSON.parse(bob.remote(home, 'list', '--json').stdout)).toMatchObject([{ name: 'bob-1' }]);
      expect(bob.remote(home, 'show', 'alice-1')).toMatchObject({ status: 69 });
      expect(bob.remote(home, 'start', 'bob-1'), 'start').toMatchObject({ status: 0 });
      const console = bob.remoteLater(home, 'console', 'bob-1', '--view');
      await stage.until('the console from elsewhere', () => console.text().includes('GUEST UP'));
      ok('key', 'revoke', 'laptop');
      // Its standard input is open still.
      await stage.until('the end of the console', () => console.hasEnded());
      expect(console.status()).toBe(77);
      expect(bob.remote(home, 'list')).toMatchObject({ status: 77 });
      expect(ok('audit-log', '--who', 'key:laptop')).toMatch(/127\.0\.0\.1.*POST \/vms\/\{name\}\/start vm:bob-1/);
      ok('stop', 'bob-1');
    });

    test('lose what goes on when they lose the right to it', async () => {
      ok('grant', bob.name, 'viewer', 'alice-1');
      const events = bob.later('events', '-f');
      await stage.until('the stream', () => events.text().includes('alice-1'));
      ok('revoke', bob.name, 'viewer', 'alice-1');
      const heard = events.text();
      ok('start', 'alice-1');
      ok('stop', 'alice-1');
      bob.brig('create', 'bob-2', ...SMALL);
      await stage.until('what is his', () => events.text().includes('bob-2'));
      expect(events.text().slice(heard.length)).not.toContain('alice-1');
      bob.brig('destroy', 'bob-1');
      bob.brig('destroy', 'bob-2');
      ok('revoke', bob.name, 'create', 'node');
      await stage.until('the end of the stream', () => events.hasEnded());
      expect(existsSync(bob.socket)).toBe(false);
    });

    test('rules of a VM that is gone do not count for the next of its name', () => {
      ok('grant', bob.name, 'operator', 'alice-2');
      ok('destroy', 'alice-2');
      ok('create', 'alice-2', ...SMALL);
      expect(bob.brig('show', 'alice-2')).toMatchObject({ status: 69 });
      expect(ok('acl', 'list')).not.toContain('alice-2');
    });

    test('are in the audit log, which is whole', () => {
      const log = ok('audit-log', '--json');
      expect(log).toContain(`"who":"user:${bob.name}"`);
      expect(log).toMatch(/"decision":"deny"/);
      expect(ok('audit-log', 'verify')).toMatch(/./);
    });
  });
};
