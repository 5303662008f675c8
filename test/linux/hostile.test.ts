import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Step } from '../../src/base/step.ts';
import { realHost as host } from '../../src/io/host.ts';
import { QEMU, RUNNING } from '../../src/linux/programs/qemu.ts';
import type { QemuArgs } from '../../src/linux/steps/process.ts';
import type { Bind } from '../../src/linux/programs/bwrap.ts';
import type { Vm } from '../../src/platform/platform.ts';
import { build, listAttempts, parseReport, summaryOf, tell } from '../hostile/program.ts';
import { attach, live, made, makeVm, pidOf, places, platform, start, stop, text, UID, until } from './rig.ts';

/** In a place that everybody may enter: what keeps the tenant out is its root, not a mode. */
const open = mkdtempSync('/var/tmp/brig-hostile-');
const canary = `${open}/canary`;
const program = `${open}/hostile`;
const ABSTRACT = 'brig-test-abstract';
const ADDRESS = '169.254.29.1';

chmodSync(open, 0o777);
build(program);
const attempts = listAttempts(program);

/** The attacker takes QEMU's place at the very end of the real command, under QEMU's own name. */
const takeOver =
  (args: readonly string[]) =>
  (step: Step): Step => {
    if (step.kind === 'run-dir.create') {
      const old = step.args as { readonly binds: readonly Bind[] };
      return { ...step, args: { ...old, binds: [...old.binds, { how: 'ro-bind', from: program, at: QEMU }] } };
    }
    if (step.kind !== 'qemu.start') return step;
    const old = step.args as QemuArgs;
    const at = old.command.lastIndexOf(QEMU);
    return { ...step, args: { ...old, command: [...old.command.slice(0, at), QEMU, ...args] } };
  };

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve) => server.listen(path, () => resolve()));

const attacker = { index: 1, name: 'lt1' };
/** One listens where nobody of another network namespace may come, one in place of brigd. */
const servers = [createServer(), createServer()] as const;

interface Aftermath {
  readonly report: string;
  readonly victimPid: readonly [number, number];
  readonly echoed: boolean;
  readonly canaryText: string;
  readonly disk: boolean;
  readonly slowestMs: number;
  readonly processes: string;
  readonly mounts: readonly [string, string];
  readonly shm: string;
}
let after: Aftermath;

const startAttacker = async (vm: Vm, victim: Vm, shm: string): Promise<void> => {
  const files = places.vm(victim.spec.name);
  const facts = {
    ...{ 'victim-uid': victim.place.uid, 'victim-pid': pidOf(victim), shm, canary, address: ADDRESS },
    ...{ 'victim-run': files.run, 'victim-disk': `${files.disk}/disk0.raw`, 'victim-tap': 'tap29120' },
    ...{ socket: places.socket, abstract: ABSTRACT, interfaces: 'lo,tap29110,brigb29110,brigp29110' },
    devices: '/dev/null,/dev/zero,/dev/random,/dev/urandom,/dev/net/tun',
    // Its disk and its monitor are its own.
    ...{ writable: '/disk/disk0.raw,/vm/mon.in', 'own-disk': '/disk/disk0.raw' },
  };
  await start(vm, takeOver(['--stderr', '--ready', RUNNING, ...tell(facts)]));
};

/** Waits for the attacker's last line, and looks at the host all the time: how long the slowest look took. */
const watch = async (errPath: string): Promise<{ report: string; slowestMs: number }> => {
  const deadlineMs = Date.now() + 80_000;
  for (let slowestMs = 0; ;) {
    const beganMs = Date.now();
    await platform.observe(host);
    slowestMs = Math.max(slowestMs, Date.now() - beganMs);
    const report = (await host.readFile(errPath)) ?? '';
    if (summaryOf(report) !== undefined || Date.now() > deadlineMs) return { report, slowestMs };
    await host.sleep(100);
  }
};

const echoes = async (vm: Vm): Promise<boolean> => {
  const console = await attach(vm);
  console.type('abc');
  const heard = await until('the echo', () => (console.said().includes('abc') ? true : undefined)).catch(() => false);
  console.close();
  return heard;
};

