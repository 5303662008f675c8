import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, leftovers, run, Stage } from '../demo/stage.ts';

const BUSYBOX = '/bin/busybox';
const FORWARDING = ['/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding'];
const before = inventory();
const forwarding = FORWARDING.map((path) => readFileSync(path, 'utf8'));
const stage = new Stage('pkt', { accel: 'tcg' });
const servers: ChildProcess[] = [];

const sh = (program: string, ...args: string[]): string => {
  const { status, stdout, stderr } = run(program, args);
  expect([status, stderr], `${program} ${args.join(' ')}`).toEqual([0, '']);
  return stdout;
};
const ip = (...args: string[]): string => sh('/usr/sbin/ip', ...args);
const brig = (...args: string[]): string => {
  const { status, stdout, stderr } = stage.brig(...args);
  expect(status, `brig ${args.join(' ')}: ${stderr}`).toBe(0);
  return stdout;
};
const file = (name: string, value: unknown): string => {
  const path = join(stage.dir, name);
  writeFileSync(path, JSON.stringify(value));
  return path;
};

/** Somebody with a network namespace, who sends packets of his own. */
class Peer {
  readonly space: string;

  constructor(space: string) {
    this.space = space;
  }

  busybox(...args: string[]): number {
    return run('/usr/sbin/ip', ['netns', 'exec', this.space, BUSYBOX, ...args]).status;
  }

  /** Whether an answer comes, to the first packet or to a second. `from`: one of its own addresses. */
  reaches(to: string, from?: string): boolean {
    const ping = to.includes(':') ? 'ping6' : 'ping';
    const args = [ping, '-c', '1', '-W', '1', ...(from === undefined ? [] : ['-I', from]), to];
    return this.busybox(...args) === 0 || this.busybox(...args) === 0;
  }

  /** Says hello to whoever comes, by both families. */
  async serve(...ports: number[]): Promise<void> {
    const script = `for (const port of [${ports.join()}]) require('net').createServer((s) => s.end('hello\\n')).listen(port, '::');
      console.log('ready')`;
    const args = ['netns', 'exec', this.space, process.execPath, '-e', script];
    const server = spawn('/usr/sbin/ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    servers.push(server);
    await once(server.stdout, 'data');
  }

  hears(to: string, port: number): boolean {
    const args = ['netns', 'exec', this.space, BUSYBOX, 'timeout', '2', BUSYBOX, 'nc', '-w', '1', to, String(port)];
    return run('/usr/sbin/ip', args).stdout === 'hello\n';
  }
}

/** In the place of a VM's guest: behind the same interfaces, with the addresses that brig gave it. */
class Guest extends Peer {
  readonly addresses: string[] = [];
  readonly #name: string;
  readonly device: string;

  constructor(name: string, unit: number) {
    super(`brig-${name}`);
    this.#name = name;
    this.device = `brigb${unit}`;
  }

