import { afterEach, expect, vi } from 'vitest';

const methods = ['log', 'info', 'warn', 'error'] as const;
const spies = methods.map((method) => vi.spyOn(console, method));

afterEach(() => {
  const said = spies.flatMap((spy) => spy.mock.calls.map((call) => call.join(' ')));
  for (const spy of spies) spy.mockClear();
  expect(said, 'a test is silent').toEqual([]);
});
