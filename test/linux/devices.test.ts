import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { realHost as host } from '../../src/io/host.ts';
import {
  exitOf,
  HAS_TPM,
  live,
  lookAt,
  makeVm,
  places,
  platform,
  procOf,
  root,
  start,
  stop,
  text,
  type,
  UID,
  until,
} from './rig.ts';

/** First bytes that a socket says; '' when it says nothing for a while. */
const greeting = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    const end = (said: string): void => {
      socket.destroy();
      resolve(said);
    };
    socket.on('connect', () => setTimeout(() => end(''), 300));
    socket.on('data', (chunk) => end(chunk.toString()));
    socket.on('error', reject);
  });

const processesOf = (uid: number): string[] =>
  text('/usr/bin/ps', '-ww', '-U', String(uid), '-o', 'args=')
    .split('\n')
    .flatMap((line) => /^\S*\/(\S+)/.exec(line)?.[1] ?? []);

describe('a device', () => {
  const image = `${root}/image.img`;

  test('of every kind at once is there, and the guest runs', async () => {
    writeFileSync(image, Buffer.alloc(2 ** 20), { mode: 0o644 });
    mkdirSync(`${root}/share`, { recursive: true });
    const vm = makeVm(1, {
      memory: '64M',
      disks: [
        { file: { size: '1M' } },
        { file: { size: '1M' }, device: 'nvme' },
        { file: { size: '1M' }, device: 'ahci-hd' },
        { image, device: 'ahci-cd' },
        { image, device: 'nvme' },
      ],
      nics: [{}, { device: 'e1000' }],
      devices: {
        'virtio-console': ['agent', 'log'],
        'virtio-9p': [
          { name: 'data', path: `${root}/share` },
          { name: 'home', path: `${root}/share`, readOnly: false },
        ],
        fbuf: {},
        tpm: HAS_TPM,
      },
    });
    await start(vm);
    const proc = await procOf(vm);
    expect(readdirSync(`${proc}/root`).sort()).toEqual([
      ...['dev', 'disk', 'lib', 'lib64', 'share', 'sock', 'usr', 'vm'],
    ]);
    expect(readdirSync(`${proc}/root/sock`).sort()).toEqual(['port-agent', 'port-log', 'vnc']);
    await type(vm, 'q');
    expect(await exitOf(vm)).toEqual({ kind: 'poweroff', status: 1 });
  });

  test('seven AHCI disks have two controllers', async () => {
    const vm = makeVm(1, { disks: Array.from({ length: 7 }, () => ({ file: { size: '1M' }, device: 'ahci-hd' })) });
    await start(vm);
    const open = readdirSync(`${await procOf(vm)}/fd`).length;
    expect(open).toBeGreaterThan(7);
    await type(vm, 'q');
    expect(await exitOf(vm)).toMatchObject({ kind: 'poweroff' });
  });
});

describe('a socket', () => {
  test('of the screen speaks VNC, and is behind a directory of root', async () => {
    const vm = makeVm(1, { devices: { fbuf: { width: 1920, height: 1080 }, 'virtio-console': ['agent'] } });
    await start(vm);
    const { run } = places.vm('lt1');
    // QEMU listens just after it has said that its CPUs run.
    const screen = await until('the screen', async () => await greeting(`${run}/sock/vnc`).catch(() => undefined));
    expect(screen).toBe('RFB 003.008\n');
    expect(await greeting(`${run}/sock/port-agent`)).toBe('');
    expect([statSync(run).uid, statSync(run).mode & 0o777]).toEqual([0, 0o700]);
    expect([statSync(`${run}/sock`).uid, statSync(`${run}/sock`).mode & 0o777]).toEqual([UID + 1, 0o700]);
    const proc = await procOf(vm);
    for (const table of ['tcp', 'tcp6', 'udp', 'udp6'])
      expect(readFileSync(`${proc}/net/${table}`, 'utf8').trimEnd().split('\n'), table).toHaveLength(1);
  });

  test('directory holds hardly more than sockets, and goes with the VM', async () => {
    const vm = makeVm(1, { devices: { 'virtio-console': ['agent'] } });
    await start(vm);
    const { run } = places.vm('lt1');
    expect(() => writeFileSync(`${run}/sock/big`, Buffer.alloc(128 * 1024))).toThrow('ENOSPC');
    const steps = platform.startSteps(vm, 'run-1', 0);
    const seen = await lookAt(vm);
    expect(platform.live(seen, vm)).toMatchObject({ phase: 'running' });
    expect(steps.map(({ kind }) => kind)).toContain('sockets.mount');
    await stop(vm);
    expect(await host.stat(run)).toBeUndefined();
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(`${run}/sock`);
  });

  test('is there again after the guest has reset', async () => {
    const vm = makeVm(1, { devices: { fbuf: {} } });
    await start(vm);
    await type(vm, 'r');
    await until('the reset', () => host.readFile(places.vm('lt1').resets));
    await until('the socket', async () => await greeting(`${places.vm('lt1').run}/sock/vnc`).catch(() => undefined));
  });
});

