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
    expect(await host.list()).toEqual([]);
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

  test('a TPM has one in its own jail, which outlives a reset and goes with the stop', async () => {
    const host = await ready();
    const file = { mode: 0o555, uid: 0, gid: 0 };
    await host.model.host.mkdir('/usr/local/bin', { ...file, mode: 0o755 });
    await host.model.host.copyFile('/usr/sbin/bhyve', '/usr/local/bin/swtpm', file);
    await expect(host.create({ devices: { tpm: true } })).rejects.toThrow(/in the jails' root, got a root without it/);
    await host.platform.bases.build(host.model.host);
    await host.create({ devices: { tpm: true } });
    const before = await host.inventory();
    await host.engine.start('web01', { cause: 'operator' });
    const tpms = () => host.model.state.processes.filter(({ command }) => command.startsWith('/usr/local/bin/swtpm '));
    const [tpm] = tpms();
    expect([tpm?.uid, tpm?.jid]).toEqual([20_000, host.model.state.jails[0]?.jid]);
    const [audit] = await host.audit('web01');
    expect(audit?.properties.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
    host.model.guest('web01').type('r');
    await host.until(() => host.kinds().includes('vm.reset'));
    await host.until(async () => (await host.state()) === 'running');
    expect(tpms()).toEqual([tpm]);
    await host.engine.stop('web01', { cause: 'operator', graceMs: 1000 });
    expect(await host.inventory()).toEqual(before);
  });

  test('a console port works again after the guest has reset: the old socket is gone by then', async () => {
    const host = await ready();
    await host.create({ devices: { 'virtio-console': ['agent'] } });
    await host.engine.start('web01', { cause: 'operator' });
    const pid = (await host.engine.show('web01')).pid;
    host.model.guest('web01').type('r');
    await host.until(async () => {
      const view = await host.engine.show('web01');
      return view.state === 'running' && view.pid !== pid;
    });
  });
});
