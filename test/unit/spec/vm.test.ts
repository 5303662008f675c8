import { describe, expect, test } from 'vitest';
import { BrigError } from '../../../src/base/errors.ts';
import { parseConfig } from '../../../src/spec/config.ts';
import { parseVm, parseVmText } from '../../../src/spec/vm.ts';

const minimal = { name: 'web01', firmware: { builtin: 'test' } };

const problemsOf = (value: unknown): string[] => {
  try {
    parseVm(value);
  } catch (error) {
    expect(error).toBeInstanceOf(BrigError);
    const { code, details } = error as BrigError;
    expect(code).toBe('spec.invalid');
    return (details.problems as { path: string; expected: string; got: string }[]).map(
      (each) => `${each.path}: ${each.expected} / ${each.got}`,
    );
  }
  return [];
};

describe('a VM document', () => {
  test('is complete with a name and firmware; the rest has defaults', () => {
    expect(parseVm(minimal)).toEqual({
      name: 'web01',
      cpus: 1,
      memory: 256 * 2 ** 20,
      wired: false,
      firmware: { builtin: 'test' },
      disks: [],
      nics: [],
      devices: {
        'virtio-rnd': true,
        'virtio-console': [],
        'virtio-9p': [],
        tpm: false,
        'virtio-scsi': [],
        passthru: [],
      },
      unconfined: false,
      console: { logBytes: 524288 },
      limits: {},
      restart: { policy: 'on-failure', max: 3, windowSeconds: 30 },
      autostart: false,
      boot: { priority: 500, after: [], readyTimeoutSeconds: 120 },
      labels: {},
    });
  });

  test('is YAML or JSON', () => {
    const yaml = 'name: web01\nmemory: 2G\nfirmware: {rom: /roms/a.rom}\nnics: [{network: lan, mode: direct}]\n';
    const spec = parseVmText(yaml, 'web01.yaml');
    expect(spec.memory).toBe(2 ** 31);
    expect(spec.nics).toMatchObject([{ network: 'lan', device: 'virtio-net', mode: 'direct', addresses: [] }]);
    expect(parseVmText(JSON.stringify(minimal), 'web01.json').name).toBe('web01');
  });

  test('asks for each device by its own name', () => {
    const devices = {
      'virtio-console': ['agent'],
      'virtio-9p': [{ name: 'src', path: '/usr/src' }],
      fbuf: {},
      tpm: true,
    };
    const spec = parseVm({
      ...minimal,
      disks: [
        { file: { size: '1G' }, device: 'nvme' },
        { image: '/iso/a.iso', device: 'ahci-cd' },
      ],
      devices,
    });
    expect(spec.disks.map((disk) => disk.device)).toEqual(['nvme', 'ahci-cd']);
    expect(spec.devices['virtio-9p']).toEqual([{ name: 'src', path: '/usr/src', readOnly: true }]);
    expect(spec.devices.fbuf).toEqual({ width: 1024, height: 768 });
  });

  test.each([
    [{ devices: { passthru: ['ppt0'] } }, 'unconfined'],
    [{ devices: { vga: true } }, 'devices.vga'],
    [{ devices: { passthru: ['ppt0; reboot'] }, unconfined: true }, 'devices.passthru[0]'],
    [{ devices: { 'virtio-9p': [{ name: 'a', path: '../etc' }] } }, 'devices.virtio-9p[0].path'],
    [{ devices: { 'virtio-console': ['a b'] } }, 'devices.virtio-console[0]'],
    [{ disks: [{ file: { size: '1G' }, device: 'ahci-cd' }] }, 'disks[0].device'],
    [{ nics: [{ device: 'ne2000' }] }, 'nics[0].device'],
  ])('refuses %j and says where', (change, path) => {
    expect(problemsOf({ ...minimal, ...change }).map((each) => each.split(':')[0])).toEqual([path]);
  });

  test.each([
    { console: 'login:' },
    { port: { address: '192.0.2.7', port: 22 } },
    { port: { address: '2001:db8::7', port: 22 } },
    { delaySeconds: 5 },
  ])('is ready when it says: %j', (ready) => {
    const { boot } = parseVm({ ...minimal, boot: { priority: 0, after: ['db'], ready, readyTimeoutSeconds: 60 } });
    expect(boot).toEqual({ priority: 0, after: ['db'], ready, readyTimeoutSeconds: 60 });
  });

  test.each([
    [{ priority: 1001 }, 'boot.priority: at most 1000 / 1001'],
    [{ priority: 'first' }, 'boot.priority: number / "first"'],
    [{ order: 1 }, 'boot.order: no such key / it'],
    [{ after: ['Db'] }, 'boot.after[0]: a name of [a-z0-9-], at most 31 characters, not starting with - / "Db"'],
    [{ after: ['web01'] }, 'boot.after: other VMs: none waits for itself / ["web01"]'],
    [{ ready: {} }, 'boot.ready: one of {console: TEXT}, {port: {address, port}}, {delaySeconds: N} / {}'],
    [{ ready: { console: '' } }, 'boot.ready.console: a text on one line, of 1 to 200 characters / ""'],
    [{ ready: { console: 'a\nb' } }, 'boot.ready.console: a text on one line, of 1 to 200 characters / "a\\nb"'],
    [{ ready: { console: 'a', delaySeconds: 1 } }, 'boot.ready.delaySeconds: no such key / it'],
    [
      { ready: { port: { address: 'web.example', port: 22 } } },
      'boot.ready.port.address: an IP address / "web.example"',
    ],
    [{ ready: { port: { address: '192.0.2.7', port: 0 } } }, 'boot.ready.port.port: at least 1 / 0'],
    [{ ready: { delaySeconds: 0 } }, 'boot.ready.delaySeconds: at least 1 / 0'],
    [{ readyTimeoutSeconds: 0 }, 'boot.readyTimeoutSeconds: at least 1 / 0'],
  ])('refuses boot %j and says what was expected', (boot, problem) => {
    expect(problemsOf({ ...minimal, boot })).toEqual([problem]);
  });

  test('tells all its problems at once', () => {
    const value = {
      name: 'Web',
      cpus: 0,
      memory: 'lots',
      firmware: {},
      nics: [{ mac: '01:00:00:00:00:00' }],
      extra: 1,
    };
    const problems = problemsOf(value);
    expect(problems).toHaveLength(6);
    expect(problems.map((each) => each.split(':')[0]).sort()).toEqual(
      ['cpus', 'extra', 'firmware', 'memory', 'name', 'nics[0].mac'].sort(),
    );
  });

  test.each([
    ['a unicast MAC', { nics: [{ mac: '01:00:5e:00:00:01' }] }, 'nics[0].mac'],
    ['a MAC that is not zero', { nics: [{ mac: '00:00:00:00:00:00' }] }, 'nics[0].mac'],
    ['no key that nobody reads', { nics: [{ bandwidth: 1 }] }, 'nics[0].bandwidth'],
    ['a path without ..', { firmware: { rom: '/roms/../etc/passwd' } }, 'firmware.rom'],
    ['a path without what bhyve expands', { firmware: { rom: '/roms/%(x)' } }, 'firmware.rom'],
    ['an absolute path', { firmware: { rom: 'a.rom' } }, 'firmware.rom'],
    ['one kind of disk', { disks: [{ zvol: { size: '1G' }, image: '/a' }] }, 'disks[0].image'],
    ['a disk of some size', { disks: [{ zvol: { size: '12' } }] }, 'disks[0].zvol.size'],
    ['a CPU list', { limits: { cpuset: '0-' } }, 'limits.cpuset'],
    ['a policy that exists', { restart: { policy: 'sometimes' } }, 'restart.policy'],
  ])('needs %s', (_, change, path) => {
    expect(problemsOf({ ...minimal, ...change }).map((each) => each.slice(0, each.indexOf(': ')))).toEqual([path]);
  });

  test.each(['', '-a', 'a_b', 'a.b', 'A', 'a'.repeat(32), 'a b', 'a/b', 'a*'])('name %j is refused', (name) => {
    expect(problemsOf({ ...minimal, name })).toHaveLength(1);
  });

  test('a syntax error names its line', () => {
    expect(() => parseVmText('name: web01\n  cpus: 2\n', 'a.yaml')).toThrow(/a\.yaml.*line \d+ column \d+/);
  });

  test('a key given twice is an error', () => {
    expect(() => parseVmText('name: a\nname: b\n', 'a.yaml')).toThrow(/unique/);
  });

  test('a bomb of aliases is refused', () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefg'
      .split('')
      .map((key, i) => `${key}: &${key} [${Array(9).fill(`*${'abcdef'[i]}`).join(',')}]`)
      .join('\n')}`;
    expect(() => parseVmText(bomb, 'bomb.yaml')).toThrow();
  });
});

describe('the configuration', () => {
  test('has a default for everything', () => {
    expect(parseConfig('', 'empty')).toMatchObject({
      ...{ stateDir: '/var/db/brig', slotBase: 20_000, networks: {}, auditLog: { syslog: false } },
    });
  });

  test('refuses unknown keys with exit 78', () => {
    expect(() => parseConfig('state: /x', 'brig.yaml')).toThrow(expect.objectContaining({ code: 'config.invalid' }));
  });
});
