import { collapseIPv6Number, IPv4, IPv6 } from 'ip-num';
import { BrigError } from '../base/errors.ts';

export type Family = 4 | 6;

/** One address as a number. */
export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export const BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

/** Addresses and prefixes that make no sense, as a value that can be shown: expected what, got what. */
export const invalid = (expected: string, got: string): BrigError =>
  new BrigError('net.invalid', `expected ${expected}, got ${got}`);

/** Of every spelling of an address the one that ip-num reads: RFC 4291 allows a dotted end. */
const plain = (text: string): string => {
  const end = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (!end) return text;
  const value = new IPv4(end[2] ?? '').getValue();
  return `${end[1]}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
};

/**
 * An address without a prefix length.
 * Shape:  `10.77.0.5` or `fd00::5`; no zone (`%em0`), no leading zeros.
 * Errors: net.invalid
 */
export const parseAddress = (text: string): Address => {
  if (text.includes('%')) throw invalid('an address without a zone', text);
  try {
    if (!text.includes(':')) return { family: 4, value: new IPv4(text).getValue() };
    return { family: 6, value: new IPv6(plain(text)).getValue() };
  } catch {
    throw invalid('an IP address', text);
  }
};

/** As RFC 5952 writes it. */
export const renderAddress = ({ family, value }: Address): string =>
  family === 4 ? new IPv4(value).toString() : collapseIPv6Number(new IPv6(value).toString());