const mountsNow = (): string => readFileSync('/proc/self/mounts', 'utf8').replaceAll(/^.*netns\/brig-lt.*\n/gm, '');

const attack = async (shm: string): Promise<Aftermath> => {
  const mountsBefore = mountsNow();
  const victim = makeVm(2, { nics: [{}], disks: [{ file: { size: '2M' } }] });
  await start(victim);
  const pid = pidOf(victim);
  const disk = `${places.vm('lt2').disk}/disk0.raw`;
  const diskBefore = readFileSync(disk);
  text('/usr/sbin/ip', 'address', 'add', `${ADDRESS}/16`, 'dev', 'brigtest0');
  const vm = makeVm(attacker.index, { nics: [{}], disks: [{ file: { size: '2M' } }] });
  await startAttacker(vm, victim, shm);
  const { report, slowestMs } = await watch(places.vm(attacker.name).err);
  await stop(vm);
  const state = {
    ...{ report, slowestMs, victimPid: [pid, (await live(victim)).pid ?? 0] as const, echoed: await echoes(victim) },
    ...{ canaryText: readFileSync(canary, 'utf8'), disk: readFileSync(disk).equals(diskBefore) },
    processes: text('/usr/bin/ps', '-U', String(UID + attacker.index), '-o', 'args='),
    shm: text('/usr/bin/ipcs', '-m', '-i', shm),
  };
  await stop(victim);
  return { ...state, mounts: [mountsBefore, mountsNow()] };
};

beforeAll(async () => {
  writeFileSync(canary, 'brig! the host keeps this\n');
  chmodSync(canary, 0o666);
  await listen(servers[0], `\0${ABSTRACT}`);
  await listen(servers[1], places.socket);
  chmodSync(places.socket, 0o777);
  // Where this fails no test runs, nor what the rig does after each.
  const shm = /\d+/.exec(text('/usr/bin/ipcmk', '-M', '4096', '-p', '0666'))?.[0] ?? '';
  const isOver = attack(shm).catch(async (error: unknown) => {
    for (const vm of [...made].reverse()) await stop(vm);
    throw error;
  });
  after = await isOver.finally(() => text('/usr/bin/ipcrm', '-m', shm));
});

afterAll(() => {
  for (const server of servers) server.close();
  rmSync(open, { recursive: true });
});

describe('a tenant in place of QEMU', () => {
  test.each(attempts)('$name: cannot $what', ({ name }) => {
    expect(parseReport(after.report).get(name)).toMatch(/^held: /);
  });

  test('has tried everything', () => {
    expect(summaryOf(after.report), after.report.slice(-2000)).toBe(
      `${attempts.length} attempts, 0 escaped, 0 untried`,
    );
  });
});

describe('after it', () => {
  test('the other VM runs as before and answers', () => {
    const [before, now] = after.victimPid;
    expect([now, after.echoed]).toEqual([before, true]);
  });

  test('files of the host and of the other VM are unchanged', () => {
    expect([after.canaryText, after.disk]).toEqual(['brig! the host keeps this\n', true]);
  });

  test('nothing of its uid runs, nothing is mounted, nobody has the memory of the host', () => {
    expect(after.processes).toBe('');
    expect(after.mounts[1]).toBe(after.mounts[0]);
    expect(after.shm).toMatch(/nattch=0/);
  });

  test('looking at the host was never slow, even while nobody read its flood', () => {
    expect(after.slowestMs).toBeLessThan(5_000);
  });
});

describe('the same program where nothing confines it', () => {
  const finds = ['host-files', 'proc', 'create-anywhere', 'see-others', 'interfaces', 'addresses', 'strange-nodes'];

  test.each(finds)('%s escapes, so it proves something in the sandbox', (name) => {
    const facts = tell({ canary, interfaces: 'lo', devices: '/dev/null' });
    const { stdout } = spawnSync(program, ['--only', name, ...facts], { uid: UID + 9, gid: UID + 9, encoding: 'utf8' });
    expect(parseReport(stdout).get(name)).toMatch(/^ESCAPED: /);
  });
});
