import { describe, expect, test } from 'vitest';
import { composeRules } from '../../../src/freebsd/fragments.ts';
import { DEVICES, limitsOf, partsOf, type DeviceName } from '../../../src/freebsd/devices.ts';
import { renderConfig } from '../../../src/freebsd/programs/bhyve.ts';
import { renderShown } from '../../../src/freebsd/programs/devfs.ts';
import { readFragments } from '../../../src/io/fragments.ts';
import { parseVm } from '../../../src/spec/vm.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { nicOn } from '../placed.ts';

const where = { dataset: 'tank/brig', machine: 'web01' };
const bridge = { network: 'default', name: 'bridge7000', own: true };
const vmOf = (change: object): Vm => {
  const spec = parseVm({ name: 'web01', firmware: { builtin: 'test' }, memory: '64M', ...change });
  const nics = spec.nics.map((_, i) => nicOn(7000 + i, `58:9c:fc:00:00:0${i}`, bridge));
  return { spec, place: { slot: 1, uid: 20001, secretName: 'b0', nics } };
};
const everything = vmOf({
  disks: [
    { zvol: { size: '1G' } },
    { file: { size: '1M' }, device: 'nvme' },
    { image: '/isos/a.iso', device: 'ahci-cd' },
    { zvol: { size: '1G' }, device: 'ahci-hd' },
  ],
  nics: [{}, { device: 'e1000' }],
  devices: {
    'virtio-console': ['agent', 'log'],
    'virtio-9p': [{ name: 'src', path: '/usr/src' }],
    fbuf: {},
    tpm: true,
    'virtio-scsi': ['/dev/cam/ctl1.0'],
    hda: { play: '/dev/dsp0' },
    passthru: ['ppt0'],
  },
  unconfined: true,
});
const fragments = readFragments();
const rulesOf = (vm: Vm): string =>
  renderShown(
    composeRules(
      fragments,
      partsOf(vm, where).flatMap((part) => part.uses),
    ),
  );
const keysOf = (vm: Vm): string[] => renderConfig(vm, where, false).trim().split('\n');

describe('the table of devices', () => {
  test('has a row for each, and a VM may ask for all of them', () => {
    const asked = new Set(partsOf(everything, where).map((part) => part.device));
    expect((Object.keys(DEVICES) as DeviceName[]).filter((name) => !asked.has(name))).toEqual([]);
  });

  test('by default is host bridge, LPC, disks, NICs and entropy', () => {
    const vm = vmOf({ disks: [{ zvol: { size: '1G' } }], nics: [{}] });
    expect(partsOf(vm, where).map((part) => part.device)).toEqual([
      'hostbridge',
      'lpc',
      'virtio-blk',
      'virtio-net',
      'virtio-rnd',
    ]);
  });

  test.each([
    ['disk 1 as nvme', ['pci.0.4.0.device=nvme', 'pci.0.4.0.path=/disk/disk1.raw']],
    [
      'disk 2 as a CD, read-only',
      [
        'pci.0.5.0.device=ahci',
        'pci.0.5.0.port.0.type=cd',
        'pci.0.5.0.port.0.path=/vm/disk2.img',
        'pci.0.5.0.port.0.ro=true',
      ],
    ],
    ['a console port', ['pci.0.1.0.port.1.name=log', 'pci.0.1.0.port.1.path=/tmp/port.log.sock']],
    ['a share, read-only', ['pci.0.2.0.sharename=src', 'pci.0.2.0.path=/vm/share0', 'pci.0.2.0.ro=true']],
    ['a screen on a unix socket', ['pci.0.29.0.rfb=unix:/tmp/vnc.sock', 'pci.0.19.0.slot.1.device=tablet']],
    ['a TPM', ['tpm.type=swtpm', 'tpm.path=/tmp/tpm.sock', 'acpi_tables_in_memory=false']],
    ['host hardware, with wired memory', ['pci.1.0.0.pptdev=ppt0', 'memory.wired=true']],
  ])('gives bhyve %s', (_, keys) => {
    expect(keysOf(everything)).toEqual(expect.arrayContaining(keys));
  });

  test('gives no slot to two devices', () => {
    const slots = keysOf(everything).flatMap((key) => /^(pci\.[\d.]+)\.device=/.exec(key)?.[1] ?? []);
    expect(slots).toEqual([...new Set(slots)]);
  });

  test('leaves the slots of others alone when a device comes or goes', () => {
    const few = keysOf(vmOf({ disks: [{ zvol: { size: '1G' } }], nics: [{}] }));
    expect(keysOf(everything)).toEqual(expect.arrayContaining(few.filter((key) => key.startsWith('pci.'))));
  });

  test('bounds a file by the largest disk, unless a share takes files of the host', () => {
    const bytes = (change: object) => limitsOf(vmOf(change), where).fileBytes;
    expect(bytes({ disks: [{ file: { size: '1G' } }] })).toBe(2 ** 30);
    const share = { name: 'src', path: '/usr/src', readOnly: false };
    expect(bytes({ devices: { 'virtio-9p': [share] } })).toBeUndefined();
  });

  test('asks more of the limits for more devices', () => {
    expect(limitsOf(everything, where).threads).toBeGreaterThan(limitsOf(vmOf({}), where).threads);
    expect(limitsOf(vmOf({ limits: { threads: 99, openfiles: 77, processes: 9 } }), where)).toEqual({
      threads: 99,
      openfiles: 77,
      processes: 9,
      fileBytes: 16 * 2 ** 20,
    });
  });
});

describe('devfs fragments', () => {
  test('name every directory level, and nothing by pattern', () => {
    const shown = rulesOf(everything);
    expect(shown).toContain('path zvol/tank/brig/vms/web01/disk3 unhide user 20001 mode 600');
    expect(shown).toContain(' path zvol/tank/brig unhide\n');
    expect(shown).toContain(' path cam unhide\n');
    expect(shown).not.toMatch(/[*?[\]]/);
  });

  test('show a share, a CD and a file disk no device', () => {
    const vm = vmOf({ disks: [{ file: { size: '1M' } }, { image: '/a.iso', device: 'ahci-cd' }] });
    expect(rulesOf(vm)).toBe('');
  });

  const use = (text: string, values = {}) => composeRules({ x: text }, [{ fragment: 'x', values }]);
  test.each([
    ['path tap* unhide', /expected a rule of exact names/],
    ['path tap0 unhide group 5', /expected a rule of exact names/],
    ['path {tap} unhide', /expected a known placeholder, got \{tap\}/],
    ['add 100 hide', /expected a rule of exact names/],
  ])('that say %j are refused', (line, why) => {
    expect(() => use(`# comment\n\n${line}\n`)).toThrow(why);
  });

  test('pass over comments and empty lines: to devfs(8) an empty line would be the end', () => {
    expect(use('# a\n\nhide\n\npath a/b unhide\nparents a/b\n')).toEqual([
      { hide: true },
      { path: 'a/b' },
      { path: 'a' },
    ]);
  });
});
