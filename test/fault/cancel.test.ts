import { expect, test } from 'vitest';
import { World } from '../sim/world.ts';

/** Ctrl-C, and a polite end of brigd, are an abort: here at every effect of an operation that can be taken back. */
const cancelAt = async (verb: 'start' | 'create', at: number): Promise<{ reached: boolean; cancelled: boolean }> => {
  const world = await new World().prepare();
  try {
    const bare = await world.inventory();
    if (verb === 'start') await world.create();
    let effects = 0;
    const abort = (): void => world.engine.operations.find('web01')?.abort.abort();
    world.model.onCommand = () => {
      if (++effects === at) abort();
      return undefined;
    };
    const work =
      verb === 'start' ? world.engine.start('web01', { cause: 'operator' }).then(() => undefined) : world.create();
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    world.model.onCommand = undefined;
    const [view] = await world.list();
    if (error) {
      expect(error).toMatchObject({ code: 'saga.cancelled' });
      expect(view?.state, `${verb} cancelled at ${at}`).toBe(verb === 'start' ? 'failed' : undefined);
      expect(await world.inventory()).toEqual(bare);
    } else expect(view?.state).toBe(verb === 'start' ? 'running' : 'defined');
    expect(world.store.listSagas()).toEqual([]);
    return { reached: effects >= at, cancelled: error !== undefined };
  } finally {
    world.close();
  }
};

test.each(['start', 'create'] as const)('%s, interrupted at every command: undone, or too late', async (verb) => {
  let cancelled = 0;
  for (let at = 1; ; at++) {
    const outcome = await cancelAt(verb, at);
    if (!outcome.reached) break;
    if (outcome.cancelled) cancelled++;
  }
  // A sweep in which every interrupt came too late proves nothing.
  expect(cancelled).toBeGreaterThan(verb === 'start' ? 20 : 2);
});
