import { afterEach, beforeEach, expect, test } from 'vitest';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
beforeEach(async () => {
  world = await new World().prepare();
});
afterEach(() => world.close());

test('each harder stage of a stop is an event', async () => {
  await world.create();
  await world.engine.start('web01', operator);
  world.model.guest('web01').ignoreAcpi = true;
  await world.engine.stop('web01', { ...operator, graceMs: 5_000 });
  const stages = world.events.list(0, 1_000, 'web01').filter(({ kind }) => kind === 'step.stage');
  expect(stages.map(({ data }) => data.stage)).toEqual(['ACPI power button', 'forced power-off']);
});

test('a guest that is given an hour is killed at once when somebody says so', async () => {
  await world.create();
  await world.engine.start('web01', operator);
  world.model.guest('web01').ignoreAcpi = true;
  const begun = world.model.host.now();
  const stop = world.engine.stop('web01', { ...operator, graceMs: 3_600_000 });
  expect(await world.engine.stop('web01', { ...operator, graceMs: 0 })).toEqual({ changed: false });
  expect(await stop).toEqual({ changed: true });
  expect(world.model.host.now() - begun).toBeLessThan(60_000);
  expect(await world.state()).toBe('defined');
});
