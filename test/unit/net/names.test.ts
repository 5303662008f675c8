import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { dnsmasqText, keaText, leaseFiles, unboundText, type NamedNetwork } from '../../../src/net/names.ts';

const LAN: NamedNetwork = {
  name: 'lan',
  interface: 'bridge7001',
  domain: 'lan.internal',
  subnets: [
    { cidr: '10.77.0.0/24', gateway: '10.77.0.1', dns: ['10.77.0.1', '9.9.9.9'] },
    { cidr: 'fd00:77::/64', gateway: 'fd00:77::1', dns: ['fd00:77::1'] },
  ],
  leases: [
    { name: 'web01', nic: 0, mac: '58:9c:fc:00:00:01', addresses: ['10.77.0.2', 'fd00:77::2'] },
    { name: 'web01', nic: 1, mac: '58:9c:fc:00:00:02', addresses: ['10.77.0.3'] },
    { name: 'DB.example_x', nic: 0, mac: '58:9c:fc:00:00:03', addresses: ['fd00:77::9'] },
  ],
};
const BARE: NamedNetwork = { name: 'bare', domain: 'bare.internal', subnets: [], leases: [] };

describe('files of leases', () => {
  test('are what dnsmasq(8) takes', () => {
    const dir = mkdtempSync(join(tmpdir(), 'brig-names-'));
    const file = join(dir, 'dnsmasq.conf');
    writeFileSync(file, dnsmasqText([LAN, BARE]));
    const { status, stderr } = spawnSync('/usr/sbin/dnsmasq', ['--test', '-C', file], { encoding: 'utf8' });
    rmSync(dir, { recursive: true });
    expect([status, stderr]).toEqual([0, 'dnsmasq: syntax check OK.\n']);
  });

  test('say for Kea who has what in which subnet', () => {
    expect(JSON.parse(keaText([LAN, BARE], 4))).toEqual([
      {
        id: 1,
        subnet: '10.77.0.0/24',
        interface: 'bridge7001',
        'option-data': [
          { name: 'routers', data: '10.77.0.1' },
          { name: 'domain-name-servers', data: '10.77.0.1, 9.9.9.9' },
          { name: 'domain-name', data: 'lan.internal' },
        ],
        reservations: [
          { 'hw-address': '58:9c:fc:00:00:01', 'ip-address': '10.77.0.2', hostname: 'web01' },
          { 'hw-address': '58:9c:fc:00:00:02', 'ip-address': '10.77.0.3', hostname: 'web01-1' },
        ],
      },
    ]);
    expect(JSON.parse(keaText([LAN], 6))).toMatchObject([
      {
        reservations: [
          { 'ip-addresses': ['fd00:77::2'], hostname: 'web01' },
          { 'ip-addresses': ['fd00:77::9'], hostname: 'db-example-x' },
        ],
      },
    ]);
  });

  test('say for unbound(8) both ways', () => {
    expect(unboundText([LAN])).toBe(`# Written by brig: changes are lost.
server:
  local-zone: "lan.internal." transparent
  local-data: "web01.lan.internal. IN A 10.77.0.2"
  local-data-ptr: "10.77.0.2 web01.lan.internal."
  local-data: "web01.lan.internal. IN AAAA fd00:77::2"
  local-data-ptr: "fd00:77::2 web01.lan.internal."
  local-data: "web01-1.lan.internal. IN A 10.77.0.3"
  local-data-ptr: "10.77.0.3 web01-1.lan.internal."
  local-data: "db-example-x.lan.internal. IN AAAA fd00:77::9"
  local-data-ptr: "fd00:77::9 db-example-x.lan.internal."
`);
  });

  test('have a name for each format', () => {
    const names = (['dnsmasq', 'kea', 'unbound'] as const).map((format) => Object.keys(leaseFiles(format, [])));
    expect(names).toEqual([['dnsmasq.conf'], ['kea-subnet4.json', 'kea-subnet6.json'], ['unbound.conf']]);
  });
});
