import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { OperationListener } from '../../../src/api/wire.ts';
import { BrigError } from '../../../src/base/errors.ts';
import type { Call } from '../../../src/cli/command.ts';
import { hasLabels, onSelected } from '../../../src/cli/select.ts';

describe('labels select', () => {
  test.each([
    [['tier'], true],
    [['tier=web'], true],
    [['tier=web', 'site'], true],
    [['tier=db'], false],
    [['tier=web', 'owner'], false],
    [['toString'], false],
    [['site='], true],
    [[], true],
  ])('%j', (wanted, matches) => {
    expect(hasLabels({ tier: 'web', site: '' }, wanted)).toBe(matches);
  });
});

describe('what is done to many', () => {
  const vms = ['a', 'b', 'c'].map((name, i) => ({ name, state: 'defined', labels: i < 2 ? { tier: 'web' } : {} }));
  const cancelled: string[] = [];
  const client = {
    list: () => Promise.resolve(vms),
    cancel: (id: string) => Promise.resolve(cancelled.push(id)),
  };
  const callOf = (operands: string[], values: object, json = false): Call =>
    ({ operands, values, json, client }) as unknown as Call;
  const blocked = (name: string): BrigError => new BrigError('vm.blocked', `start ${name}: no\x1b[2J`);
  const act =
    (done: string[], fails = '') =>
    (name: string): Promise<{ changed: boolean }> => {
      done.push(name);
      return fails.includes(name) ? Promise.reject(blocked(name)) : Promise.resolve({ changed: true });
    };
  let said: string[];
  let printed: string[];

  beforeEach(() => {
    [said, printed] = [[], []];
    cancelled.length = 0;
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
  });

  test('is done to those with the labels, and every failure is told', async () => {
    const done: string[] = [];
    await onSelected(callOf([], { label: ['tier=web'] }), 'start', true, 'brig start', act(done, 'ab'));
    expect([done, said, printed, process.exitCode]).toEqual([
      ['a', 'b'],
      ['brig: start a: no\\x1b[2J\n', 'brig: start b: no\\x1b[2J\n'],
      [],
      75,
    ]);
  });

  test('is a list of how it ended for each, with --json', async () => {
    await onSelected(callOf([], { all: true }, true), 'stop', false, 'brig stop', act([], 'b'));
    expect(JSON.parse(printed.join(''))).toEqual([
      { vm: 'a', outcome: { changed: true } },
      { vm: 'b', error: { code: 'vm.blocked', message: 'start b: no\x1b[2J' } },
      { vm: 'c', outcome: { changed: true } },
    ]);
    expect(process.exitCode).toBe(75);
    printed.length = 0;
    await onSelected(callOf([], { label: ['none'] }, true), 'stop', false, 'brig stop', act([]));
    expect(JSON.parse(printed.join(''))).toEqual([]);
  });

  test('is undone where it is not done yet, when somebody interrupts', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    const begin = (name: string, on: OperationListener): Promise<{ changed: boolean }> => {
      on.begin?.(`id of ${name}`);
      return name === 'a' ? Promise.resolve({ changed: true }) : promise;
    };
    const known = process.listenerCount('SIGINT');
    const ended = onSelected(callOf([], { label: ['tier'] }), 'start', true, 'brig start', begin);
    await vi.waitFor(() => expect(process.listenerCount('SIGINT')).toBe(known + 1));
    process.listeners('SIGINT').at(-1)?.('SIGINT');
    expect(cancelled).toEqual(['id of a', 'id of b']);
    reject(new BrigError('saga.cancelled', 'cancelled'));
    await ended;
    expect([said, process.exitCode]).toEqual([['brig: start b: interrupted; everything is undone\n'], 130]);
  });

  test('needs a name or labels, and not both', async () => {
    for (const call of [callOf(['a'], { label: ['tier'] }), callOf([], {})])
      await expect(onSelected(call, 'start', false, 'brig start', act([]))).rejects.toThrow('expected NAME or --label');
  });
});
