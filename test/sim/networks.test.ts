import { afterEach, describe, expect, test } from 'vitest';
import { parseInterfaces, type Interface } from '../../src/freebsd/programs/ifconfig.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
afterEach(() => world.close());

const networks = () => world.engine.networks;
const make = (document: Record<string, unknown>) => networks().create(document, operator);
const ifconfig = (...args: string[]): Promise<string> => world.shell('/sbin/ifconfig', ...args);
const interfaces = async (): Promise<Interface[]> => parseInterfaces(await ifconfig('-a'));
const find = async (name: string): Promise<Interface | undefined> =>
  (await interfaces()).find((each) => each.name === name);
const own = async (): Promise<string[]> =>
  (await interfaces()).filter((each) => each.groups.includes('brig')).map((each) => each.name);
const start = (name = 'web01') => world.engine.start(name, operator);
const stop = (name = 'web01') => world.engine.stop(name, { ...operator, graceMs: 0 });
const nics = async (name = 'web01') => (await world.engine.show(name)).nics;
const prepare = async (): Promise<void> => {
  world = await new World().prepare('shared');
  await world.filter();
};
const NAT = { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] };

describe('a network', () => {
  test('is there for its first user and gone with its last', async () => {
    await prepare();
    expect(await make(NAT)).toMatchObject({ state: 'down', interface: 'bridge7001', kind: 'nat', vms: [] });
    for (const name of ['web01', 'web02']) {
      await world.create({ name, nics: [{ network: 'lan' }], disks: [] });
      await start(name);
    }
    expect(await find('bridge7001')).toMatchObject({
      description: 'brig:net/lan',
      addresses: ['10.77.0.1/24', 'fd00:77::1/64'],
      members: ['epair7001a', 'epair7000a'],
    });
    expect(await world.shell('/sbin/sysctl', '-n', 'net.inet.ip.forwarding')).toBe('1\n');
    expect(await networks().show('lan')).toMatchObject({ state: 'up', vms: ['web01', 'web02'] });
    await stop('web01');
    expect(await find('bridge7001')).toMatchObject({ members: ['epair7001a'] });
    await stop('web02');
    expect(await own()).toEqual([]);
    expect(await networks().show('lan')).toMatchObject({ state: 'down' });
  });

  test('gives each NIC an address of each family, before it starts and until it is destroyed', async () => {
    await prepare();
    await make(NAT);
    await world.create({ nics: [{ network: 'lan' }, { network: 'lan' }], disks: [] });
    expect((await nics()).map(({ addresses }) => addresses)).toEqual([
      ['10.77.0.2/24', 'fd00:77::2/64'],
      ['10.77.0.3/24', 'fd00:77::3/64'],
    ]);
    expect(
      networks()
        .leases('lan')
        .map(({ address, holder, nic }) => `${address} ${holder} ${nic}`),
    ).toEqual(['10.77.0.2 web01 0', '10.77.0.3 web01 1', 'fd00:77::2 web01 0', 'fd00:77::3 web01 1']);
    world.die();
    await world.boot();
    expect((await networks().show('lan')).subnets).toMatchObject([
      { cidr: '10.77.0.0/24', gateway: '10.77.0.1', size: '253', free: '251' },
      { cidr: 'fd00:77::/64', gateway: 'fd00:77::1', free: '18446744073709551612' },
    ]);
    await world.engine.destroy('web01', operator);
    expect(networks().leases('lan')).toEqual([]);
    await world.create({ name: 'web02', nics: [{ network: 'lan' }], disks: [] });
    expect((await nics('web02'))[0]?.addresses[0]).toBe('10.77.0.2/24');
  });

  test('gives a reserved address to whom it is reserved for, and an asked one to who asks', async () => {
    await prepare();
    const subnet = {
      cidr: '10.77.0.0/24',
      ranges: ['10.77.0.100-10.77.0.101'],
      exclude: ['10.77.0.30'],
      reservations: [{ address: '10.77.0.100', vm: 'db' }],
    };
    await make({ ...NAT, subnets: [subnet] });
    const addressOf = async (name: string, nic: object = {}): Promise<string | undefined> => {
      await world.create({ name, nics: [{ network: 'lan', ...nic }], disks: [], cloudInit: {} });
      return (await nics(name))[0]?.addresses[0];
    };
    const asks = (address: string) => ({ addresses: [`${address}/24`] });
    expect(await addressOf('a')).toBe('10.77.0.101/24');
    expect(await addressOf('db')).toBe('10.77.0.100/24');
    expect(await addressOf('c', asks('10.77.0.5'))).toBe('10.77.0.5/24');
    await expect(addressOf('d', asks('10.77.0.5'))).rejects.toThrow(
      'create d: nic 0 of d: 10.77.0.5/32 of network lan is leased already',
    );
    await expect(addressOf('d', asks('10.77.0.100'))).rejects.toThrow('10.77.0.100/24 is reserved on network lan');
    await expect(addressOf('d', asks('10.77.0.1'))).rejects.toThrow('got 10.77.0.1: it is the gateway');
    await expect(addressOf('d', asks('10.77.0.30'))).rejects.toThrow('got 10.77.0.30: it is excluded');
    await expect(addressOf('d', asks('10.78.0.1'))).rejects.toThrow(
      'expected an address of 10.77.0.0/24, got 10.78.0.1',
    );
    await expect(addressOf('d')).rejects.toThrow(
      'create d: expected a free address in 10.77.0.0/24, got none: all are leased',
    );
    expect(world.store.findVm('d')).toBeUndefined();
    expect(networks().leases('lan')).toHaveLength(3);
  });

  test('gives what is reserved for one owner to no other', async () => {
    await prepare();
    const reservations = [{ address: '10.77.0.100', vm: 'db', owner: 'alice' }];
    await make({ ...NAT, subnets: [{ cidr: '10.77.0.0/24', reservations }] });
    const addressOf = async (owner: string): Promise<string | undefined> => {
      await world.create({ name: 'db', owner, nics: [{ network: 'lan' }], disks: [] });
      const [nic] = await nics('db');
      await world.engine.destroy('db', operator);
      return nic?.addresses[0];
    };
    expect(await addressOf('mallory')).toBe('10.77.0.2/24');
    expect(await addressOf('alice')).toBe('10.77.0.100/24');
  });

  test('that is routed has a link to each VM, and no segment', async () => {
    await prepare();
    const subnets = [{ cidr: '10.9.0.0/24' }, { cidr: 'fd00:9::/64' }];
    await make({ name: 'p2p', kind: 'routed', subnets, delegate: [{ cidr: 'fd00:a::/48' }] });
    for (const name of ['web01', 'web02']) await world.create({ name, nics: [{ network: 'p2p' }], disks: [] });
    await start('web02');
    expect(await nics('web02')).toMatchObject([
      { addresses: ['10.9.0.3/31', 'fd00:9::3/127'], delegated: ['fd00:a:0:1::/64'] },
    ]);
    expect(await find('epair7001a')).toMatchObject({ addresses: ['10.9.0.2/31', 'fd00:9::2/127'] });
    expect(await own()).toEqual(['epair7001a']);
    expect(await world.shell('/usr/bin/netstat', '-rn', '--libxo=json')).toContain('fd00:a:0:1::/64');
    expect(await world.audit()).toMatchObject([{ passes: true }]);
    await stop('web02');
    expect(await own()).toEqual([]);
  });

  test('of host routes has the address of the subnet on every link', async () => {
    await prepare();
    await make({ name: 'p2p', kind: 'routed', subnets: [{ cidr: '10.9.0.0/24' }], prefix4: 32 });
    await world.create({ nics: [{ network: 'p2p' }], disks: [] });
    await start();
    expect(await nics()).toMatchObject([{ addresses: ['10.9.0.2/32'] }]);
    expect(await find('epair7000a')).toMatchObject({ addresses: ['10.9.0.1/32'] });
    expect(await world.shell('/usr/bin/netstat', '-rn', '--libxo=json')).toContain('"10.9.0.2"');
  });

  test('of a VLAN is an interface of its uplink on a bridge', async () => {
    await prepare();
    await make({ name: 'red', kind: 'vlan', uplink: 'vtnet0', tag: 100 });
    await world.create({ nics: [{ network: 'red' }], disks: [] });
    await start();
    expect(await find('vlan7001')).toMatchObject({ vlan: '100 vtnet0', description: 'brig:net/red' });
    expect(await find('bridge7001')).toMatchObject({ members: ['epair7000a', 'vlan7001'] });
    await stop();
    expect(await own()).toEqual([]);
    expect(await find('vtnet0')).toMatchObject({ addresses: ['10.0.2.15/24'] });
  });

  test('may be a VLAN of a bridge that keeps them apart', async () => {
    await prepare();
    await make({ name: 'trunk', kind: 'bridge', uplinks: ['vtnet0'], aware: true, interface: 'trunk0' });
    await make({ name: 'red', kind: 'vlan', trunk: 'trunk', tag: 100 });
    await make({ name: 'blue', kind: 'vlan', trunk: 'trunk', tag: 200 });
    for (const [name, network] of Object.entries({ web01: 'red', web02: 'blue' })) {
      await world.create({ name, nics: [{ network }], disks: [] });
      await start(name);
    }
    const text = await ifconfig('trunk0');
    expect(text).toContain('bridge flags=1<VLANFILTER>');
    expect(
      text.match(/member: (\S+)[^]*?vlan protocol 802.1q(.*)/g)?.map((each) => each.replace(/ flags[^]*802.1q/, '')),
    ).toEqual(['member: epair7001a untagged 200', 'member: epair7000a untagged 100', 'member: vtnet0 tagged 1-4094']);
    await expect(world.create({ name: 'c', nics: [{ network: 'trunk' }] })).rejects.toThrow(
      'expected a network of kind vlan, got trunk, which keeps VLANs apart',
    );
    await expect(networks().destroy('trunk', operator)).rejects.toThrow('expected no VLAN of it, got blue');
    for (const name of ['web01', 'web02']) await stop(name);
    expect(await own()).toEqual([]);
  });

  test('of a VXLAN has an MTU that leaves room for its headers, and so has all on it', async () => {
    await prepare();
    await make({ name: 'far', kind: 'vxlan', vni: 42, local: '10.0.2.15', remote: '10.0.2.16' });
    await world.create({ nics: [{ network: 'far' }], disks: [], cloudInit: {} });
    await start();
    expect(await find('vxlan7001')).toMatchObject({
      mtu: 1450,
      vxlan: 'vni 42 local 10.0.2.15:4789 remote 10.0.2.16:4789',
    });
    for (const name of ['bridge7001', 'epair7000a']) expect((await find(name))?.mtu).toBe(1450);
    expect(await ifconfig('-j', 'brig-web01', 'tap7000')).toContain('mtu 1450');
    expect(await networks().show('far')).toMatchObject({ state: 'up', mtu: 1450 });
    await stop();
    expect(await own()).toEqual([]);
  });

  test('that is persistent is there without a user, from brigd to brigd, and after a reboot', async () => {
    await prepare();
    await make({ ...NAT, persistent: true, interface: 'lan0' });
    expect(await own()).toEqual(['lan0']);
    await world.create({ nics: [{ network: 'lan' }], disks: [] });
    await start();
    await stop();
    expect(await own()).toEqual(['lan0']);
    world.die();
    world.model.reboot();
    await world.boot();
    await world.keeper.pass();
    await world.engine.upkeep.settled();
    expect(await own()).toEqual(['lan0']);
    await expect(networks().destroy('lan', operator)).rejects.toThrow('expected no VM with a NIC on it, got web01');
    await world.engine.destroy('web01', operator);
    await networks().destroy('lan', operator);
    expect(await own()).toEqual([]);
    expect(world.store.networks.list()).toEqual([]);
  });
});

