import { describe, expect, test } from 'vitest';
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
  const callOf = (operands: string[], values: object): Call =>
    ({ operands, values, json: false, client: { list: () => Promise.resolve(vms) } }) as unknown as Call;
  const act =
    (done: string[], fails = '') =>
    (name: string): Promise<{ changed: boolean }> => {
      done.push(name);
      return name === fails ? Promise.reject(new Error(`${name} fails`)) : Promise.resolve({ changed: true });
    };

  test('is done to those with the labels, and all of them are tried', async () => {
    const done: string[] = [];
    const call = callOf([], { label: ['tier=web'] });
    await expect(onSelected(call, 'start', false, 'brig start', act(done, 'a'))).rejects.toThrow('a fails');
    expect(done).toEqual(['a', 'b']);
  });

  test('needs a name or labels, and not both', async () => {
    for (const call of [callOf(['a'], { label: ['tier'] }), callOf([], {})])
      await expect(onSelected(call, 'start', false, 'brig start', act([]))).rejects.toThrow('expected NAME or --label');
  });
});
