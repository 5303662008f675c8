import { afterEach, describe, expect, test } from 'vitest';
import type { Audit } from '../../src/platform/audit.ts';
import type { Device } from '../../src/model/world.ts';
import { World } from './world.ts';

let world: World | undefined;
afterEach(() => {
  world?.close();
  world = undefined;
});

const run = async (...names: string[]): Promise<World> => {
  const fresh = await new World().prepare();
  world = fresh;
  for (const name of names) {
    await fresh.create({ name });
    await fresh.engine.start(name, { cause: 'operator' });
  }
  return fresh;
};

const broken = (audit: Audit | undefined): string[] =>
  (audit?.properties ?? [])
    .filter(({ verdict }) => verdict !== 'holds')
    .map(({ id, measured }) => `${id}: ${measured}`);

describe('an audit', () => {
  test('of two running VMs measures every property, and all hold', async () => {
    const audits = await (await run('web01', 'web02')).audit();
    expect(audits.flatMap(broken)).toEqual([]);
    expect(audits.map(({ vm, passes }) => [vm, passes])).toEqual([
      ['web01', true],
      ['web02', true],
    ]);
    expect(audits[0]?.properties.length).toBeGreaterThan(30);
    expect(audits[0]?.properties.filter(({ how }) => how === '')).toEqual([]);
  });

  test('asks the host as often for two VMs as for one, and three times more for each', async () => {
    const two = await run('web01', 'web02');
    const count = async (name?: string): Promise<number> => {
      const before = two.model.commands;
      await two.audit(name);
      return two.model.commands - before;
    };
    const [one, both] = [await count('web01'), await count()];
    expect(both - one).toBeLessThanOrEqual(3);
  });

  test('of a VM that does not run is refused', async () => {
    const idle = await run();
    await idle.create();
    await expect(idle.audit('web01')).rejects.toThrow('audit web01: expected a running VM, got defined');
    expect(await idle.audit()).toEqual([]);
  });

  test('leaves nothing behind in the jail', async () => {
    const host = await run('web01');
    await host.audit('web01');
    expect(host.model.state.find('/var/run/brig/vms/web01/root/tmp')?.kind).toBe('directory');
    expect(await host.model.host.list('/var/run/brig/vms/web01/root/tmp')).toEqual([]);
  });
});

const RUN = '/var/run/brig/vms/web01';
const processOf = (each: World) => {
  const found = each.model.state.processes.find(({ command }) => command.startsWith('bhyve: web01'));
  if (!found) throw new Error('no bhyve');
  return found as { -readonly [K in keyof typeof found]: (typeof found)[K] };
};
const jailOf = (each: World) => each.model.state.jails.find(({ name }) => name === 'brig-web01');
const setMode = (each: World, path: string, change: Partial<Device>): void => {
  Object.assign(each.model.state.find(path) ?? {}, change);
};