describe('what a network cannot be is told before anything is touched', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['a name that is taken', { name: 'lan', kind: 'bridge' }, 'create network lan: a network of this name exists'],
    ['a name of its own', { name: 'default', kind: 'bridge' }, 'create network default: a network of this name exists'],
    [
      'an overlap',
      { ...NAT, name: 'b', subnets: [{ cidr: '10.0.0.0/8' }] },
      'create network b: expected subnets that no other network of group default has, got 10.0.0.0/8, which overlaps 10.77.0.0/24 of lan',
    ],
    [
      'an unknown uplink',
      { name: 'b', kind: 'bridge', uplinks: ['em7'] },
      'uplink em7 of network b, got no such interface',
    ],
    [
      'an uplink that is taken',
      { name: 'b', kind: 'bridge', uplinks: ['vtnet0'] },
      'expected uplink vtnet0 for itself, got that of network up',
    ],
    [
      'a VLAN that is taken',
      { name: 'b', kind: 'vlan', uplink: 'vtnet0', tag: 7 },
      'expected VLAN 7 of vtnet0 for itself, got that of network red',
    ],
    [
      'an MTU that its uplink has not',
      { name: 'b', kind: 'vlan', uplink: 'vtnet0', tag: 8, mtu: 9000 },
      'expected uplink vtnet0 with an MTU of at least 9000, got 1500',
    ],
    [
      'a tunnel that is too wide',
      { name: 'b', kind: 'vxlan', vni: 1, local: '10.0.2.15', remote: '10.0.2.16', mtu: 1500 },
      'expected an MTU of at most 1450, for vtnet0 has 1500, got 1500',
    ],
    [
      'a tunnel from nowhere',
      { name: 'b', kind: 'vxlan', vni: 1, local: '10.0.9.9', remote: '10.0.2.16' },
      'expected local address 10.0.9.9 of network b on an interface of this host, got none has it',
    ],
    [
      "the host's own subnet",
      { name: 'b', kind: 'nat', subnets: [{ cidr: '10.0.2.0/24' }] },
      'expected the subnet of 10.0.2.1/24, network b, on no other interface, got vtnet0 with 10.0.2.15/24',
    ],
    [
      "a stranger's interface",
      { name: 'b', kind: 'bridge', interface: 'vtnet0' },
      'expected interface vtnet0 free or marked brig:net/b',
    ],
    [
      'no bridge',
      { name: 'b', kind: 'external', bridge: 'vtnet0' },
      'expected bridge vtnet0 of network b, got no bridge',
    ],
    [
      'a trunk that is none',
      { name: 'b', kind: 'vlan', trunk: 'lan', tag: 7 },
      'expected a trunk that is a bridge with aware: true, got lan, of kind nat',
    ],
    [
      'a trunk that is not there',
      { name: 'b', kind: 'vlan', trunk: 'lam', tag: 7 },
      'find network lam: no such network',
    ],
  ])('%s', async (_, document, message) => {
    await prepare();
    await make(NAT);
    await make({ name: 'up', kind: 'bridge', uplinks: ['vtnet0'] });
    await make({ name: 'red', kind: 'vlan', uplink: 'vtnet0', tag: 7 });
    const before = await ifconfig('-a');
    await expect(make(document)).rejects.toThrow(message);
    expect(await ifconfig('-a')).toBe(before);
    expect(world.store.networks.list()).toHaveLength(3);
    expect(world.store.listSagas()).toEqual([]);
  });

  test('a VM on a network that is not there', async () => {
    await prepare();
    await expect(world.create({ nics: [{ network: 'lam' }] })).rejects.toThrow('expected network default, got lam');
  });

  test('networks of two groups may overlap, but not on one host at once', async () => {
    await prepare();
    for (const group of ['a', 'b']) {
      await make({ ...NAT, name: group, group });
      await world.create({ name: `vm-${group}`, nics: [{ network: group }], disks: [] });
    }
    await start('vm-a');
    await expect(start('vm-b')).rejects.toThrow(
      'expected the subnet of 10.77.0.1/24, network b, on no other interface',
    );
    await stop('vm-a');
    await start('vm-b');
  });
});

