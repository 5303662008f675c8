import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openConsole } from '../../../src/io/console.ts';

const SCRIPT = new URL('../../../src/platform/supervise.sh', import.meta.url).pathname;

let root = '';
let dir = '';
let exits = '';
let started: ChildProcess[] = [];

beforeEach(() => {
  root = mkdtempSync(`${tmpdir()}/brig-supervise-`);
  dir = `${root}/run`;
  exits = `${root}/exits`;
  mkdirSync(dir);
  mkdirSync(exits);
  spawnSync('/usr/bin/mkfifo', [`${dir}/con.in`, `${dir}/con.out`]);
});

afterEach(() => {
  for (const child of started) if (child.pid !== undefined && child.exitCode === null) killGroup(child.pid);
  started = [];
  rmSync(root, { recursive: true, force: true });
});

const killGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it ended meanwhile
  }
};

interface Options {
  kind?: 'bhyve' | 'qemu';
  resets?: number;
  window?: number;
  options?: readonly string[];
  args?: readonly string[];
}

/** Supervises a shell script that plays the guest; leads its own session, as brigd starts it. */
const supervise = (guest: string, o: Options = {}): ChildProcess => {
  const limits = [String(o.resets ?? 3), String(o.window ?? 60)];
  const args = [SCRIPT, o.kind ?? 'bhyve', 'web01', dir, exits, 'run-1', ...limits, ...(o.options ?? []), '--'];
  const command = ['/bin/sh', '-c', guest, 'guest', ...(o.args ?? [])];
  const child = spawn('/bin/sh', [...args, ...command], { detached: true, stdio: 'ignore', cwd: '/' });
  started.push(child);
  return child;
};

const until = async <T>(what: string, find: () => T | undefined | false): Promise<T> => {
  for (let i = 0; i < 400; i += 1) {
    const found = find();
    if (found !== undefined && found !== false) return found;
    await sleep(10);
  }
  throw new Error(`${what} did not come`);
};

const read = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);
const exitFile = (): Promise<string> => until('the exit file', () => read(`${exits}/web01`));

/** Runs to the end; the status that was written down. */
const statusOf = async (guest: string, options?: Options): Promise<number> => {
  supervise(guest, options);
  return Number((await exitFile()).split(' ')[1]);
};

describe('an end', () => {
  test.each([
    ['exit 1', 1],
    ['exit 3', 3],
    ['exit 4', 4],
    ['kill -9 $$', 137],
    ['kill -11 $$', 139],
  ])('%s is written down as %i', async (guest, status) => {
    expect(await statusOf(guest)).toBe(status);
  });

  test('names its run and the second', async () => {
    const before = Math.floor(Date.now() / 1000);
    supervise('exit 1');
    const [run, status, at] = (await exitFile()).split(/[ \n]/);
    expect([run, status]).toEqual(['run-1', '1']);
    expect(Number(at)).toBeGreaterThanOrEqual(before);
    expect(Number(at)).toBeLessThanOrEqual(before + 10);
  });

  test('is written at once: no other file is left beside it', async () => {
    await statusOf('exit 1');
    const { stdout } = spawnSync('/usr/bin/ls', ['-A', exits], { encoding: 'utf8' });
    expect(stdout).toBe('web01\n');
  });

  test('without a console is one that never ran', async () => {
    rmSync(`${dir}/con.in`);
    expect(await statusOf('exit 1')).toBe(71);
  });
});

describe('a reset', () => {
  test('runs the guest again and is counted', async () => {
    const guest = `echo run >> ${root}/runs; [ $(wc -l < ${root}/runs) -lt 3 ]; exit $?`;
    expect(await statusOf(guest)).toBe(1);
    expect(read(`${root}/runs`)).toBe('run\nrun\nrun\n');
    expect(read(`${exits}/web01.resets`)).toMatch(/^run-1 2 \d+\n$/);
  });

  test('is an end while the stop file is there', async () => {
    writeFileSync(`${dir}/stop`, '');
    expect(await statusOf(`echo run >> ${root}/runs; exit 0`)).toBe(0);
    expect(read(`${root}/runs`)).toBe('run\n');
  });

  test('too often within the window is an end', async () => {
    expect(await statusOf(`echo run >> ${root}/runs; exit 0`, { resets: 4 })).toBe(0);
    expect(read(`${root}/runs`)?.length).toBe(5 * 4);
    expect(read(`${exits}/web01.resets`)).toMatch(/^run-1 4 /);
  });

  test('long ago is forgotten', async () => {
    const guest = `echo run >> ${root}/runs; [ $(wc -l < ${root}/runs) -lt 6 ]; exit $?`;
    expect(await statusOf(guest, { resets: 1, window: 0 })).toBe(1);
    expect(read(`${exits}/web01.resets`)).toMatch(/^run-1 5 /);
  });

  test('starts a new stderr', async () => {
    const guest = `echo run >> ${root}/runs; wc -l < ${root}/runs >&2; [ $(wc -l < ${root}/runs) -lt 3 ]; exit $?`;
    await statusOf(guest);
    expect(read(`${dir}/err`)).toBe('3\n');
  });
});

