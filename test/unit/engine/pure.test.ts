import { describe, expect, test } from 'vitest';
import { nearest } from '../../../src/engine/nearest.ts';
import { decide } from '../../../src/engine/restart.ts';
import { Shared } from '../../../src/engine/shared.ts';
import { parseExitFile, renderExit, toExit } from '../../../src/platform/exit.ts';

const policy = { policy: 'on-failure', max: 3, windowSeconds: 30 } as const;

describe('restart policy', () => {
  test.each([
    ['on-failure', 137, true],
    ['on-failure', 1, false],
    ['on-failure', 4, true],
    ['on-failure', 0, true],
    ['always', 1, true],
    ['never', 137, false],
  ] as const)('%s after status %i restarts: %s', (name, status, restart) => {
    expect(decide({ ...policy, policy: name }, toExit(status, ''), [], 0).restart).toBe(restart);
  });

  test('a crash loop ends: the fourth within the window is the last', () => {
    const crash = toExit(134, '');
    expect(decide(policy, crash, [1000, 2000], 3000)).toEqual({ restart: true, afterMs: 1000 });
    expect(decide(policy, crash, [1000, 2000, 3000], 4000)).toMatchObject({
      restart: false,
      reason: expect.stringContaining('4 times within 30 s') as string,
    });
  });

  test('old crashes are forgotten', () => {
    expect(decide(policy, toExit(134, ''), [1000, 2000, 3000], 60_000)).toEqual({ restart: true, afterMs: 0 });
    const often = Array.from({ length: 900 }, (_, i) => i);
    const patient = { ...policy, max: 1_000, windowSeconds: 3_600 };
    expect(decide(patient, toExit(134, ''), often, 1_000), 'bounded').toEqual({ restart: true, afterMs: 60_000 });
  });
});

describe('exit status', () => {
  test.each([
    [0, '', 'reset'],
    [1, '', 'poweroff'],
    [1, 'Usage: bhyve [-aCDeHhPSuWwxY]', 'refused'],
    [1, 'jexec: jail "x" not found', 'refused'],
    [2, '', 'halted'],
    [3, '', 'tripleFault'],
    [4, '', 'error'],
    [64, '', 'refused'],
    [71, '', 'refused'],
    [100, '', 'unknown'],
    [134, '', 'signal'],
    [137, '', 'signal'],
  ])('%i %s is %s', (status, stderr, kind) => {
    expect(toExit(status, stderr).kind).toBe(kind);
  });

  test('a file says which run it is of', () => {
    expect(parseExitFile('run1 137 1795398031\n', '')).toEqual({
      run: 'run1',
      exit: { kind: 'signal', status: 137, signal: 9 },
      atMs: 1795398031000,
    });
    expect(parseExitFile('run1 13', '')).toBeUndefined();
    expect(renderExit(toExit(137, ''))).toBe('signal 9');
  });
});

test('the nearest name is offered only when it is near', () => {
  expect(nearest('web1', ['web01', 'db01'])).toBe('web01');
  expect(nearest('strat', ['start', 'stop'])).toBe('start');
  expect(nearest('xyz', ['web01'])).toBeUndefined();
});

test('nobody looks for what is near to a name without end, or among names without end', () => {
  expect(nearest('a'.repeat(65), ['a'.repeat(64)])).toBeUndefined();
  expect(nearest('web1', Array(201).fill('web01') as string[])).toBeUndefined();
  expect(nearest('web1', Array(200).fill('web01') as string[])).toBe('web01');
});

describe('shared resources', () => {
  test('only the last user undoes', async () => {
    const shared = new Shared();
    const undone: string[] = [];
    const undo = (vm: string) =>
      shared.for(vm).undo('bridge', () => Promise.resolve(undone.push(vm)).then(() => undefined));
    await shared.claim('a', ['bridge']);
    await shared.claim('b', ['bridge']);
    await undo('a');
    shared.release('a');
    await undo('b');
    expect(undone).toEqual(['b']);
  });

  test('a claim waits for an undo that is under way', async () => {
    const shared = new Shared();
    const order: string[] = [];
    await shared.claim('a', ['bridge']);
    const undo = shared.for('a').undo('bridge', async () => {
      await Promise.resolve();
      order.push('undone');
    });
    await shared.claim('b', ['bridge']).then(() => order.push('claimed'));
    await undo;
    expect(order).toEqual(['undone', 'claimed']);
  });
});
