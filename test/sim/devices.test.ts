import { afterEach, describe, expect, test } from 'vitest';
import { World } from './world.ts';

let world: World;
afterEach(() => world.close());

const ready = async (): Promise<World> => (world = await new World().prepare());
const DISK = [{ zvol: { size: '64M' } }];

describe('a document that asks for', () => {
  test.each([
    ['e1000', { nics: [{ device: 'e1000' }] }, /expected devices that this node allows, got e1000: .*use virtio-net/],
    ['virtio-scsi', { devices: { 'virtio-scsi': ['/dev/cam/ctl1.0'] } }, /got virtio-scsi: .*ctl\(4\) in the kernel/],
    ['sound', { devices: { hda: { play: '/dev/dsp0' } } }, /got hda: .*/],
    [
      'hardware that is not there',
      { devices: { passthru: ['ppt7'] }, unconfined: true },
      /expected device \/dev\/ppt7, got nothing there/,
    ],
    [
      'a share of a directory that is not there',
      { devices: { 'virtio-9p': [{ name: 'src', path: '/nowhere' }] } },
      /expected directory \/nowhere, got nothing there/,
    ],
    ['a TPM without swtpm', { devices: { tpm: true } }, /expected program \/usr\/local\/bin\/swtpm, got nothing there/],
  ])('%s is refused before anything is touched', async (_, change, why) => {
    const host = await ready();
    const before = await host.inventory();
    await expect(host.create({ disks: DISK, ...change })).rejects.toThrow(why);
    expect(await host.inventory()).toEqual(before);
    expect(await host.engine.list()).toEqual([]);
  });

  test('a name too long for devfs(8) is refused: it would be cut short and show something else', async () => {
    world = new World({}, `tank/${'d'.repeat(180)}`);
    await world.prepare();
    await expect(world.create({ disks: DISK })).rejects.toThrow(
      /expected device names of at most 199 bytes in devfs\(8\), got 20\d bytes/,
    );
  });

  test('disks of each kind, a port, a share and a screen runs with them, and an audit holds', async () => {
    const host = await ready();
    await host.model.host.mkdir('/usr/src', { mode: 0o755, uid: 0, gid: 0 });
    await host.model.host.mkdir('/isos', { mode: 0o755, uid: 0, gid: 0 });
    await host.model.host.writeFile('/isos/a.iso', 'iso', { mode: 0o444, uid: 0, gid: 0 });
    await host.create({
      disks: [
        ...DISK,
        { file: { size: '1M' }, device: 'nvme' },
        { image: '/isos/a.iso', device: 'ahci-cd' },
        { zvol: { size: '64M' }, device: 'ahci-hd' },
      ],
      nics: [{}, { mode: 'direct' }],
      devices: { 'virtio-9p': [{ name: 'src', path: '/usr/src' }], fbuf: {} },
      limits: { cpuset: '0-1', memory: '512M', readBps: '1M' },
      wired: true,
    });
    const before = await host.inventory();
    await host.engine.start('web01', { cause: 'operator' });
    const [audit] = await host.audit('web01');
    expect(audit?.properties.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
    expect(audit?.advisories.find(({ id }) => id === 'SA-26:72')).toMatchObject({
      device: 'xhci',
      fixed: 'unknown',
      containedBy: ['jail', 'uid', 'capsicum'],
      verdict: 'holds',
    });
    await host.engine.stop('web01', { cause: 'operator' });
    expect(await host.inventory()).toEqual(before);
  });
});
