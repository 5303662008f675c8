import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dnsmasqText } from '../../src/net/names.ts';

const MAC = '58:9c:fc:00:00:01';
const dir = mkdtempSync(join(tmpdir(), 'brig-dhcp-'));
let server: ChildProcess | undefined;

const ip = (...args: string[]): void => {
  const { status, stderr } = spawnSync('/usr/sbin/ip', args, { encoding: 'utf8' });
  expect([status, stderr], args.join(' ')).toEqual([0, '']);
};
const guest = (...args: string[]) =>
  spawnSync('/usr/sbin/ip', ['netns', 'exec', 'dhcpguest', ...args], { encoding: 'utf8' });

beforeAll(async () => {
  for (const space of ['dhcphost', 'dhcpguest']) ip('netns', 'add', space);
  ip('link', 'add', 'bridge7001', 'netns', 'dhcphost', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'dhcpguest');
  ip('-n', 'dhcphost', 'address', 'add', '10.77.0.1/24', 'dev', 'bridge7001');
  ip('-n', 'dhcphost', 'link', 'set', 'dev', 'bridge7001', 'up');
  ip('-n', 'dhcpguest', 'link', 'set', 'dev', 'eth0', 'address', MAC, 'up');
  const conf = join(dir, 'dnsmasq.conf');
  const network = {
    ...{ name: 'lan', interface: 'bridge7001', domain: 'lan.internal' },
    subnets: [{ cidr: '10.77.0.0/24', gateway: '10.77.0.1', dns: ['10.77.0.1'] }],
    leases: [
      { name: 'web01', nic: 0, mac: MAC, addresses: ['10.77.0.5'] },
      { name: 'db', nic: 0, mac: '58:9c:fc:00:00:02', addresses: ['10.77.0.6'] },
    ],
  };
  writeFileSync(conf, dnsmasqText([network]));
  const own = ['--keep-in-foreground', '--no-resolv', '--no-hosts', '--bind-interfaces', '--user=root'];
  const files = [`--conf-file=${conf}`, `--dhcp-leasefile=${join(dir, 'leases')}`, `--pid-file=${join(dir, 'pid')}`];
  server = spawn('/usr/sbin/ip', ['netns', 'exec', 'dhcphost', '/usr/sbin/dnsmasq', ...own, ...files]);
  await sleep(500);
});

afterAll(() => {
  server?.kill('SIGTERM');
  for (const space of ['dhcphost', 'dhcpguest']) spawnSync('/usr/sbin/ip', ['netns', 'delete', space]);
  rmSync(dir, { recursive: true });
});

/** What a DHCP client is told: its address, routers and servers of names. */
const ask = (): { status: number | null; told: string } => {
  const told = join(dir, 'told');
  const script = join(dir, 'script');
  writeFileSync(told, '');
  writeFileSync(script, `#!/bin/sh\n[ "$1" != bound ] || echo "$ip/$mask $router $dns $hostname" > ${told}\n`);
  chmodSync(script, 0o755);
  const words = ['udhcpc', '-n', '-q', '-f', '-t', '3', '-T', '1', '-i', 'eth0', '-s', script];
  const { status } = guest('/bin/busybox', ...words);
  return { status, told: readFileSync(told, 'utf8').trim() };
};

test('dnsmasq(8) gives a guest what brig leased to it, and knows everybody by name', () => {
  expect(ask()).toEqual({ status: 0, told: '10.77.0.5/24 10.77.0.1 10.77.0.1 web01' });
  ip('-n', 'dhcpguest', 'address', 'add', '10.77.0.5/24', 'dev', 'eth0');
  const { stdout } = guest('/bin/busybox', 'nslookup', 'db.lan.internal', '10.77.0.1');
  expect(stdout).toContain('10.77.0.6');
});

test('and nobody else an address', () => {
  ip('-n', 'dhcpguest', 'link', 'set', 'dev', 'eth0', 'address', '58:9c:fc:00:00:99');
  expect(ask()).toEqual({ status: 1, told: '' });
});
