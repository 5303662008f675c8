import { describe, expect, test } from 'vitest';
import type { Seen } from '../../../src/linux/observe.ts';
import type { Process } from '../../../src/linux/programs/ps.ts';
import { apply, buildNode, buildSeen, buildVm, find, holds, undo } from './build.ts';

describe('the process', () => {
  const process = (args: string, uid: number): Process => ({ pid: 10, ppid: 1, uid, startedMs: 0, rssBytes: 0, args });
  const supervisor = process('/bin/sh /run/brig/supervise.sh qemu web01 /run/brig/vms/web01 ...', 0);
  const qemu = process('/usr/bin/qemu-system-x86_64 -name brig-web01', 20_001);
  const step = find(buildVm(), 'qemu.start', buildNode(), 5_000);

  test('holds while it is supervised: a second supervisor must not come', () => {
    expect(holds(step, buildSeen({ processes: [supervisor, qemu] }))).toBe('yes');
    expect(holds(step, buildSeen({ processes: [supervisor] }))).toBe('yes');
    expect(holds(step, buildSeen({ processes: [qemu] }))).toBe('partly');
    expect(holds(step, buildSeen())).toBe('no');
  });

  test.each([
    ["another VM's supervisor", process('/bin/sh /run/brig/supervise.sh qemu web011 /run', 0)],
    ["a supervisor that is not root's", process(supervisor.args, 1000)],
    ['another QEMU', process(qemu.args, 20_002)],
    ['another program of the uid', process('/usr/bin/setpriv -- /usr/bin/qemu-system-x86_64 ', 20_001)],
  ])('is not %s', (_, other) => {
    expect(holds(step, buildSeen({ processes: [other] }))).toBe('no');
  });

  test('is ready when its CPUs run, and hopeless when it ends first', () => {
    expect(apply(step).at(-1)).toMatchObject({
      do: 'await',
      probe: { read: '/run/brig/vms/web01/err' },
      until: { matches: 'vm_state_notify running 1 ' },
      unless: '/run/brig/exits/web01',
      quote: '/run/brig/vms/web01/err',
    });
  });

  test('starts with a clean slate', () => {
    const removed = apply(step).flatMap((effect) => (effect.do === 'remove' ? [effect.path] : []));
    expect(removed).toEqual([
      '/run/brig/vms/web01/stop',
      '/run/brig/vms/web01/err',
      '/run/brig/exits/web01',
      '/run/brig/exits/web01.resets',
    ]);
  });

  const stages = (graceMs: number): string[] => {
    const effects = undo(
      find(buildVm(), 'qemu.start', buildNode(), graceMs),
      buildSeen({ processes: [supervisor, qemu] }),
    );
    expect(effects.slice(0, 3), 'whatever somebody removed').toMatchObject([
      { do: 'mkdir', path: '/run/brig/vms/web01' },
      { do: 'mkdir', path: '/run/brig/exits' },
      { do: 'write', path: '/run/brig/vms/web01/stop' },
    ]);
    return effects.flatMap((effect) => (effect.do === 'escalate' ? effect.stages.map(({ name }) => name) : []));
  };

  test('is asked, then told, then killed', () => {
    expect(stages(5_000)).toEqual([
      'ACPI power button',
      'quit',
      'SIGKILL',
      'SIGTERM of the supervisor',
      'SIGCONT of the supervisor',
      'SIGKILL',
    ]);
  });

  test('is killed at once without grace', () => {
    expect(stages(0)).toEqual(['SIGKILL', 'SIGTERM of the supervisor', 'SIGCONT of the supervisor', 'SIGKILL']);
  });

  const probes = (seen: Partial<Seen>) =>
    undo(step, buildSeen(seen)).flatMap((effect) => (effect.do === 'escalate' ? [effect.gone] : []));

  test('is gone when its supervisor has written down how, and nobody runs as its uid', () => {
    expect(probes({ processes: [supervisor, qemu] })).toMatchObject([
      { probe: { read: '/run/brig/exits/web01' }, until: { matches: '^\\S+ \\d+ \\d+$' } },
      { probe: { program: '/usr/bin/pgrep', args: ['-U', '20001'] }, until: { status: 1 } },
    ]);
  });

  test('whose supervisor is dead waits for nothing of it', () => {
    expect(probes({ processes: [qemu] })[0]).toMatchObject({
      probe: { program: '/usr/bin/pgrep', args: ['-u', '0', '-f', '^/bin/sh /run/brig/supervise\\.sh qemu web01 '] },
      until: { status: 1 },
    });
  });

  test('that is gone needs nothing', () => {
    expect(undo(step)).toEqual([]);
  });
});
