import type { NetworkPlacement, Policy } from '../base/placed.ts';
import { renderAddress, type Family } from './address.ts';
import { parseInterface } from './subnet.ts';

/** What may be sent to a guest. */
export type Allow = NonNullable<Policy['allow']>[number];

/** What may pass between a NIC and its network. */
export interface NicRules extends Policy {
  /** The host's end. */
  readonly interface: string;
  readonly mac: string;
}

/** What a network's router does to packets. */
export type NetworkRules = NonNullable<NetworkPlacement['router']>;

/** `10.77.0.5`, `fd00::/64`, `10.0.0.1-10.0.0.9` */
export const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);

export const ofFamily = (texts: readonly string[], family: Family): string[] =>
  texts.filter((text) => familyOf(text) === family);

/** The link-local address that a guest makes of its MAC address. Source: RFC 4291 appendix A */
export const linkLocalOf = (mac: string): string => {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((each) => parseInt(each, 16));
  const bytes = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
  const value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return renderAddress({ family: 6, value: (0xfe80n << 112n) | value });
};

/** As both firewalls write it: without the prefix length of a single address. */
export const plainSubnet = (text: string): string => {
  if (!text.includes('/')) return text;
  const { address, subnet } = parseInterface(text);
  return subnet.prefix === (address.family === 4 ? 32 : 128) ? renderAddress(address) : text;
};