describe('a network that is edited', () => {
  const edit = (document: Record<string, unknown>) => networks().edit('lan', document, operator);

  test('has another document, and who has an address keeps it', async () => {
    await prepare();
    await make(NAT);
    await world.create({ nics: [{ network: 'lan' }], disks: [] });
    await start();
    await edit({
      ...NAT,
      labels: { team: 'a' },
      subnets: [{ cidr: '10.77.0.0/24', dns: ['10.77.0.1'] }, NAT.subnets[1]],
    });
    expect(await networks().show('lan')).toMatchObject({ labels: { team: 'a' }, state: 'up' });
    await expect(edit({ ...NAT, subnets: [{ cidr: '10.78.0.0/24' }] })).rejects.toThrow(
      'edit network lan: expected to keep 10.77.0.2/32, got a document without it: web01 has it',
    );
    await expect(edit({ ...NAT, mtu: 1400 })).rejects.toThrow(
      'expected nobody on it, for that changes its interfaces, got web01',
    );
    await expect(edit({ name: 'lan', kind: 'bridge' })).rejects.toThrow('expected kind nat, got bridge');
    expect(world.store.networks.find('lan')?.spec).toMatchObject({ labels: { team: 'a' } });
    await stop();
    await edit({ ...NAT, mtu: 1400, persistent: true });
    expect(await networks().show('lan')).toMatchObject({ mtu: 1400, state: 'up' });
    await edit({ ...NAT, mtu: 1400 });
    expect(await own()).toEqual([]);
  });
});

