import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EventLog } from '../../../src/engine/events.ts';
import { Hooks } from '../../../src/engine/hooks.ts';
import { realHost } from '../../../src/io/host.ts';
import { Store } from '../../../src/store/store.ts';

let dir: string;
let store: Store;
let events: EventLog;
let said: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-hooks-'));
  chmodSync(dir, 0o755);
  said = join(dir, 'said');
  writeFileSync(said, '');
  chmodSync(said, 0o666);
  store = new Store(join(dir, 'brig.db'));
  events = new EventLog(store, () => Date.now());
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

const make = (user = 'nobody', timeoutSeconds = 30): Hooks =>
  new Hooks({
    host: realHost,
    events,
    config: { dir: join(dir, 'hooks'), user, timeoutSeconds },
    describe: (vm) => (vm === 'web01' ? { networks: ['lan'], owner: 'alice', nics: [] } : undefined),
  });
const put = (name: string, script: string, mode = 0o755): string => {
  const path = join(dir, 'hooks', name);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, mode);
  return path;
};
const lines = (): string[] => readFileSync(said, 'utf8').split('\n').slice(0, -1);
const log = () => events.list(0, 1000).filter(({ kind }) => kind.startsWith('hook.'));

describe('hooks', () => {
  test('run in order: of the host, of the network, of the VM, each by name, for their occasions', async () => {
    const hooks = make();
    for (const name of ['vm/web01/a', 'network/lan/b', 'host/20-z', 'host/10-y', 'vm/web02/no', 'network/dmz/no'])
      put(name, `echo "${name} $1" >> ${said}`);
    put('host/README', 'exit 1', 0o644);
    events.add('vm.running', 'operator', 'web01');
    events.add('step.done', 'operator', 'web01');
    await hooks.settled();
    const order = ['host/10-y', 'host/20-z', 'network/lan/b', 'vm/web01/a'];
    expect(lines()).toEqual(['nic-attached', 'vm-started'].flatMap((event) => order.map((each) => `${each} ${event}`)));
  });

  test('are told what happened as JSON, with a clean environment, as an unprivileged user', async () => {
    process.env.BRIG_CANARY = 'leaked';
    const hooks = make();
    put('host/a', `cat >> ${said}; env >> ${said}; id -u >> ${said}; pwd >> ${said}`);
    events.add('lease.acquired', 'operator', 'web01', { network: 'lan', address: '10.77.0.2', nic: 0 });
    await hooks.settled();
    delete process.env.BRIG_CANARY;
    const [json = '', ...rest] = lines();
    expect(JSON.parse(json)).toMatchObject({
      ...{ version: 1, event: 'lease-acquired', vm: 'web01', owner: 'alice', networks: ['lan'] },
      ...{ network: 'lan', address: '10.77.0.2', nic: 0, atMs: expect.any(Number) as number },
    });
    expect(rest.join('\n')).not.toContain('BRIG_CANARY');
    expect(rest.filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line))).toEqual([
      ...rest.filter((line) => /^(PATH|LC_ALL|TZ)=/.test(line)),
      '65534',
      '/',
    ]);
  });

  test('run as root only where the configuration says so', async () => {
    const hooks = make('root');
    put('host/a', `id -u >> ${said}`);
    events.add('network.created', 'operator', 'network/lan');
    await hooks.settled();
    expect(lines()).toEqual(['0']);
  });

  test('may refuse a start, in their own words', async () => {
    const hooks = make();
    await hooks.prepare('web01');
    const path = put('vm/web01/check', '[ "$1" != vm-prepare ] || { echo no licence >&2; exit 3; }');
    await expect(hooks.prepare('web01')).rejects.toThrow(
      `start web01: blocked: hook ${path} said no: no licence (status 3)`,
    );
    await hooks.prepare('web02');
  });

  test('that do not end are ended with all they started, and hold nobody up', async () => {
    const hooks = make('nobody', 1);
    put('host/a', `sleep 77 & sleep 77`);
    put('host/b', `echo later >> ${said}; sleep 78 >/dev/null & exit 0`);
    events.add('vm.stopped', 'operator', 'web03');
    const begun = Date.now();
    await hooks.settled();
    // Two occasions, each as long as its first hook may take.
    expect(Date.now() - begun).toBeLessThan(10_000);
    expect(log().map(({ kind, data }) => [kind, data.event, data.reason])).toEqual(
      ['nic-detached', 'vm-stopped'].flatMap((event) => [
        ['hook.failed', event, 'no end within 1 s'],
        ['hook.ran', event, undefined],
      ]),
    );
    const left = (await realHost.run({ program: '/bin/ps', args: ['-ax', '-o', 'args'], timeoutMs: 5000 })).stdout;
    expect(left).not.toContain('sleep 77');
    await realHost.run({ program: '/usr/bin/pkill', args: ['-f', 'sleep 78'], timeoutMs: 5000 });
  });

  test('keep a bounded part of what they say', async () => {
    const hooks = make();
    put('host/a', 'yes | head -c 10000000');
    events.add('vm.stopped', 'operator', 'web01');
    await hooks.settled();
    expect(log().map(({ data }) => String(data.output).length)).toEqual([4096, 4096]);
  });

  test.each([
    ['that others may write', (path: string) => chmodSync(path, 0o777)],
    ['of somebody else', (path: string) => chownSync(path, 1000, 1000)],
    ['in a directory that others may write', (path: string) => chmodSync(dirname(path), 0o777)],
    ['in a directory of somebody else', (path: string) => chownSync(dirname(dirname(path)), 1000, 1000)],
  ])('%s are refused, and told', async (_, change) => {
    const hooks = make('root');
    const path = put('host/a', `echo ran >> ${said}`);
    change(path);
    events.add('network.created', 'operator', 'network/lan');
    await hooks.settled();
    expect(lines()).toEqual([]);
    expect(log()).toMatchObject([
      { kind: 'hook.refused', data: { reason: expect.stringContaining('root') as string } },
    ]);
  });

  test('of a user that is not there, and that are no program, fail in one line', async () => {
    const hooks = make('nosuchuser');
    put('host/a', 'exit 0');
    events.add('network.created', 'operator', 'network/lan');
    await hooks.settled();
    expect(log()).toMatchObject([{ kind: 'hook.refused', data: { reason: 'no user nosuchuser in /etc/passwd' } }]);
    rmSync(join(dir, 'hooks'), { recursive: true });
    const path = put('host/a', '');
    writeFileSync(path, '#!/nonexistent/sh\n');
    const others = make();
    events.add('network.destroyed', 'operator', 'network/lan');
    await others.settled();
    expect(log().at(-1)).toMatchObject({ kind: 'hook.failed', data: { reason: 'status 127' } });
    expect(existsSync(said)).toBe(true);
  });
});
