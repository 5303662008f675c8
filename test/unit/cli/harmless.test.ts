import { expect, test } from 'vitest';
import { BrigError } from '../../../src/base/errors.ts';
import type { Explanation } from '../../../src/engine/explain.ts';
import type { VmView } from '../../../src/engine/view.ts';
import { toJson } from '../../../src/cli/command.ts';
import {
  renderError,
  renderEvent,
  renderExplanation,
  renderFindings,
  renderList,
  renderPlan,
  renderShow,
} from '../../../src/cli/render.ts';

/** Clears a screen and reports a title, by C0 and by C1, and begins a line of its own. */
const EVIL = '\x1b[2J\x9b2J\x07\x7f\nroot';
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

const vm = {
  name: 'web',
  state: 'failed',
  reason: EVIL,
  downgraded: EVIL,
  cpus: 1,
  memoryBytes: 1,
  uid: 1,
  nics: [{ network: EVIL, mode: 'vnet', mac: EVIL, unit: 0, addresses: [EVIL] }],
  labels: { [EVIL]: EVIL },
  autostart: true,
  lastEnd: { exit: EVIL, cause: EVIL, atMs: 0 },
  left: [{ step: EVIL, commands: [EVIL] }],
} as unknown as VmView;
const event = { seq: 1, atMs: 0, vm: EVIL, kind: EVIL, cause: EVIL, data: { [EVIL]: EVIL, deep: { why: [EVIL] } } };
const finding = { step: EVIL, because: EVIL, reason: EVIL, commands: [EVIL] };

test.each([
  ['list', () => renderList([vm], 0)],
  ['show', () => renderShow(vm, 0)],
  ['events', () => renderEvent(event)],
  [
    'explain',
    () =>
      renderExplanation({ vm, intent: 'running', findings: [finding], events: [event] } as unknown as Explanation, 0),
  ],
  ['plan', () => renderPlan([{ op: 'apply', step: 'a', because: EVIL, commands: [EVIL] }])],
  ['doctor', () => renderFindings([{ level: 'problem', what: EVIL, got: EVIL, mend: EVIL }])],
  ['whose error it is', () => renderError(new BrigError('vm.blocked', EVIL, { hint: EVIL }))],
  ['--json', () => toJson({ [EVIL]: EVIL }, 2)],
])('nothing of what brig %s prints can steer a terminal', (_, print) => {
  expect(print()).toContain('2J');
  expect(print()).not.toMatch(CONTROL);
});

test('an event is one line, and JSON says the same as before', () => {
  expect(renderEvent(event).split('\n')).toHaveLength(1);
  expect(JSON.parse(toJson({ a: EVIL }))).toEqual({ a: EVIL });
});

test('an error keeps its lines, and says what to do', () => {
  const error = new BrigError('spec.invalid', 'check web.yaml: 1 problem\n  cpus: expected a number', {
    hint: 'see there',
  });
  expect(renderError(error)).toBe('check web.yaml: 1 problem\n  cpus: expected a number (see there)');
  expect(renderError(new Error('odd'))).toBe('odd');
});
