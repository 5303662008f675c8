import { afterEach, describe, expect, test } from 'vitest';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
afterEach(() => world.close());

const pfctl = (...args: string[]): Promise<string> => world.shell('/sbin/pfctl', ...args);
const load = (anchor: string, stdin: string) =>
  world.model.host.run({ program: '/sbin/pfctl', args: ['-a', anchor, '-f', '-'], stdin, timeoutMs: 1000 });
const rules = async (anchor: string): Promise<string[]> =>
  ((await pfctl('-a', anchor, '-s', 'nat')) + (await pfctl('-a', anchor, '-s', 'rules')))
    .split('\n')
    .map((line) => line.replace(/ label "brig:[0-9a-f]{16}"$/, ''));
const anchors = (): Promise<string> => pfctl('-v', '-s', 'Anchors');
const start = (name: string) => world.engine.start(name, operator);
const stop = (name: string) => world.engine.stop(name, { ...operator, graceMs: 0 });
const prepare = async (mode?: '14'): Promise<void> => {
  world = await new World(mode ? { mode } : {}).prepare('shared');
  await world.filter();
  await world.engine.networks.create(
    { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] },
    operator,
  );
};
const create = (name: string, nic: object = {}, owner?: string) =>
  world.create({ name, ...(owner === undefined ? {} : { owner }), nics: [{ network: 'lan', ...nic }], disks: [] });
const settle = async (): Promise<void> => {
  for (let i = 0; i < 6; i++) await world.keeper.pass();
  await world.reconciler.settled();
  await world.engine.upkeep.settled();
};

describe('what may pass a NIC', () => {
  test('is in an anchor of its VM, and what leaves the network is translated', async () => {
    await prepare();
    await create('web01', {}, 'alice');
    await start('web01');
    expect(await anchors()).toBe('  brig\n  brig/net.lan\n  brig/web01\n');
    expect(await rules('brig/net.lan')).toEqual([
      'nat on vtnet0 inet from 10.77.0.0/24 to any -> (vtnet0:0) round-robin',
      'nat on vtnet0 inet6 from fd00:77::/64 to any -> (vtnet0:0) round-robin',
      '',
    ]);
    const shown = await rules('brig/web01');
    for (const rule of [
      'block drop in quick on epair7000a inet proto udp from any port = 67 to any',
      'block drop in quick on epair7000a inet6 proto icmp6 all icmp6-type routeradv',
      'block drop in quick on epair7000a inet from ! <own0v4> to any',
      'block drop in quick on epair7000a inet6 from ! <own0v6> to any',
      'pass in on epair7000a inet all tag brig_owner_alice flags S/SA keep state',
      'block drop out quick on epair7000a inet from any to any received-on brigguest ! tagged brig_owner_alice',
      'block drop out quick on bridge7001 inet6 from any to <own0v6> received-on brigguest ! tagged brig_owner_alice',
    ])
      expect(shown).toContain(rule);
    expect(await world.shell('/sbin/sysctl', '-n', 'net.link.bridge.pfil_member')).toBe('1\n');
    expect(await world.shell('/sbin/sysctl', '-n', 'net.link.bridge.pfil_local_phys')).toBe('1\n');
    await stop('web01');
    expect(await anchors()).toBe('');
  });

  test('is what its document and its network say', async () => {
    await prepare();
    const from = { vm: 'web01', owner: 'alice' };
    await create('db', { allow: [{ from, ports: [5432] }, { proto: 'icmp' }] }, 'bob');
    await create('web01', { forwards: [{ port: 2201, to: 22 }] }, 'alice');
    await start('db');
    await start('web01');
    const db = await rules('brig/db');
    const order = [
      'pass out quick on bridge7001 inet proto icmp from any to <own0v4> keep state',
      'block drop out quick on bridge7001 inet from any to <own0v4> received-on brigguest ! tagged brig_owner_bob',
      'block drop out quick on bridge7001 inet from any to <own0v4> ! tagged brig_owner_bob',
    ].map((rule) => db.indexOf(rule));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(order).not.toContain(-1);
    expect(db).toContain(
      'pass out quick on epair7000a inet proto tcp from 10.77.0.3 to any port = 5432 flags S/SA keep state',
    );
    expect(await rules('brig/web01')).toContain(
      'rdr pass on ! brig inet proto tcp from any to (self) port = 2201 tag brig_forward -> 10.77.0.3 port 22',
    );
    // Only those that nobody else reaches are kept apart by the bridge itself.
    expect(await world.shell('/sbin/ifconfig', 'bridge7001')).not.toContain('PRIVATE');
  });

  test('knows guests by their addresses where rules cannot say where a packet came in', async () => {
    await prepare('14');
    await create('web01', {}, 'alice');
    await start('web01');
    expect(await rules('brig/web01')).toContain(
      'block drop out quick on epair7000a inet from 10.77.0.0/24 to any ! tagged brig_owner_alice',
    );
    expect(await rules('brig/net.lan')).toContain(
      'block drop in quick on brigguest inet from ! 10.77.0.0/24 to 10.77.0.0/24',
    );
  });
});