describe('files of leases', () => {
  test('say who has what, are written once for each change, and only when they differ', async () => {
    world = await new World({}, undefined, {
      leases: { dir: '/var/db/brig/leases', formats: ['dnsmasq', 'kea'] },
    }).prepare('shared');
    await world.filter();
    const { host } = world.model;
    const text = async (): Promise<string> => (await host.readFile('/var/db/brig/leases/dnsmasq.conf')) ?? '';
    const written = () => world.events.list(0, 10_000).filter(({ kind }) => kind === 'leases.written').length;
    await make(NAT);
    await world.create({ name: 'web01', nics: [{ network: 'lan', mac: '58:9c:fc:00:00:01' }], disks: [] });
    await world.until(async () => (await text()).includes('web01'));
    expect(await text()).toContain('dhcp-host=58:9c:fc:00:00:01,set:lan,10.77.0.2,[fd00:77::2],web01,infinite');
    const before = written();
    await start();
    await stop();
    await host.sleep(1000);
    expect(written()).toBe(before);
    await world.shell('/usr/sbin/jail', '-c', 'name=db', 'path=/', 'persist', 'vnet');
    await networks().attach('lan', { jail: 'db' }, operator);
    await world.until(async () => (await text()).includes('host-record=db.lan.internal,10.77.0.3,fd00:77::3'));
    await networks().jails.detach('lan', 'db', operator);
    await world.engine.destroy('web01', operator);
    await world.until(async () => !(await text()).includes('web01'));
    expect(await text()).not.toContain('db');
    expect(JSON.parse((await host.readFile('/var/db/brig/leases/kea-subnet4.json')) ?? '')).toMatchObject([
      { subnet: '10.77.0.0/24', reservations: [] },
    ]);
  });
});

describe('operators at once', () => {
  test('get no address twice, and are told when none is left', async () => {
    await prepare();
    await make({ name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/27' }] });
    const ends = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) => world.create({ name: `v${i}`, nics: [{ network: 'lan' }], disks: [] })),
    );
    const failed = ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : []));
    const addresses = networks()
      .leases('lan')
      .map(({ address }) => address);
    expect(new Set(addresses).size).toBe(29);
    expect(addresses).toHaveLength(29);
    expect(failed).toHaveLength(11);
    for (const each of failed) expect(each).toMatch(/no address of 10\.77\.0\.0\/27|left|free/);
    expect((await networks().show('lan')).subnets).toMatchObject([{ size: '29', free: '0' }]);
  });
});
