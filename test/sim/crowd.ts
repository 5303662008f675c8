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

export interface CrowdOptions {
  readonly vms: number;
  /** Defined VMs that run. */
  readonly running: number;
  readonly paths?: { readonly stateDir: string; readonly runDir: string };
}

/**
 * A model with that many VMs, each created and started by the engine, and no brigd on it.
 * A start looks at the whole host; while the crowd is made it looks at a host with one VM instead.
 */
export const crowd = async ({ vms, running, paths }: CrowdOptions): Promise<World> => {
  const options = { cpus: 64, memoryBytes: 2 ** 44 };
  const world = await new World(options, undefined, paths).prepare('shared');
  world.keeper.close();
  const defined = new Set<string>();
  const up = async (name: string, isRunning = true): Promise<void> => {
    await world.create({ name, disks: [{ zvol: { size: '64M' } }], nics: [{}] });
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
