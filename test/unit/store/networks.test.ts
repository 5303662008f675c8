import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BrigError } from '../../../src/base/errors.ts';
import { overlap, rangeOf, renderSubnet } from '../../../src/net/subnet.ts';
import { parseAttachment } from '../../../src/spec/attachment.ts';
import { parseNetwork } from '../../../src/spec/network.ts';
import { parseVm } from '../../../src/spec/vm.ts';
import { Store } from '../../../src/store/store.ts';
import { chance } from '../../soak/chance.ts';

const NETWORKS = [
  { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.1.0.0/27' }, { cidr: 'fd00:1::/124' }] },
  {
    name: 'p2p',
    kind: 'routed',
    subnets: [{ cidr: '10.2.0.0/27' }],
    prefix4: 31,
    delegate: [{ cidr: 'fd00:2::/58', prefix: 64 }],
  },
  {
    ...{ name: 'kept', kind: 'bridge' },
    subnets: [
      {
        cidr: '10.3.0.0/28',
        ranges: ['10.3.0.4-10.3.0.12'],
        exclude: ['10.3.0.5'],
        reservations: [{ address: '10.3.0.6', vm: 'v1', nic: 0 }],
      },
    ],
  },
];
const NAMES = Array.from({ length: 24 }, (_, i) => `v${i}`);

const NOWHERE = { family: 4, first: 0n, prefix: 32 } as const;

/** What one step of a history may end with beside success. */
const REFUSALS = ['net.exhausted', 'net.taken', 'net.invalid', 'vm.exists', 'network.exists', 'vm.blocked'];

const tryTo = (work: () => void): void => {
  try {
    work();
  } catch (error) {
    if (!(error instanceof BrigError) || !REFUSALS.includes(error.code)) throw error;
  }
};

/** No two leases of a network meet, and what is free is what nobody has. */
const check = (store: Store): void => {
  for (const { name } of store.networks.list()) {
    const leases = store.networks.leases(name);
    leases.forEach((one, i) => {
      const other = leases.slice(i + 1).find(({ block }) => overlap(rangeOf(block), rangeOf(one.block)));
      expect(other && renderSubnet(other.block), `${name}: ${renderSubnet(one.block)}`).toBeUndefined();
    });
    const given = new Set(leases.map(({ block }) => renderSubnet(block)));
    for (const family of [4, 6] as const)
      tryTo(() => expect(given).not.toContain(renderSubnet(store.networks.ipam(name)?.next(family) ?? NOWHERE)));
    const holders = new Set([
      ...store.listVms().map((row) => row.name),
      ...store.attachments.list().map(({ spec }) => `jail/${spec.jail}`),
    ]);
    for (const { holder } of leases) expect([...holders]).toContain(holder);
  }
};

test.each([1, 2, 3, 4, 5, 6, 7, 8])('history %i of operators who never meet gives no address twice', (seed) => {
  const pick = chance(seed);
  const one = <T>(list: readonly T[]): T => list[pick(list.length)] as T;
  const dir = mkdtempSync(join(tmpdir(), 'brig-leases-'));
  let store = new Store(join(dir, 'brig.db'));
  for (const network of NETWORKS) store.networks.add(parseNetwork(network), 0);
  const nic = (): object => {
    const network = one(NETWORKS).name;
    const wish =
      pick(4) === 0 ? [one(['10.1.0.7/27', '10.2.0.9/31', '10.3.0.6/28', '10.3.0.9/28', '10.9.0.1/24'])] : [];
    return { network, addresses: wish };
  };
  const acts = [
    () =>
      store.addVm(parseVm({ name: one(NAMES), firmware: { builtin: 'test' }, cloudInit: {}, nics: [nic(), nic()] }), 0),
    () => store.addVm(parseVm({ name: one(NAMES), firmware: { builtin: 'test' }, cloudInit: {}, nics: [nic()] }), 0),
    () => store.removeVm(one(NAMES)),
    () => store.attach(one(NETWORKS).name, parseAttachment({ jail: one(NAMES) }), 0),
    () => store.detach(one(NETWORKS).name, one(NAMES)),
    () => {
      // What a brigd that died had, its successor knows.
      const before = NETWORKS.map(({ name }) => store.networks.fill(name));
      store.close();
      store = new Store(join(dir, 'brig.db'));
      expect(NETWORKS.map(({ name }) => store.networks.fill(name))).toEqual(before);
    },
  ];
  for (let step = 0; step < 150; step++) {
    tryTo(one(acts));
    check(store);
  }
  for (const name of NAMES) {
    store.removeVm(name);
    for (const network of NETWORKS) store.detach(network.name, name);
  }
  for (const { name } of NETWORKS) {
    expect(store.networks.leases(name)).toEqual([]);
    for (const { size, free } of store.networks.fill(name)) expect(free).toBe(size);
  }
  store.close();
  rmSync(dir, { recursive: true });
});