// Without swtpm a start is refused: a unit test.
describe.skipIf(!HAS_TPM)('a TPM', () => {
  test('is a swtpm in a sandbox of its own under the same uid, that ends with QEMU', async () => {
    const vm = makeVm(1, { devices: { tpm: true } });
    await start(vm);
    expect(processesOf(UID + 1).sort()).toEqual(['qemu-system-x86_64', 'swtpm']);
    const pid = text('/usr/bin/pgrep', '-U', String(UID + 1), 'swtpm').trim();
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(/^CapBnd:\t0000000000000000$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(readdirSync(`/proc/${pid}/root`).sort()).toEqual(['dev', 'lib', 'lib64', 'tpm', 'usr']);
    const ofQemu = await procOf(vm);
    for (const space of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'])
      expect(readlinkSync(`/proc/${pid}/ns/${space}`), space).not.toBe(readlinkSync(`${ofQemu}/ns/${space}`));
    await type(vm, 'q');
    expect(await exitOf(vm)).toMatchObject({ kind: 'poweroff' });
    await until('the end of swtpm', () => (processesOf(UID + 1).length === 0 ? true : undefined));
  });

  test('is there again after the guest has reset, and keeps its state', async () => {
    const vm = makeVm(1, { devices: { tpm: true } });
    await start(vm);
    await type(vm, 'r');
    await until('the reset', () => host.readFile(places.vm('lt1').resets));
    await until('both', () => (processesOf(UID + 1).length === 2 ? true : undefined));
    await stop(vm);
    expect(processesOf(UID + 1)).toEqual([]);
    const state = statSync(`${places.vm('lt1').state}/tpm/tpm2-00.permall`);
    expect([state.uid, state.mode & 0o777]).toEqual([UID + 1, 0o600]);
  });

  test('that dies with its supervisor leaves nothing', async () => {
    const vm = makeVm(1, { devices: { tpm: true } });
    await start(vm);
    process.kill(Number(text('/usr/bin/pgrep', '-f', 'supervise.sh qemu lt1 ').trim()), 'SIGKILL');
    await until('the end', async () => ((await live(vm)).pid === undefined ? true : undefined));
    await until('the end of swtpm', () => (processesOf(UID + 1).length === 0 ? true : undefined));
  });
});

describe('a limit', () => {
  const group = (controller: string, file: string): string =>
    readFileSync(`/sys/fs/cgroup/${controller}/brig-lt1/${file}`, 'utf8').trim();

  test('that nobody asked for bounds threads, descriptors, cores and memory', async () => {
    const vm = makeVm(1);
    await start(vm);
    const limits = readFileSync(`${await procOf(vm)}/limits`, 'utf8');
    expect(limits).toMatch(/^Max processes +81 +81 /m);
    expect(limits).toMatch(/^Max open files +136 +136 /m);
    expect(limits).toMatch(/^Max core file size +1 +1 /m);
    expect(limits).toMatch(/^Max locked memory +0 +0 /m);
    expect(group('pids', 'pids.max')).toBe('93');
    expect(Number(group('pids', 'pids.current'))).toBeGreaterThan(3);
  });

  test('of every kind is in force, and gone with the VM', async () => {
    const vm = makeVm(1, {
      disks: [{ file: { size: '1M' } }],
      limits: {
        ...{ cpuset: '0', memory: '600M', pcpu: 50, openfiles: 300, threads: 200, processes: 4 },
        ...{ readBps: '1M', writeBps: '2M', readIops: 100, writeIops: 200 },
      },
    });
    await start(vm);
    expect(group('cpuset', 'cpuset.cpus')).toBe('0');
    expect(group('memory', 'memory.limit_in_bytes')).toBe(String(600 * 2 ** 20));
    expect(group('cpu', 'cpu.cfs_quota_us')).toBe('50000');
    expect(group('pids', 'pids.max')).toBe('212');
    expect(group('blkio', 'blkio.throttle.read_bps_device')).toMatch(/^\d+:\d+ 1048576$/);
    expect(group('blkio', 'blkio.throttle.write_bps_device')).toMatch(/^\d+:\d+ 2097152$/);
    expect(group('blkio', 'blkio.throttle.read_iops_device')).toMatch(/^\d+:\d+ 100$/);
    expect(group('blkio', 'blkio.throttle.write_iops_device')).toMatch(/^\d+:\d+ 200$/);
    const limits = readFileSync(`${await procOf(vm)}/limits`, 'utf8');
    expect(limits).toMatch(/^Max processes +200 +200 /m);
    expect(limits).toMatch(/^Max open files +300 +300 /m);
    expect(readFileSync(`${await procOf(vm)}/status`, 'utf8')).toMatch(/^Cpus_allowed_list:\t0$/m);
    // Not through the page cache, which nobody counts. Source: O_DIRECT of open(2), 040000 on x86
    const proc = await procOf(vm);
    const disk = readdirSync(`${proc}/fd`).find((fd) => readlinkSync(`${proc}/fd/${fd}`) === '/disk/disk0.raw');
    expect(
      Number.parseInt(/^flags:\t(\d+)$/m.exec(readFileSync(`${proc}/fdinfo/${disk ?? ''}`, 'utf8'))?.[1] ?? '', 8) &
        0o40000,
    ).toBe(0o40000);
    await stop(vm);
    for (const controller of ['cpuset', 'memory', 'cpu', 'pids', 'blkio'])
      expect(readdirSync(`/sys/fs/cgroup/${controller}`)).not.toContain('brig-lt1');
  });

  test('of bytes a second slows what is in the group', async () => {
    const vm = makeVm(1, { disks: [{ file: { size: '4M' } }], limits: { readBps: '1M' } });
    await start(vm);
    const file = `${places.vm('lt1').disk}/disk0.raw`;
    // Holes are not read from anywhere.
    writeFileSync(file, Buffer.alloc(2 ** 21, 7), { flush: true });
    const read = (group: string): number => {
      const startMs = performance.now();
      const code =
        'echo $$ > "$1/cgroup.procs" && exec dd if="$2" of=/dev/null bs=64k count=32 iflag=direct status=none';
      expect(spawnSync('/bin/sh', ['-c', code, 'sh', group, file]).status).toBe(0);
      return performance.now() - startMs;
    };
    expect(read('/sys/fs/cgroup/blkio')).toBeLessThan(800);
    expect(read('/sys/fs/cgroup/blkio/brig-lt1')).toBeGreaterThan(1500);
  });

  test('of tasks stops a flood of them', async () => {
    const vm = makeVm(1);
    await start(vm);
    const code =
      'echo $$ > "$1/cgroup.procs" && i=0; while [ $i -lt 150 ]; do sleep 5 >/dev/null 2>&1 & i=$((i + 1)); done';
    const flood = spawnSync('/bin/sh', ['-c', code, 'sh', '/sys/fs/cgroup/pids/brig-lt1'], { encoding: 'utf8' });
    expect(flood.stderr).toMatch(/fork/i);
    expect(Number(group('pids', 'pids.current'))).toBeLessThanOrEqual(93);
    const rest = group('pids', 'cgroup.procs').split('\n').map(Number);
    for (const pid of rest) if (readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n') process.kill(pid);
    await until('the end of the flood', () => (Number(group('pids', 'pids.current')) < 20 ? true : undefined));
  });

  test('of paging is kept or refused, never ignored', async () => {
    const vm = makeVm(1, { wired: true, memory: '64M' });
    const mayLock =
      (Number.parseInt(/^CapEff:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0', 16) &
        (1 << 24)) !==
      0;
    const problems = await platform.precheck(host, await platform.observe(host), vm);
    expect(problems.map(({ what }) => what)).toEqual(mayLock ? [] : ['the right to lock memory for wired: true']);
    if (!mayLock) return;
    await start(vm);
    const locked = /^VmLck:\s+(\d+) kB$/m.exec(readFileSync(`${await procOf(vm)}/status`, 'utf8'))?.[1];
    expect(Number(locked) * 1024).toBeGreaterThan(64 * 2 ** 20);
  });
});
