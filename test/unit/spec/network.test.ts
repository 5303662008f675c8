import { describe, expect, test } from 'vitest';
import { BrigError } from '../../../src/base/errors.ts';
import { overlapping, parseNetwork } from '../../../src/spec/network.ts';

const nat = (more: object = {}): object => ({ name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }], ...more });
const subnet = (more: object): object => nat({ subnets: [{ cidr: '10.77.0.0/24', ...more }] });
const vxlan = (more: object): object => ({ name: 'x', kind: 'vxlan', vni: 42, local: '192.0.2.1', ...more });

const problemsOf = (value: unknown): string[] => {
  try {
    parseNetwork(value);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(BrigError);
    return (error as BrigError).message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
};

describe('a network document', () => {
  test('has every default filled in', () => {
    expect(parseNetwork({ name: 'lan', kind: 'bridge' })).toEqual({
      name: 'lan',
      kind: 'bridge',
      group: 'default',
      labels: {},
      subnets: [],
      delegate: [],
      uplinks: [],
      aware: false,
      moveAddresses: false,
      persistent: false,
      isolation: 'owner',
    });
  });

  test.each<[string, object, string]>([
    ['kind', { name: 'lan', kind: 'lagg' }, 'kind: expected bridge, vlan, vxlan, routed, nat or external, got "lagg"'],
    ['key', nat({ uplinks: ['em0'] }), 'uplinks: expected no such key, got it'],
    [
      'host bits',
      nat({ subnets: [{ cidr: '10.77.0.1/24' }] }),
      'subnets[0].cidr: expected no host bits, as in 10.77.0.0/24, got "10.77.0.1/24"',
    ],
    [
      'zone',
      subnet({ gateway: 'fe80::1%em0' }),
      'subnets[0].gateway: expected an address without a zone, got "fe80::1%em0"',
    ],
    [
      'gateway outside',
      subnet({ gateway: '10.78.0.1' }),
      'subnets[0].gateway: expected an address within 10.77.0.0/24, got "10.78.0.1"',
    ],
    [
      'gateway of the other family',
      subnet({ gateway: 'fd00::1' }),
      'subnets[0].gateway: expected an address within 10.77.0.0/24, got "fd00::1"',
    ],
    [
      'gateway that nobody has',
      subnet({ gateway: '10.77.0.255' }),
      'subnets[0].gateway: expected an address that a host may have, not the network\'s own or its broadcast address, got "10.77.0.255"',
    ],
    [
      'range outside',
      subnet({ ranges: ['10.77.0.250-10.77.1.5'] }),
      'subnets[0].ranges[0]: expected a range within 10.77.0.0/24, got "10.77.0.250-10.77.1.5"',
    ],
    [
      'range of two families',
      subnet({ ranges: ['10.77.0.1-fd00::1'] }),
      'subnets[0].ranges[0]: expected a range FIRST-LAST of one family, got "10.77.0.1-fd00::1"',
    ],
    [
      'reservation of the gateway',
      subnet({ gateway: '10.77.0.1', reservations: [{ address: '10.77.0.1', vm: 'a' }] }),
      'subnets[0].reservations[0].address: expected an address that is not the gateway, got "10.77.0.1"',
    ],
    [
      'reservation twice',
      subnet({
        reservations: [
          { address: '10.77.0.9', vm: 'a' },
          { address: '10.77.0.9', vm: 'b' },
        ],
      }),
      'subnets[0].reservations[1].address: expected each address once, got "10.77.0.9"',
    ],
    [
      'overlap',
      nat({ subnets: [{ cidr: '10.0.0.0/8' }, { cidr: '10.77.0.0/24' }] }),
      'subnets[1].cidr: expected a subnet that does not overlap 10.0.0.0/8, got "10.77.0.0/24"',
    ],
    ['no subnet', nat({ subnets: [] }), 'subnets: expected at least one, for the host is the router, got []'],
    [
      'interface name',
      { name: 'a', kind: 'external', bridge: 'averyveryverylongname' },
      'bridge: expected at most 15, got "averyveryverylongname"',
    ],
    ['VLAN', { name: 'a', kind: 'vlan', uplink: 'em0', tag: 4095 }, 'tag: expected at most 4094, got 4095'],
    [
      'VXLAN ends',
      vxlan({}),
      'document: expected one of remote and multicast, got {"name":"x","kind":"vxlan","vni":42,"local":"192.0.2.1"}',
    ],
    ['VXLAN families', vxlan({ remote: 'fd00::1' }), 'remote: expected an address of IPv4, as local is, got "fd00::1"'],
    [
      'MTU',
      nat({ mtu: 1000, subnets: [{ cidr: 'fd00::/64' }] }),
      'mtu: expected at least 1280, which IPv6 needs, got 1000',
    ],
    [
      'delegation',
      nat({ delegate: [{ cidr: 'fd00::/48', prefix: 40 }] }),
      'delegate[0].prefix: expected a prefix length from 48 to 128, got 40',
    ],
  ])('%s', (_, value, line) => {
    expect(problemsOf(value)).toContain(line);
  });

  test('tells every problem at once', () => {
    expect(problemsOf(nat({ mtu: 1, subnets: [{ cidr: '10.77.0.1/24' }], interface: '0' }))).toHaveLength(3);
  });
});

describe('two networks', () => {
  const a = parseNetwork(nat());
  const b = (more: object) => parseNetwork({ ...nat(), name: 'b', subnets: [{ cidr: '10.77.0.128/25' }], ...more });

  test('of one group do not overlap', () => {
    expect(overlapping(a, b({}))).toEqual({ own: '10.77.0.0/24', other: '10.77.0.128/25' });
  });

  test('of two groups may', () => {
    expect(overlapping(a, b({ group: 'lab' }))).toBeUndefined();
  });
});
