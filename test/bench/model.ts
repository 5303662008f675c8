import { readFragments } from '../../src/io/fragments.ts';
import type { Effect, Host } from '../../src/base/host.ts';
import type { StepDef } from '../../src/base/step.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { perform } from '../../src/saga/perform.ts';
import { World } from '../sim/world.ts';

interface Pair {
  readonly brig: number;
  readonly script: number;
}

const effects = async (world: World, op: 'apply' | 'undo'): Promise<Effect[]> => {
  const { host } = world.model;
  const platform = freebsdPlatform({
    paths: world.config,
    dataset: world.config.dataset,
    fragments: readFragments(),
    allowDevices: [],
  });
  await platform.prepare(host);
  const vm = world.engine.vm('web01');
  const steps = platform.startSteps(vm, 'script', 30_000);
  const seen = await platform.look(host, await platform.observe(host), vm);
  const of = (kind: string): StepDef<unknown, Seen> => platform.catalogue[kind] as unknown as StepDef<unknown, Seen>;
  return op === 'apply'
    ? steps.flatMap((step) => [...of(step.kind).apply(step.args)])
    : [...steps].reverse().flatMap((step) => [...of(step.kind).undo(step.args, seen)]);
};

/** The model's own clock: what the commands cost on a recorded host, not what this machine does. */
const clocked = async (host: Host, work: () => Promise<unknown>): Promise<number> => {
  const startMs = host.now();
  await work();
  return host.now() - startMs;
};

const inOrder = async (host: Host, list: readonly Effect[]): Promise<void> => {
  for (const effect of list) await perform(host, effect);
};

/** A start and a stop through the engine against the bare commands one after the other. Units: model milliseconds. */
export const modelRatio = async (): Promise<{ start: Pair; stop: Pair }> => {
  const world = await new World().prepare();
  const { host } = world.model;
  await world.create();
  const start = await clocked(host, () => world.engine.start('web01', { cause: 'operator' }));
  const stop = await clocked(host, () => world.engine.stop('web01', { cause: 'operator' }));
  const apply = await effects(world, 'apply');
  const scriptStart = await clocked(host, () => inOrder(host, apply));
  const undo = await effects(world, 'undo');
  const scriptStop = await clocked(host, () => inOrder(host, undo));
  world.close();
  return { start: { brig: start, script: scriptStart }, stop: { brig: stop, script: scriptStop } };
};
