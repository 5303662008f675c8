import { describe, expect, test } from 'vitest';
import { LIMITS } from '../../../src/base/limits.ts';
import { Operations, type Operation, type Verb } from '../../../src/engine/operation.ts';

/** Work that ends when it is told to, and what has begun so far. */
class Job {
  readonly began: string[] = [];
  readonly #ends = new Map<string, () => void>();

  readonly work = (operation: Operation): Promise<void> => {
    this.began.push(operation.vm);
    return new Promise((resolve) => this.#ends.set(operation.vm, resolve));
  };

  async end(vm: string): Promise<void> {
    this.#ends.get(vm)?.();
    await settle();
  }
}

/** Lets everything that need not wait go on. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

const asked = (
  vm: string,
  verb: Verb = 'start',
  onBegin: (operation: Operation, ahead?: number) => void = () => {},
) => ({
  id: `${verb}-${vm}`,
  vm,
  verb,
  onBegin,
});
const names = (count: number, prefix = 'vm'): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

describe('operations of many VMs', () => {
  test('go on as many at once as there are cores for, the others in the order in which they came', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    const width = LIMITS.workPerCore;
    const told: (number | undefined)[] = [];
    const all = names(width + 3).map((vm) =>
      operations.run(
        asked(vm, 'start', (_, ahead) => told.push(ahead)),
        job.work,
      ),
    );
    await settle();
    expect(job.began).toEqual(names(width));
    expect(told).toEqual([...names(width).map(() => undefined), 0, 1, 2]);
    expect(operations.all().filter(({ queued }) => queued)).toHaveLength(3);
    for (const vm of names(width + 3)) await job.end(vm);
    expect(job.began).toEqual(names(width + 3));
    await Promise.all(all);
    expect(operations.all()).toEqual([]);
  });

  test('that stop, and those of brig itself, do not wait behind starts', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    for (const vm of names(50)) void operations.run(asked(vm), job.work);
    void operations.run(asked('down', 'stop'), job.work);
    void operations.run(asked('crashed', 'clean'), job.work);
    await settle();
    expect(job.began).toEqual([...names(LIMITS.workPerCore), 'down', 'crashed']);
  });

  test('are cancelled while they wait, and the others move up', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    const [first = '', second = '', cancelled = '', after = ''] = names(4);
    const all = names(4).map((vm) => operations.run(asked(vm), job.work));
    await settle();
    operations.find(cancelled)?.abort.abort();
    await expect(all[2]).rejects.toMatchObject({ code: 'saga.cancelled' });
    await job.end(first);
    expect(job.began).toEqual([first, second, after]);
  });

  test('free their turn when they fail', async () => {
    const operations = new Operations(1);
    for (const vm of names(3 * LIMITS.workPerCore))
      await expect(operations.run(asked(vm), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  test('are refused when too many wait', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    for (const vm of names(LIMITS.workPerCore + LIMITS.operationsWaiting)) void operations.run(asked(vm), job.work);
    await expect(operations.run(asked('late'), job.work)).rejects.toMatchObject({ code: 'vm.blocked', retry: 'later' });
    expect(operations.find('late')).toBeUndefined();
  });
});

describe('operations of one owner', () => {
  const of = (owner: string) => (vm: string, verb?: Verb) => ({ ...asked(vm, verb), owner });
  const [alice, bob] = [of('alice'), of('bob')];

  test('take half of the turns, and the others find theirs', async () => {
    const [operations, job] = [new Operations(2), new Job()];
    const half = LIMITS.workPerCore;
    for (const vm of names(50, 'a')) void operations.run(alice(vm), job.work);
    void operations.run(bob('b0'), job.work);
    void operations.run(asked('nobody'), job.work);
    await settle();
    expect(job.began).toEqual([...names(half, 'a'), 'b0', 'nobody']);
    await job.end('a0');
    expect(job.began.at(-1)).toBe(`a${half}`);
  });

  test('are told to come later as anybody is, and a kill waits for no guest', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    for (const vm of names(50, 'a')) void operations.run(alice(vm, 'stop'), job.work);
    void operations.run(alice('now', 'kill'), job.work);
    await settle();
    expect(job.began.at(-1)).toBe('now');
  });
});

describe('what gives its guest time', () => {
  test('gives it none any more, is not begun, or goes on, whichever it is', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    for (const vm of names(2 * LIMITS.waitsPerCore)) operations.run(asked(vm, 'stop'), job.work).catch(() => undefined);
    void operations.run(asked('up', 'start'), job.work);
    await settle();
    const [running, queued] = [operations.find('vm0'), operations.find(`vm${2 * LIMITS.waitsPerCore - 1}`)];
    void operations.hasten('vm0');
    await operations.hasten(`vm${2 * LIMITS.waitsPerCore - 1}`);
    await operations.hasten('up');
    expect([running?.hurry.signal.aborted, running?.abort.signal.aborted]).toEqual([true, false]);
    expect([queued?.hurry.signal.aborted, queued?.abort.signal.aborted]).toEqual([false, true]);
    expect(operations.find('up')?.abort.signal.aborted).toBe(false);
    expect([running, operations.find('up')].map((each) => each && operations.cancel(each))).toEqual([false, true]);
  });
});

describe('two operations of one VM', () => {
  test('exclude each other, even while the first only waits', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    for (const vm of names(5)) void operations.run(asked(vm), job.work);
    await expect(operations.run(asked('vm4', 'stop'), job.work)).rejects.toThrow('stop vm4: blocked: already starting');
  });

  test('of which the first is of brig itself are done one after the other, never together', async () => {
    const [operations, job] = [new Operations(1), new Job()];
    void operations.run(asked('a', 'clean'), job.work);
    const second = operations.run(asked('a', 'start'), job.work);
    const third = operations.run(asked('a', 'stop'), job.work);
    third.catch(() => undefined);
    await settle();
    expect(job.began).toEqual(['a']);
    await job.end('a');
    await expect(third).rejects.toThrow('already starting');
    await job.end('a');
    await second;
  });
});
