import { BlockList } from 'node:net';
import { describe, expect, test } from 'vitest';
import { parseAddress, renderAddress, type Address } from '../../../src/net/address.ts';
import {
  contains,
  hasAddress,
  overlap,
  parseInterface,
  parseRange,
  parseSubnet,
  rangeOf,
  renderRange,
  renderSubnet,
  reserved,
  sizeOf,
  subnetAround,
  without,
} from '../../../src/net/subnet.ts';
import { chance as seeded } from '../../soak/chance.ts';

/** A random address in which runs of zeros are common, as a number. */
const anyAddress = (chance: (below: number) => number, family: 4 | 6): Address => {
  const groups = family === 4 ? 2 : 8;
  let value = 0n;
  for (let i = 0; i < groups; i++) value = (value << 16n) | BigInt(chance(2) ? chance(0x10000) : 0);
  return { family, value };
};

const times = (count: number, work: (chance: (below: number) => number) => void): void => {
  for (let seed = 0; seed < count; seed++) work(seeded(seed));
};

describe('an address', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['::', '::'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ])('%s is written %s', (text, written) => {
    expect(renderAddress(parseAddress(text))).toBe(written);
  });

  test.each([
    ['fe80::1%em0', 'expected an address without a zone, got fe80::1%em0'],
    ['10.0.0', 'expected an IP address, got 10.0.0'],
    ['010.0.0.1', 'expected an IP address, got 010.0.0.1'],
    ['10.0.0.256', 'expected an IP address, got 10.0.0.256'],
    ['1::2::3', 'expected an IP address, got 1::2::3'],
    ['', 'expected an IP address, got '],
    ['::1.2.3', 'expected an IP address, got ::1.2.3'],
  ])('%j is refused', (text, message) => {
    expect(() => parseAddress(text)).toThrow(message);
  });

  test('is read and written as the URL standard does it, whatever it is', () => {
    times(2000, (chance) => {
      const address = anyAddress(chance, 6);
      const text = renderAddress(address);
      expect(`[${text}]`).toBe(new URL(`http://[${text}]`).hostname);
      expect(parseAddress(text)).toEqual(address);
      const four = anyAddress(chance, 4);
      expect(new URL(`http://${four.value}`).hostname).toBe(renderAddress(four));
    });
  });
});

describe('a subnet', () => {
  test('has the addresses that another implementation finds in it', () => {
    times(1000, (chance) => {
      const family = chance(2) ? 4 : 6;
      const prefix = chance(family === 4 ? 33 : 129);
      const subnet = subnetAround(anyAddress(chance, family), prefix);
      const list = new BlockList();
      const type = family === 4 ? 'ipv4' : 'ipv6';
      list.addSubnet(renderAddress({ family, value: subnet.first }), prefix, type);
      expect(parseSubnet(renderSubnet(subnet))).toEqual(subnet);
      const { first, last } = rangeOf(subnet);
      const near = [first - 1n, first, last, last + 1n].filter(
        (each) => each >= 0n && each >> (family === 4 ? 32n : 128n) === 0n,
      );
      for (const value of [...near, anyAddress(chance, family).value])
        expect(hasAddress(subnet, { family, value })).toBe(list.check(renderAddress({ family, value }), type));
      expect(last - first + 1n).toBe(sizeOf(subnet));
    });
  });

  test.each([
    ['10.0.0.1/24', 'expected no host bits, as in 10.0.0.0/24, got 10.0.0.1/24'],
    ['fd00::1/64', 'expected no host bits, as in fd00::/64, got fd00::1/64'],
    ['10.0.0.0', 'expected an address with its prefix length'],
    ['10.0.0.0/33', 'expected a prefix length from 0 to 32, got 33'],
    ['10.0.0.0/08', 'expected a prefix length from 0 to 32, got 08'],
    ['10.0.0.0/', 'expected a prefix length from 0 to 32, got '],
    ['fe80::%em0/64', 'expected an address without a zone'],
  ])('%s is refused', (text, message) => {
    expect(() => parseSubnet(text)).toThrow(message);
  });

  test.each([
    ['10.0.0.0/24', ['10.0.0.0', '10.0.0.255']],
    ['10.0.0.0/31', []],
    ['10.0.0.0/32', []],
    ['fd00::/64', ['fd00::']],
    ['fd00::/127', []],
  ])('%s keeps %j back', (text, kept) => {
    expect(reserved(parseSubnet(text)).map(renderRange)).toEqual(kept);
  });

  test('of an interface is the one around its address', () => {
    expect(renderSubnet(parseInterface('10.77.0.5/24').subnet)).toBe('10.77.0.0/24');
  });
});

describe('a range', () => {
  test.each([
    ['10.0.0.1-10.0.0.9', '10.0.0.1-10.0.0.9'],
    ['10.0.0.1', '10.0.0.1'],
    ['10.0.0.0/30', '10.0.0.0-10.0.0.3'],
  ])('%s', (text, written) => {
    expect(renderRange(parseRange(text))).toBe(written);
  });

  test.each(['10.0.0.9-10.0.0.1', '10.0.0.1-fd00::1', '10.0.0.1-10.0.0.2-10.0.0.3'])('%s is refused', (text) => {
    expect(() => parseRange(text)).toThrow('expected a range FIRST-LAST of one family');
  });

  test('without others has what is in it and in none of them', () => {
    times(500, (chance) => {
      const some = (): { family: 4; first: bigint; last: bigint } => {
        const first = BigInt(chance(40));
        return { family: 4, first, last: first + BigInt(chance(20)) };
      };
      const whole = some();
      const others = [some(), some(), some()];
      const left = without(whole, others);
      for (let value = 0n; value < 64n; value++) {
        const one = { family: 4, first: value, last: value } as const;
        const isIn = contains(whole, one) && !others.some((other) => overlap(other, one));
        expect(left.filter((each) => contains(each, one))).toHaveLength(isIn ? 1 : 0);
      }
    });
  });
});
