import type { Seen } from '../../src/freebsd/observe.ts';
import type { Vm } from '../../src/platform/platform.ts';
import { World } from './world.ts';

const FIRST = 'v0';
const NONE = new Set<string>();

/** What a look would show of a VM that is defined and does not run: much less than a look at all the others. */
const seenOf = (stale: Seen, vm: Vm, defined: ReadonlySet<string>): Seen => {
  const { name } = vm.spec;
  const focus = { inside: new Map(), rules: '', runFiles: NONE, configFiles: NONE, diskFiles: NONE };
  if (!defined.has(name)) return { ...stale, focus };
  const renamed = JSON.parse(JSON.stringify([...stale.datasets]).replaceAll(FIRST, name)) as [string, never][];
  return { ...stale, stateDirs: new Set([name]), datasets: new Map(renamed), focus };
};

const OWNED = 10;

export interface CrowdOptions {
  readonly vms: number;
  /** Defined VMs that run. */
  readonly running: number;
  /** Networks that translate, among which the VMs are; none: all are on one bridge. */
  readonly networks?: number;
  /** Whose the first ten of them are. */
  readonly owner?: string;
  readonly paths?: { readonly stateDir: string; readonly runDir: string };
}

/**
 * A model with that many VMs, each created and started by the engine, and no brigd on it.
 * A start looks at the whole host; while the crowd is made it looks at a host with one VM instead.
 */
export const crowd = async ({ vms, running, paths, owner, networks = 0 }: CrowdOptions): Promise<World> => {
  const options = { cpus: 64, memoryBytes: 2 ** 44 };
  const world = await new World(options, undefined, paths).prepare('shared');
  world.keeper.close();
  if (networks > 0) await world.filter();
  for (let i = 0; i < networks; i++) {
    const subnets = [{ cidr: `10.${100 + (i >> 8)}.${i & 255}.0/24` }, { cidr: `fd00:${i.toString(16)}::/64` }];
    await world.engine.networks.create({ name: `n${i}`, kind: 'nat', subnets }, { cause: 'operator' });
  }
  const defined = new Set<string>();
  const up = async (name: string, isRunning = true): Promise<void> => {
    await world.create({
      name,
      ...(owner !== undefined && Number(name.slice(1)) < OWNED ? { owner } : {}),
      disks: [{ zvol: { size: '64M' } }],
      nics: [networks > 0 ? { network: `n${Number(name.slice(1)) % networks}` } : {}],
    });
    defined.add(name);
    if (isRunning) await world.engine.start(name, { cause: 'operator' });
  };
  await up(FIRST);
  const { platform } = world;
  const real = { ...platform };
  const stale = await platform.observe(world.mortal.host, 'all');
  Object.assign(platform, {
    observe: () => Promise.resolve(stale),
    look: (_: unknown, __: unknown, vm: Vm) => Promise.resolve(seenOf(stale, vm, defined)),
    precheck: () => Promise.resolve([]),
  });
  for (let i = 1; i < vms; i++) await up(`v${i}`, i < running);
  Object.assign(platform, real);
  world.die();
  return world;
};
