import type { Bridge } from '../base/placed.ts';
import { BrigError } from '../base/errors.ts';
import type { Vm } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { VmRow } from '../store/rows.ts';

type Numbers = Pick<Config, 'slotBase' | 'unitBase' | 'networks'>;

/** The network that needs no configuration: a bridge of brig's own without an uplink. */
const DEFAULT = 'default';

const bridgeOf = (network: string, config: Numbers): Bridge => {
  const external = config.networks[network];
  return external
    ? { network, name: external.bridge, own: false }
    : { network, name: `bridge${config.unitBase}`, own: true };
};

/** Refuses what this node does not have, before anything is leased. Errors: vm.blocked. */
export const checkNetworks = (spec: VmSpec, config: Numbers): void => {
  const known = [DEFAULT, ...Object.keys(config.networks)];
  const unknown = spec.nics.map((nic) => nic.network).filter((network) => !known.includes(network));
  if (unknown.length === 0) return;
  throw new BrigError(
    'vm.blocked',
    `place ${spec.name}: expected network ${known.join(' or ')}, got ${unknown.join(', ')}`,
    {
      retry: 'operator',
      hint: 'add it to networks in brig.yaml, with the bridge it uses',
    },
  );
};

/** A VM with the names of all it is made of. */
export const place = (row: VmRow, config: Numbers): Vm => ({
  spec: row.spec,
  place: {
    slot: row.slot,
    uid: config.slotBase + row.slot,
    secretName: row.secretName,
    nics: row.nics.map((lease, i) => ({
      unit: config.unitBase + lease.unit,
      mac: lease.mac,
      bridge: bridgeOf(row.spec.nics[i]?.network ?? DEFAULT, config),
    })),
  },
});
