import { BrigError } from '../base/errors.ts';
import { renderBytes } from '../base/units.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Store } from '../store/store.ts';

/** Sizes of a VM's own disks. Units: bytes. */
export const diskBytes = ({ disks }: Pick<VmSpec, 'disks'>): number[] =>
  disks.flatMap((disk) => ('zvol' in disk ? [disk.zvol.size] : 'file' in disk ? [disk.file.size] : []));

const sum = (spec: VmSpec): number => diskBytes(spec).reduce((all, bytes) => all + bytes, 0);

/**
 * Refuses a VM that would give its owner more disk than this node allows; what is under way counts as if it were done.
 * Nothing may be waited for between this and what the store is told. Errors: vm.blocked.
 */
export const checkQuota = (verb: string, spec: VmSpec, store: Store, { quotas }: Pick<Config, 'quotas'>): void => {
  const most = spec.owner === undefined ? undefined : quotas[spec.owner]?.disk;
  if (most === undefined) return;
  const pending = new Map(store.listSagas().flatMap(({ vm, pending: each }) => (each?.spec ? [[vm, each.spec]] : [])));
  const others = store.listVms().filter(({ name, spec: { owner } }) => name !== spec.name && owner === spec.owner);
  const used = others.reduce((all, row) => all + Math.max(sum(row.spec), sum(pending.get(row.name) ?? row.spec)), 0);
  if (used + sum(spec) <= most) return;
  throw new BrigError(
    'vm.blocked',
    `${verb} ${spec.name}: blocked: expected at most ${renderBytes(most)} of disks for ${spec.owner}, got ${renderBytes(used + sum(spec))} with this`,
    { retry: 'operator', hint: 'destroy what is not needed, or raise quotas in brig.yaml' },
  );
};
