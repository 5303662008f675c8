/**
 * Networks as brig counts and writes them, without a host: what is here is pure, stable and documented in docs/net.md.
 * Errors: BrigError with net.invalid, net.exhausted or net.taken; its message says what was expected and what came.
 */
export { parseAddress, renderAddress, type Address, type Family } from './address.ts';
export {
  contains,
  hasAddress,
  overlap,
  parseInterface,
  parseRange,
  parseSubnet,
  rangeOf,
  renderInterface,
  renderRange,
  renderSubnet,
  reserved,
  sizeOf,
  subnetAround,
  without,
  type Interface,
  type Range,
  type Subnet,
} from './subnet.ts';
export { endsOf, Ipam, type Fill, type IpamOptions, type SubnetText } from './ipam.ts';
export { deriveMac } from './mac.ts';
export { linkLocalOf, type Allow, type NetworkRules, type NicRules } from './rules.ts';
export { networkAnchor, vmAnchor, type PfHost, type PfNic } from './pf.ts';
export { networkTexts, nicsTexts, noNetworkTexts, noNicsTexts, type NicPart } from './nft.ts';
export { leaseFiles, type Format, type NamedLease, type NamedNetwork } from './names.ts';