  async open(): Promise<this> {
    const { nics } = await stage.client.show(this.#name);
    const nic = nics.find(({ unit }) => this.device === `brigb${unit}`);
    const network = await stage.client.network(nic?.network ?? '');
    ip('-n', this.space, 'link', 'set', 'dev', this.device, 'address', nic?.mac ?? '');
    for (const address of nic?.addresses ?? []) {
      this.addresses.push(address.replace(/\/.*/, ''));
      ip('-n', this.space, 'address', 'add', address, 'dev', this.device, ...(address.includes(':') ? ['nodad'] : []));
    }
    for (const { gateway } of network.subnets)
      if (gateway !== undefined) ip('-n', this.space, 'route', 'add', 'default', 'via', gateway);
    return this;
  }

  get four(): string {
    return this.addresses[0] ?? '';
  }

  get six(): string {
    return this.addresses[1] ?? '';
  }

  /** Another address, of its own choice. */
  claim(address: string): void {
    ip('-n', this.space, 'address', 'add', address, 'dev', this.device, ...(address.includes(':') ? ['nodad'] : []));
  }
}

const UNIT = 7900;
const world = new Peer('brigworld');
let [a, b, c, d, p, q] = [] as unknown as Guest[];
const guest = (one: Guest | undefined): Guest => one as Guest;

const createVm = async (name: string, unit: number, owner: string, nic: object): Promise<Guest> => {
  const document = { name, memory: '32M', firmware: { builtin: 'test' }, owner, nics: [nic], cloudInit: {} };
  brig('create', '-f', file(`${name}.json`, document));
  brig('start', name);
  return await new Guest(name, unit).open();
};

beforeAll(async () => {
  ip('netns', 'add', world.space);
  ip('link', 'add', 'brigworld0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', world.space);
  for (const address of ['198.51.100.1/24', 'fd01::1/64'])
    ip('address', 'add', address, 'dev', 'brigworld0', ...(address.includes(':') ? ['nodad'] : []));
  ip('link', 'set', 'dev', 'brigworld0', 'up');
  for (const address of ['198.51.100.2/24', 'fd01::2/64'])
    ip('-n', world.space, 'address', 'add', address, 'dev', 'eth0', ...(address.includes(':') ? ['nodad'] : []));
  ip('-n', world.space, 'link', 'set', 'dev', 'eth0', 'up');
  await stage.up();
  brig('network', 'create', 'lan', '--kind', 'nat', '--subnet', '10.177.0.0/24', '--subnet', 'fd00:177::/64');
  brig('network', 'create', 'p2p', '--kind', 'routed', '--subnet', '10.178.0.0/24', '--subnet', 'fd00:178::/64');
  const forwards = [{ port: 2201, to: 22 }];
  a = await createVm('a', UNIT, 'alice', { network: 'lan', forwards });
  b = await createVm('b', UNIT + 1, 'alice', { network: 'lan' });
  c = await createVm('c', UNIT + 2, 'bob', { network: 'lan', allow: [{ from: { vm: 'a' }, proto: 'tcp', ports: 80 }] });
  d = await createVm('d', UNIT + 3, 'carol', { network: 'lan' });
  p = await createVm('p', UNIT + 4, 'alice', { network: 'p2p' });
  q = await createVm('q', UNIT + 5, 'bob', { network: 'p2p' });
});

afterAll(async () => {
  for (const server of servers) server.kill('SIGKILL');
  for (const { name } of await stage.client.list()) brig('destroy', '--force', name);
  const rules = run('/usr/sbin/nft', ['list', 'ruleset']).stdout;
  await stage.down();
  await stage.close();
  ip('netns', 'delete', world.space);
  run('/usr/sbin/ip', ['link', 'delete', 'brigworld0']);
  FORWARDING.forEach((path, i) => writeFileSync(path, forwarding[i] ?? '0'));
  expect(rules).not.toContain('brig');
  expect(leftovers(before, inventory())).toEqual([]);
});

describe('packets of guests on one network', () => {
  test('reach those of the same owner, and the host', () => {
    for (const to of [guest(b).four, guest(b).six, '10.177.0.1', 'fd00:177::1'])
      expect(guest(a).reaches(to), to).toBe(true);
  });

  test('do not reach those of another owner', () => {
    for (const to of [guest(d).four, guest(d).six, guest(c).four, guest(c).six])
      expect(guest(a).reaches(to), to).toBe(false);
  });

  test('reach what the document of another allows, and nothing else', async () => {
    await guest(c).serve(80, 81);
    expect(guest(a).hears(guest(c).four, 80)).toBe(true);
    expect(guest(a).hears(guest(c).six, 80)).toBe(true);
    expect(guest(a).hears(guest(c).four, 81)).toBe(false);
    expect(guest(b).hears(guest(c).four, 80)).toBe(false);
    expect(guest(c).reaches(guest(a).four)).toBe(false);
  });
});

describe('a guest that is not who it says it is', () => {
  test('with an address that is not its own reaches nobody', () => {
    guest(b).claim('10.177.0.99/24');
    guest(b).claim('fd00:177::99/64');
    for (const [to, from] of [
      [guest(a).four, '10.177.0.99'],
      ['10.177.0.1', '10.177.0.99'],
      [guest(a).six, 'fd00:177::99'],
      ['fd00:177::1', 'fd00:177::99'],
    ] as const) {
      // First with its own: whoever asks for a neighbour with another address is not answered either.
      const own = to.includes(':') ? guest(b).six : guest(b).four;
      expect(guest(b).reaches(to, own), to).toBe(true);
      expect(guest(b).reaches(to, from), from).toBe(false);
    }
  });

  test('with the address of the router is not taken for it', () => {
    ip('-n', guest(d).space, 'address', 'flush', 'dev', guest(d).device);
    guest(d).claim('10.177.0.1/24');
    guest(d).busybox('arping', '-U', '-c', '2', '-w', '1', '-I', guest(d).device, '-s', '10.177.0.1', '10.177.0.1');
    expect(guest(b).reaches('10.177.0.1')).toBe(true);
    const neighbour = ip('-n', guest(b).space, 'neighbour', 'show', '10.177.0.1');
    const { address } = (JSON.parse(ip('-j', 'link', 'show', 'bridge7901')) as { address: string }[])[0] ?? {
      address: '',
    };
    expect(neighbour).toContain(address);
  });

  test('with another MAC address reaches nobody', () => {
    const own =
      (JSON.parse(ip('-n', guest(b).space, '-j', 'link', 'show', guest(b).device)) as { address: string }[])[0]
        ?.address ?? '';
    ip('-n', guest(b).space, 'link', 'set', 'dev', guest(b).device, 'address', '58:9c:fc:77:77:77');
    expect(guest(b).reaches('10.177.0.1')).toBe(false);
    expect(guest(b).reaches(guest(a).four)).toBe(false);
    ip('-n', guest(b).space, 'link', 'set', 'dev', guest(b).device, 'address', own);
    expect(guest(b).reaches('10.177.0.1')).toBe(true);
  });
});

describe('the world', () => {
  test('is reached through the host, whose address it sees', () => {
    for (const to of ['198.51.100.2', 'fd01::2']) expect(guest(a).reaches(to), to).toBe(true);
    // It knows no way to them.
    for (const to of [guest(a).four, guest(a).six]) expect(world.reaches(to), to).toBe(false);
  });

  test('reaches the ports that lead to a guest, and no others', async () => {
    await guest(a).serve(22);
    expect(world.hears('198.51.100.1', 2201)).toBe(true);
    expect(world.hears('fd01::1', 2201)).toBe(true);
    expect(world.hears('198.51.100.1', 2202)).toBe(false);
  });
});

describe('a routed network', () => {
  test('has no segment: the host routes to each guest, and lets others pass by their owners only', () => {
    ip('-n', world.space, 'route', 'add', '10.178.0.0/24', 'via', '198.51.100.1');
    ip('-n', world.space, 'route', 'add', 'fd00:178::/64', 'via', 'fd01::1');
    for (const each of [guest(p), guest(q)]) {
      const host = (
        JSON.parse(ip('-j', 'address', 'show', each.device.replace('brigb', 'brigv'))) as {
          addr_info: { local: string }[];
        }[]
      )[0];
      for (const { local } of (host?.addr_info ?? []).filter((each) => !each.local.startsWith('fe80:')))
        ip('-n', each.space, 'route', 'replace', 'default', 'via', local);
    }
    for (const to of ['198.51.100.2', 'fd01::2']) expect(guest(p).reaches(to), to).toBe(true);
    for (const to of [guest(p).four, guest(p).six]) expect(world.reaches(to), to).toBe(true);
    for (const to of [guest(q).four, guest(q).six]) expect(guest(p).reaches(to), to).toBe(false);
    // Of one owner, on two networks.
    expect(guest(p).reaches(guest(a).four)).toBe(true);
    expect(guest(q).reaches(guest(a).four)).toBe(false);
    guest(p).claim('10.178.0.77/32');
    expect(guest(p).reaches('198.51.100.2', '10.178.0.77')).toBe(false);
  });
});

describe('a network namespace that brig did not make', () => {
  const jail = new Peer('packetjail');
  const attached = () => stage.client.network('lan').then(({ jails }) => jails);

  test('is on a network with an address of its own, under the same rules, until it goes', async () => {
    ip('netns', 'add', jail.space);
    const [four = '', six = ''] = brig(
      ...['network', 'attach', 'lan', '--jail', jail.space, '--owner', 'alice', '--gateway'],
    ).split('\n');
    for (const to of ['198.51.100.2', 'fd01::2', guest(a).four, guest(a).six]) expect(jail.reaches(to), to).toBe(true);
    expect(jail.reaches(guest(c).four)).toBe(false);
    expect(guest(a).reaches(four.replace(/\/.*/, ''))).toBe(true);
    expect(guest(c).reaches(six.replace(/\/.*/, ''))).toBe(false);
    const unit = (await attached())[0]?.unit ?? 0;
    ip('-n', jail.space, 'address', 'add', '10.177.0.66/24', 'dev', `brigp${unit}`);
    expect(jail.reaches(guest(a).four, '10.177.0.66')).toBe(false);
    ip('netns', 'delete', jail.space);
    await stage.until('the jail to be missed', async () => (await attached())[0]?.state === 'waiting');
    expect(run('/usr/sbin/nft', ['list', 'ruleset']).stdout).not.toContain(`from-${unit}`);
    ip('netns', 'add', jail.space);
    await stage.until('the jail to be back', async () => (await attached())[0]?.state === 'attached');
    expect(jail.reaches(guest(a).four)).toBe(true);
    brig('network', 'detach', 'lan', '--jail', jail.space);
    expect(ip('-n', jail.space, '-o', 'link')).not.toContain('brigp');
    ip('netns', 'delete', jail.space);
    expect(await attached()).toEqual([]);
  });
});

describe("an uplink's addresses", () => {
  const document = (): string =>
    file('up.json', { name: 'up', kind: 'bridge', uplinks: ['brigworld0'], persistent: true, moveAddresses: true });
  const onHost = (name: string): string => ip('-o', 'address', 'show', 'dev', name);
  const away = (): string => ip('route', 'show', '203.0.113.0/24');

  test('move to the bridge and back, and the host stays reachable', async () => {
    ip('route', 'add', '203.0.113.0/24', 'via', '198.51.100.2');
    brig('network', 'create', '-f', document());
    const { interface: bridge = '' } = await stage.client.network('up');
    for (const address of ['198.51.100.1/24', 'fd01::1/64']) {
      expect(onHost(bridge)).toContain(address);
      expect(onHost('brigworld0')).not.toContain(address);
    }
    expect(away()).toContain(`via 198.51.100.2 dev ${bridge}`);
    for (const to of ['198.51.100.1', 'fd01::1']) expect(world.reaches(to), to).toBe(true);
    brig('network', 'destroy', 'up');
    expect(away()).toContain('via 198.51.100.2 dev brigworld0');
    for (const to of ['198.51.100.1', 'fd01::1']) expect(world.reaches(to), to).toBe(true);
  });

  test('go back when the router does not answer', () => {
    ip('-n', world.space, 'address', 'delete', '198.51.100.2/24', 'dev', 'eth0');
    const { status, stderr } = stage.brig('network', 'create', '-f', document());
    expect([status, stderr]).toEqual([
      expect.any(Number),
      expect.stringContaining('an answer of 198.51.100.2') as string,
    ]);
    expect(onHost('brigworld0')).toContain('198.51.100.1/24');
    ip('-n', world.space, 'address', 'add', '198.51.100.2/24', 'dev', 'eth0');
    expect(world.reaches('198.51.100.1')).toBe(true);
    ip('route', 'delete', '203.0.113.0/24');
  });
});

/** Some kernels have no VLAN devices: then VLANs are proven on the model, and this run says so. */
const hasVlans = (): boolean => {
  const words = ['link', 'add', 'link', 'lo', 'name', 'brigvlan0', 'type', 'vlan', 'id', '5'];
  if (run('/usr/sbin/ip', words).status !== 0) return false;
  ip('link', 'delete', 'brigvlan0');
  return true;
};
const isModelOnly = !hasVlans();
if (isModelOnly) process.stderr.write('this kernel has no VLAN devices: VLANs are proven on the model only\n');

describe('a segment that other hosts share', () => {
  /** A guest on a network of that kind, and the world's own end of it. */
  const meet = async (name: string, network: object, end: readonly string[]): Promise<[Guest, string]> => {
    brig('network', 'create', '-f', file(`${name}.json`, { name, ...network }));
    ip('-n', world.space, 'link', 'add', name, ...end);
    ip('-n', world.space, 'address', 'add', '10.180.0.200/24', 'dev', name);
    ip('-n', world.space, 'link', 'set', 'dev', name, 'up');
    const document = { name: `${name}-vm`, memory: '32M', firmware: { builtin: 'test' }, nics: [{ network: name }] };
    brig('create', '-f', file(`${name}-vm.json`, { ...document, cloudInit: {} }));
    brig('start', `${name}-vm`);
    const { nics } = await stage.client.show(`${name}-vm`);
    const { interface: bridge = '' } = await stage.client.network(name);
    return [await new Guest(`${name}-vm`, nics[0]?.unit ?? 0).open(), bridge];
  };
  const part = (name: string): void => {
    brig('destroy', '--force', `${name}-vm`);
    brig('network', 'destroy', name);
    ip('-n', world.space, 'link', 'delete', name);
  };
  const subnets = [{ cidr: '10.180.0.0/24', ranges: ['10.180.0.10-10.180.0.20'] }];

  test('a VXLAN: packets pass both ways, and what does not fit is not promised', async () => {
    const tunnel = { vni: 42, local: '198.51.100.1', remote: '198.51.100.2' };
    const words = ['type', 'vxlan', 'id', '42', 'local', tunnel.remote, 'remote', tunnel.local, 'dstport', '4789'];
    const [x, bridge] = await meet('vx', { kind: 'vxlan', ...tunnel, subnets }, words);
    expect(x.reaches('10.180.0.200')).toBe(true);
    expect(world.reaches(x.four)).toBe(true);
    expect(ip('-o', 'link', 'show', 'dev', bridge)).toContain('mtu 1450');
    x.claim('10.180.0.99/24');
    expect(x.reaches('10.180.0.200', '10.180.0.99')).toBe(false);
    part('vx');
  });

  test.skipIf(isModelOnly)('a VLAN: packets pass both ways', async () => {
    const words = ['link', 'eth0', 'type', 'vlan', 'id', '5'];
    const [x] = await meet('vl', { kind: 'vlan', uplink: 'brigworld0', tag: 5, subnets }, words);
    expect(x.reaches('10.180.0.200')).toBe(true);
    expect(world.reaches(x.four)).toBe(true);
    part('vl');
  });
});

test('an audit of a guest on it passes by its rules', async () => {
  const [audit] = await stage.client.audit('b');
  expect(audit?.properties.find(({ id }) => id === 'network.rules')).toMatchObject({ verdict: 'holds' });
});

describe('rules that somebody changes', () => {
  // One VM is looked at closely in each pass.
  beforeAll(() => {
    for (const name of ['c', 'd', 'p', 'q']) brig('destroy', '--force', name);
  });

  const chain = (name: string): string => run('/usr/sbin/nft', ['list', 'chain', 'bridge', 'brig', name]).stdout;

  test.each([
    ['flushed', ['flush chain bridge brig from-7901']],
    ['no translation, and one more', ['flush chain inet brig nat-lan', 'insert rule bridge brig from-7901 accept']],
    ['all of them gone', ['delete table bridge brig']],
  ])('are put in force again: %s', async (_, words) => {
    const all = (): string =>
      chain('from-7901') + run('/usr/sbin/nft', ['list', 'chain', 'inet', 'brig', 'nat-lan']).stdout;
    const good = all();
    expect(good).toContain('drop');
    for (const each of words) sh('/usr/sbin/nft', ...each.split(' '));
    expect(all()).not.toBe(good);
    await stage.until('the rules to be as they were', () => all() === good, 80_000);
    await stage.until('the router to be found', () => guest(b).reaches('10.177.0.1', guest(b).four));
    expect(guest(b).reaches('10.177.0.1', '10.177.0.99')).toBe(false);
  });
});