describe('what is no filter is refused', () => {
  test.each([
    ['on a network that has none', { network: 'default', allow: [] }, /nics\[0\] without allow.*which filters nothing/],
    [
      'on a network without translation',
      { network: 'p2p', forwards: [{ port: 1, to: 1 }] },
      /kind nat, got p2p of kind routed/,
    ],
    ['a port that leads elsewhere', { forwards: [{ port: 2201, to: 80 }] }, /got tcp port 2201, which leads to web01/],
  ])('%s', async (_, nic, message) => {
    await prepare();
    await world.engine.networks.create({ name: 'p2p', kind: 'routed', subnets: [{ cidr: '10.9.0.0/24' }] }, operator);
    await create('web01', { forwards: [{ port: 2201, to: 22 }] });
    await expect(create('web02', nic)).rejects.toThrow(message);
    expect(world.store.findVm('web02')).toBeUndefined();
  });

  test('pf that is off, or lacks the anchors', async () => {
    await prepare();
    await create('web01');
    await pfctl('-d');
    await expect(start('web01')).rejects.toThrow(/got pf is off/);
    await world.filter('anchor "brig/*"\n');
    await expect(start('web01')).rejects.toThrow('the main ruleset lacks nat-anchor "brig/*", rdr-anchor "brig/*"');
    expect(await world.shell('/sbin/ifconfig', '-g', 'brig')).toBe('');
    await world.filter();
    await start('web01');
    expect(await world.state()).toBe('running');
  });
});

describe('rules that somebody changes', () => {
  test.each([
    ['flushed', () => pfctl('-a', 'brig/web01', '-F', 'rules')],
    ['replaced', () => load('brig/web01', 'pass\n')],
    [
      'one of them another',
      async () => {
        const [first = '', ...rest] = (await pfctl('-a', 'brig/web01', '-s', 'rules'))
          .replaceAll(/ flags S\/SA| keep state| drop/g, '')
          .replaceAll(' port = ', ' port ')
          .split('\n');
        await load('brig/web01', [first.replace('block', 'pass'), ...rest].join('\n'));
      },
    ],
    ['no translation any more', () => pfctl('-a', 'brig/net.lan', '-F', 'nat')],
    ['translation to elsewhere', () => load('brig/net.lan', 'nat on vtnet0 inet from 10.77.0.0/24 to any -> (lo0)\n')],
    ['a bridge that shows nothing', () => world.shell('/sbin/sysctl', 'net.link.bridge.pfil_member=0')],
  ])('are put in force again: %s', async (_, change) => {
    await prepare();
    await create('web01', { forwards: [{ port: 2201, to: 22 }] });
    await start('web01');
    await settle();
    const all = async () => [
      await rules('brig/web01'),
      await rules('brig/net.lan'),
      await world.shell('/sbin/sysctl', 'net.link.bridge.pfil_member'),
    ];
    const before = await all();
    await change();
    expect(await all()).not.toEqual(before);
    await settle();
    expect(await all()).toEqual(before);
    expect(world.kinds()).toContain('vm.repaired');
  });

  const allows = async (): Promise<string[]> =>
    (await rules('brig/db')).flatMap((line) => / from (\S+) to \S+ port = 5432/.exec(line)?.[1] ?? []).sort();
  test('do not follow a name to its next owner', async () => {
    await prepare();
    const db = (from: object) => create('db', { allow: [{ from, ports: [5432] }] }, 'bob');
    const renew = async (owner: string): Promise<void> => {
      await world.engine.destroy('web01', operator);
      await create('web01', {}, owner);
      await settle();
      // Nobody is taken for one who takes the rules away again and again.
      await world.model.host.sleep(61_000);
    };
    await create('web01', {}, 'alice');
    await db({ vm: 'web01' });
    await start('db');
    expect(await allows()).toContain('10.77.0.2');
    await renew('mallory');
    expect(await allows()).toEqual([]);
    await renew('bob');
    expect(await allows()).toContain('10.77.0.2');
    await world.engine.destroy('db', { ...operator, force: true, graceMs: 0 });
    await db({ vm: 'web01', owner: 'alice' });
    await start('db');
    expect(await allows()).toEqual([]);
    await renew('alice');
    expect(await allows()).toContain('10.77.0.2');
  });

  test('follow the VM that a document lets in by its name', async () => {
    await prepare();
    await create('db', { allow: [{ from: { vm: 'web01' }, ports: [5432] }] });
    await start('db');
    expect(await allows()).toEqual([]);
    await create('web01', {}, 'alice');
    await world.until(async () => (await allows()).includes('10.77.0.3'), 1000);
    await world.engine.destroy('web01', operator);
    await world.until(async () => (await allows()).length === 0, 1000);
    await create('eve', {}, 'eve');
    expect(await allows()).toEqual([]);
  });

  test('follow another document of their network', async () => {
    await prepare();
    await create('web01', {}, 'alice');
    await start('web01');
    const subnets = [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }];
    await world.engine.networks.edit('lan', { name: 'lan', kind: 'nat', subnets, isolation: 'vm' }, operator);
    const isStrict = async (): Promise<boolean> => !(await rules('brig/web01')).join().includes('! tagged');
    await world.until(isStrict, 1000);
    expect(await world.engine.networks.show('lan')).toMatchObject({ state: 'up' });
  });

  test('are measured by an audit', async () => {
    await prepare();
    await create('web01');
    await start('web01');
    const of = async (): Promise<string[]> =>
      ((await world.audit('web01'))[0]?.properties ?? []).flatMap(({ id, verdict }) =>
        /^network\.(rules|filter)$/.test(id) ? [`${id} ${verdict}`] : [],
      );
    expect(await of()).toEqual(['network.filter holds', 'network.rules holds']);
    await load('brig/web01', 'pass\n');
    expect(await of()).toEqual(['network.filter holds', 'network.rules broken']);
    await pfctl('-a', 'brig/web01', '-F', 'rules');
    await pfctl('-d');
    expect(await of()).toEqual(['network.filter broken', 'network.rules broken']);
  });

  test('a host whose pf is off is told, not touched', async () => {
    await prepare();
    await create('web01');
    await start('web01');
    await pfctl('-d');
    await settle();
    expect(JSON.stringify(world.reconciler.findings('web01'))).toContain('pf is off');
    expect(await pfctl('-s', 'info')).toContain('Status: Disabled');
  });
});
