import { afterEach, describe, expect, test } from 'vitest';
import type { World } from './world.ts';
import { crowd } from './crowd.ts';

const operator = { cause: 'operator' } as const;
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `v${i}`);

let world: World | undefined;
afterEach(() => world?.close());

/** Processes of the host that it takes. */
const commandsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const before = world?.model.commands ?? 0;
  await work();
  return (world?.model.commands ?? 0) - before;
};

describe('many VMs cost', () => {
  test('a brigd that comes up as many processes as one VM, and all are adopted', async () => {
    world = await crowd({ vms: 1, running: 1 });
    const one = await commandsOf(() => world?.boot() ?? Promise.resolve());
    world.close();
    world = await crowd({ vms: 300, running: 300 });
    expect(await commandsOf(() => world?.boot() ?? Promise.resolve())).toBe(one);
    const adopted = world.events.list(0, 100_000).filter(({ kind }) => kind === 'vm.adopted');
    expect(new Set(adopted.map(({ vm }) => vm))).toEqual(new Set(names(300)));
  });

  test('a pass at most eight processes, none of which changes anything, and each sees what somebody changed', async () => {
    world = await crowd({ vms: 300, running: 300 });
    await world.boot();
    for (let i = 0; i < 5; i++)
      expect(await commandsOf(() => world?.keeper.pass() ?? Promise.resolve())).toBeLessThan(9);
    expect(world.reconciler.findings()).toEqual([]);
    await world.shell('/sbin/ifconfig', 'epair7123a', 'destroy');
    await world.shell('/usr/bin/rctl', '-r', 'jail:brig-v250');
    await world.keeper.pass();
    await world.reconciler.settled();
    const repaired = world.events.list(0, 100_000).filter(({ kind }) => kind === 'vm.repaired');
    expect(new Set(repaired.map(({ vm }) => vm))).toEqual(new Set(['v123', 'v250']));
    expect(await world.engine.examine('v123')).toEqual([]);
    expect(await world.engine.examine('v250')).toEqual([]);
  });

  test('starts at once their turns, in order; none fails, and whoever waits is told', async () => {
    world = await crowd({ vms: 60, running: 1 });
    await world.boot();
    const { engine, events } = world;
    let most = 0;
    const ended: string[] = [];
    events.listen(() => {
      most = Math.max(most, engine.operations.all().filter(({ queued }) => !queued).length);
    });
    const starts = names(60)
      .slice(1)
      .map((name) => engine.start(name, operator).then(() => ended.push(name)));
    await Promise.resolve();
    expect((await engine.show('v59')).queued).toBe('start');
    const stop = engine.stop('v0', { ...operator, graceMs: 0 }).then(() => ended.push('stop'));
    await Promise.all([...starts, stop]);
    expect(most, 'two cores, two starts each, and a stop').toBeLessThanOrEqual(5);
    expect(ended.indexOf('stop'), 'a stop does not wait for starts').toBeLessThan(10);
    const order = ended.filter((name) => name !== 'stop').map((name) => Number(name.slice(1)) - 1);
    expect(Math.max(...order.map((asked, i) => Math.abs(asked - i))), 'places from its own').toBeLessThan(8);
    expect(
      events
        .list(0, 100_000)
        .filter(({ kind }) => kind === 'vm.queued')
        .map(({ data }) => data.ahead),
    ).toEqual(Array.from({ length: 55 }, (_, i) => i));
    expect((await world.list()).map(({ state }) => state).sort()).toEqual([
      'defined',
      ...names(59).map(() => 'running'),
    ]);
  });
});