/** What somebody did by hand, and the properties that name it. */
const BREAKS: readonly (readonly [string, (each: World) => unknown, readonly string[]])[] = [
  [
    'an extra devfs rule, applied',
    async (each) => {
      await each.shell('/sbin/devfs', 'rule', '-s', '20000', 'add', 'path', 'mem', 'unhide');
      await each.shell('/sbin/devfs', '-m', `${RUN}/root/dev`, 'rule', 'applyset');
    },
    ['devices.nodes', 'devices.inside', 'devices.rules'],
  ],
  ['a group added', (each) => (processOf(each).groups = [20_000, 5]), ['identity.groups']],
  ['root as the saved identity', (each) => (processOf(each).uid = 0), ['identity.uid']],
  ['a group of root', (each) => (processOf(each).gid = 0), ['identity.gid', 'identity.groups']],
  ['a process out of capability mode', (each) => (processOf(each).stat = 'SJ'), ['confinement.capsicum']],
  ['a FIFO of the wrong owner', (each) => setMode(each, `${RUN}/con.in`, { uid: 20_000 }), ['files.input']],
  ['a FIFO open to all', (each) => setMode(each, `${RUN}/con.out`, { mode: 0o666 }), ['files.output']],
  ['a configuration open to all', (each) => setMode(each, `${RUN}/vm/bhyve.conf`, { mode: 0o644 }), ['files.config']],
  [
    'another configuration',
    (each) => each.model.host.writeFile(`${RUN}/vm/bhyve.conf`, 'name=x\n', { mode: 0o600, uid: 20_000, gid: 20_000 }),
    ['files.settings'],
  ],
  [
    'firmware that can be written',
    (each) => setMode(each, `${RUN}/vm/firmware.rom`, { mode: 0o666 }),
    ['files.firmware'],
  ],
  ['a run directory open to all', (each) => setMode(each, RUN, { mode: 0o755 }), ['files.run']],
  ['an rctl rule removed', (each) => each.shell('/usr/bin/rctl', '-r', 'jail:brig-web01:nthr'), ['limits.rctl']],
  [
    'limits lifted',
    (each) => (processOf(each).limits = new Map()),
    ['limits.processes', 'limits.files', 'limits.core', 'limits.file'],
  ],
  [
    'an interface in the vnet',
    (each) => each.shell('/sbin/ifconfig', '-j', 'brig-web01', 'bridge77', 'create'),
    ['network.interfaces'],
  ],
  [
    'the NIC off its bridge',
    (each) => each.shell('/sbin/ifconfig', 'bridge7000', 'deletem', 'epair7000a'),
    ['network.nic.7000'],
  ],
  ['raw sockets', (each) => jailOf(each)?.parameters.set('allow.raw_sockets', true), ['jail.allow']],
  ['jails in the jail', (each) => jailOf(each)?.parameters.set('children.max', '9'), ['jail.children']],
  ['mounts in sight', (each) => jailOf(each)?.parameters.set('enforce_statfs', '0'), ['jail.statfs']],
  ['a lower secure level', (each) => jailOf(each)?.parameters.set('securelevel', '-1'), ['jail.securelevel']],
  [
    'another file system in its root',
    (each) => each.shell('/sbin/mount', '-t', 'nullfs', '/etc', `${RUN}/root/tmp`),
    ['root.mounts', 'root.writable'],
  ],
  [
    'a file of the root altered',
    (each) => Object.assign(each.model.state.find(`${RUN}/root/usr/sbin/bhyve`) ?? {}, { sha256: 'a'.repeat(64) }),
    ['root.digests'],
  ],
  [
    'a setuid file in the root',
    (each) => setMode(each, `${RUN}/root/bin/sh`, { mode: 0o4555 }),
    ['root.setuid', 'root.digests'],
  ],
  [
    'a file of the root that the VM may write',
    (each) => setMode(each, `${RUN}/root/bin/sh`, { mode: 0o777 }),
    ['root.owners', 'root.digests'],
  ],
  [
    'the archive of the root altered',
    async (each) => {
      const { special = '' } = each.model.state.mounts.find(({ node }) => node === `${RUN}/root`) ?? {};
      const text = (await each.model.host.readFile(special)) ?? '';
      await each.model.host.writeFile(special, text.replace(' /bin/sh', ' /bin/sx'), { mode: 0o600, uid: 0, gid: 0 });
    },
    ['root.signed'],
  ],
  [
    'a disk that is not open',
    (each) => processOf(each).opened.delete(`${RUN}/root/dev/zvol/tank/brig/vms/web01/disk0`),
    ['descriptors.disks'],
  ],
  ['environment of a person', (each) => (processOf(each).environment = ['HOME=/root']), ['environment.variables']],
  [
    'a file of the host held open',
    (each) => processOf(each).opened.add(`${RUN}/root/etc/master.passwd`),
    ['descriptors.open'],
  ],
  [
    'a user of the host with its uid',
    (each) => addUser(each, 'mallory:*:20000:20000::/:/bin/sh\n'),
    ['identity.alone'],
  ],
];

const addUser = async (each: World, line: string): Promise<void> => {
  const text = (await each.model.host.readFile('/etc/passwd')) ?? '';
  await each.model.host.writeFile('/etc/passwd', `${text}${line}`, { mode: 0o644, uid: 0, gid: 0 });
};

test.each(BREAKS)('an audit names %s', async (_, change, ids) => {
  const host = await run('web01');
  await change(host);
  const [audit] = await host.audit();
  const names = broken(audit).map((each) => each.split(':')[0]);
  expect(names.sort()).toEqual([...ids].sort());
  expect(audit?.passes).toBe(false);
});

describe('on FreeBSD 14', () => {
  const start14 = async (): Promise<World> => {
    const fresh = await new World({ mode: '14' }).prepare();
    world = fresh;
    await fresh.create();
    return fresh;
  };

  test('a VM runs as root of its jail under a name that nobody can guess, and start, list and show say so', async () => {
    const host = await start14();
    const outcome = await host.engine.start('web01', { cause: 'operator' });
    expect(outcome.downgraded).toContain('no /dev/vmmctl');
    const [view] = await host.list();
    expect(view?.downgraded).toBe(outcome.downgraded);
    expect(view?.state).toBe('running');
    const [machine] = host.model.state.vms;
    expect(machine?.name).toMatch(/^b[0-9a-f]{32}$/);
    expect(host.model.state.processes.find(({ command }) => command.startsWith('bhyve: b'))?.uid).toBe(0);
  });

  test('an audit does not pass, says why, and names what is weaker', async () => {
    const host = await start14();
    await host.engine.start('web01', { cause: 'operator' });
    const [audit] = await host.audit('web01');
    expect(audit?.passes).toBe(false);
    expect(audit?.downgraded).toContain('root of its jail');
    expect(broken(audit).map((each) => each.split(':')[0])).toEqual(['identity.uid']);
  });

  test('a stop leaves nothing, and a guest that resets comes back', async () => {
    const host = await start14();
    const before = await host.inventory();
    await host.engine.start('web01', { cause: 'operator' });
    const name = host.model.state.vms[0]?.name ?? '';
    host.model.guest(name).type('r');
    await host.until(() => host.model.guest(name).output.split('GUEST UP').length > 2);
    await host.until(async () => (await host.state()) === 'running');
    await host.engine.stop('web01', { cause: 'operator', graceMs: 1000 });
    expect(await host.inventory()).toEqual(before);
  });

  test('a screen is refused: this bhyve knows no unix sockets', async () => {
    const fresh = await new World({ mode: '14' }).prepare();
    world = fresh;
    await expect(fresh.create({ devices: { fbuf: {} } })).rejects.toThrow(
      /expected a bhyve with fbuf on a unix socket/,
    );
  });
});