describe('signals', () => {
  test('SIGTERM goes to the guest, and its real status comes back', async () => {
    const child = supervise(`trap 'sleep 0.2; exit 3' TERM; echo up >&2; while :; do sleep 0.05; done`);
    await until('the guest', () => read(`${dir}/err`)?.includes('up'));
    process.kill(child.pid ?? 0, 'SIGTERM');
    expect(await exitFile()).toMatch(/^run-1 3 /);
  });

  test('SIGTERM again and again does not lose the status', async () => {
    const child = supervise(`trap : TERM; echo up >&2; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done; exit 4`);
    await until('the guest', () => read(`${dir}/err`)?.includes('up'));
    for (let i = 0; i < 20; i += 1) {
      process.kill(child.pid ?? 0, 'SIGTERM');
      await sleep(7);
    }
    expect(await exitFile()).toMatch(/^run-1 4 /);
  });

  test('a guest that resets after SIGTERM is not run again', async () => {
    const child = supervise(`trap 'exit 0' TERM; echo run >> ${root}/runs; echo up >&2; while :; do sleep 0.05; done`);
    await until('the guest', () => read(`${dir}/err`)?.includes('up'));
    process.kill(child.pid ?? 0, 'SIGTERM');
    expect(await exitFile()).toMatch(/^run-1 0 /);
    expect(read(`${root}/runs`)).toBe('run\n');
  });

  test.each(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGPIPE'] as const)('%s does nothing', async (signal) => {
    const child = supervise(`echo up >&2; while [ ! -e ${root}/go ]; do sleep 0.02; done; exit 1`);
    await until('the guest', () => read(`${dir}/err`)?.includes('up'));
    process.kill(child.pid ?? 0, signal);
    await sleep(50);
    expect(existsSync(`${exits}/web01`)).toBe(false);
    writeFileSync(`${root}/go`, '');
    expect(await exitFile()).toMatch(/^run-1 1 /);
  });

  test('the end of whoever started it does nothing', async () => {
    const line = `/bin/sh "$0" bhyve web01 "$1" "$2" run-1 3 60 -- /bin/sh -c 'sleep 0.3; exit 4' & exit 0`;
    spawnSync('/usr/bin/setsid', ['/bin/sh', '-c', line, SCRIPT, dir, exits], { stdio: 'ignore' });
    expect(existsSync(`${exits}/web01`)).toBe(false);
    expect(await exitFile()).toMatch(/^run-1 4 /);
  });
});

describe('the console', () => {
  test('is two FIFOs that never end', async () => {
    let said = '';
    const console = openConsole(`${dir}/con.in`, `${dir}/con.out`);
    console.onData((chunk) => (said += chunk.toString()));
    supervise('while read -r line; do echo "got $line"; [ "$line" != bye ] || exit 1; done; exit 4');
    console.write(Buffer.from('hello\n'));
    await until('an answer', () => said === 'got hello\n');
    await sleep(50);
    console.write(Buffer.from('bye\n'));
    await until('an answer', () => said === 'got hello\ngot bye\n');
    console.close();
    expect(await exitFile()).toMatch(/^run-1 1 /);
  });
});

describe('stderr', () => {
  test('is kept up to 1 MiB, and more does not end the guest', async () => {
    const guest = `head -c 3000000 /dev/zero >&2; echo lost >&2; exit 4`;
    expect(await statusOf(guest)).toBe(4);
    const { length } = readFileSync(`${dir}/err`);
    expect(length).toBeLessThanOrEqual(2 ** 20);
    expect(length).toBeGreaterThan(2 ** 19);
  });

  test('is complete when the exit file appears', async () => {
    await statusOf('i=0; while [ $i -lt 300 ]; do echo line >&2; i=$((i+1)); done; exit 1');
    expect(read(`${dir}/err`)?.length).toBe(1500);
  });
});

