import type { Bridge, GuestAddresses, NetworkPlacement, NicPlacement } from '../../src/base/placed.ts';

/** A network that is nothing but a bridge; `more` overrides. */
export const networkOn = (bridge: Bridge, more: Partial<NetworkPlacement> = {}): NetworkPlacement => ({
  ...{ name: bridge.network, kind: bridge.own ? 'bridge' : 'external', bridge, unit: 7000 },
  ...{ addresses: [], uplinks: [], routes: false, isolation: 'vm' },
  ...more,
});

/** A NIC, without addresses unless `guest` has some. */
export const nicOn = (
  unit: number,
  mac: string,
  bridge: Bridge,
  { addresses = [], gateways = [], dns = [] }: Partial<GuestAddresses> = {},
): NicPlacement => ({
  ...{ unit, mac, network: networkOn(bridge) },
  guest: { addresses, gateways, dns, delegated: [] },
});
