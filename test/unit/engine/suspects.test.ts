import { expect, test } from 'vitest';
import { suspects } from '../../../src/engine/suspects.ts';

const running = [
  { pid: 1, command: '/sbin/init' },
  { pid: 20, command: '/bin/sh /var/run/brig/supervise.sh bhyve web01 tap7000' },
  { pid: 21, command: 'bhyve: web01 tap7000' },
  { pid: 30, command: '/sbin/devd' },
  { pid: 40, command: '/bin/sh -c while :; do ifconfig epair7000a down; done' },
  { pid: 41, command: '/usr/local/bin/watch bridge7001\u001b[2J' },
];

test.each([
  [{ vm: 'web01', unit: 7000 }, 'it may be pid 40 (/bin/sh -c while :; do ifconfig epair7000a down; done)'],
  [{ bridge: { name: 'bridge7001' } }, 'it may be pid 41 (/usr/local/bin/watch bridge7001\\x1b[2J)'],
  [{ uid: 20000 }, 'it may be pid 30 (/sbin/devd)'],
])('who names %j', (args, said) => {
  expect(suspects(running, args)).toBe(said);
});

test('nobody', () => {
  expect(suspects(running.slice(0, 3), { unit: 7000 })).toBe('no process that runs now names it');
});