describe('the command', () => {
  test('gets its arguments as they are', async () => {
    const args = ['two words', '*', '', `quote'"`, '$HOME', 'back\\slash', '-g', '--'];
    expect(await statusOf(`for each; do printf '%s\\n' "[$each]"; done >&2; exit 1`, { args })).toBe(1);
    expect(read(`${dir}/err`)).toBe(args.map((arg) => `[${arg}]\n`).join(''));
  });

  test('is in its cgroups, alone', async () => {
    for (const name of ['a b', 'c']) {
      mkdirSync(`${root}/${name}`);
      writeFileSync(`${root}/${name}/cgroup.procs`, '');
    }
    expect(await statusOf('exit 1', { options: ['-g', `${root}/a b`, '-g', `${root}/c`] })).toBe(1);
    expect(read(`${root}/a b/cgroup.procs`)).toBe('0\n');
    expect(read(`${root}/c/cgroup.procs`)).toBe('0\n');
  });

  test('does not run outside of a cgroup that is not there', async () => {
    expect(await statusOf(`echo run >> ${root}/runs; exit 1`, { options: ['-g', `${root}/none`] })).toBe(71);
    expect(read(`${root}/runs`)).toBeUndefined();
  });

  test('reads its files as descriptors 7, 8 and 9', async () => {
    writeFileSync(`${root}/seven`, 'zero');
    writeFileSync(`${root}/eight`, 'one');
    writeFileSync(`${root}/nine file`, 'two');
    const options = ['-7', `${root}/seven`, '-8', `${root}/eight`, '-9', `${root}/nine file`];
    await statusOf('cat <&7 >&2; cat <&8 >&2; cat <&9 >&2; exit 1', { options });
    expect(read(`${dir}/err`)).toBe('zeroonetwo');
  });
});

describe('QEMU', () => {
  const started = 'vm_state_notify running 1 reason 9 (running)';
  const ended = 'vm_state_notify running 0 reason 11 (shutdown)';

  // Text as QEMU 7.2 prints it; the status is what the process ended with.
  test.each([
    ['a reset', [started, ended], 0, 0],
    ['a power-off', [started, 'qemu_system_shutdown_request reason=6', ended], 0, 1],
    ['quit on the monitor', [started, 'qemu_system_shutdown_request reason=2', ended], 0, 1],
    ['a triple fault', [started, 'Triple fault', ended], 0, 3],
    ['a signal', [started, 'qemu-system-x86_64: terminating on signal 15 from pid 4792 (pkill)', ended], 0, 143],
    ['an error of the host', [started, 'qemu_system_shutdown_request reason=1', ended], 0, 4],
    ['a failure while it runs', [started], 1, 4],
    ['lines that are lost', [started], 0, 4],
    ['a wrong argument', ['qemu-system-x86_64: -bios x: no such file'], 1, 71],
    ['a sandbox that cannot be made', ["bwrap: Can't find source path"], 1, 71],
    ['SIGKILL', [started], 137, 137],
  ])('%s has the number of bhyve', async (_, lines, status, expected) => {
    const guest = `for each; do echo "$each" >&2; done; exit ${status}`;
    expect(await statusOf(guest, { kind: 'qemu', resets: 0, args: lines })).toBe(expected);
  });
});

test('the supervisor is small', async () => {
  const child = supervise('echo up >&2; while :; do sleep 1; done', {
    args: Array.from({ length: 150 }, () => 'x'.repeat(60)),
  });
  await until('the guest', () => read(`${dir}/err`)?.includes('up'));
  const text = readFileSync(`/proc/${child.pid ?? 0}/smaps_rollup`, 'utf8');
  const kib = [...text.matchAll(/^Private_\w+: +(\d+) kB$/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
  expect(kib).toBeGreaterThan(0);
  expect(kib).toBeLessThan(1024);
});

describe('the command', () => {
  test('has the limits that it was given, soft and hard, and cannot lift them', async () => {
    const guest = `{ ulimit -n; ulimit -Hn; ulimit -c; (ulimit -n 99) 2>&1 || echo kept; } > ${root}/limits; exit 1`;
    expect(await statusOf(guest, { options: ['-n', '77', '-c', '0'] })).toBe(1);
    expect(read(`${root}/limits`)?.split('\n').slice(0, 3)).toEqual(['77', '77', '0']);
    // Root may lift its own; what brig runs has another uid by then.
    expect(read(`${root}/limits`)?.split('\n').length).toBeGreaterThanOrEqual(4);
  });

  test('does not run when a limit cannot be set', async () => {
    expect(await statusOf(`echo ran > ${root}/ran; exit 1`, { options: ['-n', 'many'] })).not.toBe(1);
    expect(existsSync(`${root}/ran`)).toBe(false);
  });

  test('finds no socket of the run before it, and no link is followed to remove it', async () => {
    writeFileSync(`${root}/precious`, 'x');
    symlinkSync(`${root}/precious`, `${root}/port.sock`);
    const guest = `[ ! -L ${root}/port.sock ] && echo free >> ${root}/runs; ln -s ${root}/precious ${root}/port.sock; [ $(wc -l < ${root}/runs) -lt 2 ]; exit $?`;
    expect(await statusOf(guest, { options: ['-r', `${root}/port.sock`] })).toBe(1);
    expect(read(`${root}/runs`)).toBe('free\nfree\n');
    expect(read(`${root}/precious`)).toBe('x');
  });
});
