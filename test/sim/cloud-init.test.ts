import { afterEach, describe, expect, test } from 'vitest';
import type { FileNode } from '../../src/model/world.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;
const CANARY = 'correct horse battery staple';
const KEY = `ssh-ed25519 ${'A'.repeat(68)} me@example`;
const SEED = '/var/run/brig/vms/web01/vm/seed.iso';

let world: World;
afterEach(() => world.close());

const nodeAt = (path: string): FileNode | undefined => world.model.state.find(path) as FileNode | undefined;
/** The files of the seed that is there now. */
const seedFiles = (): Record<string, string> => {
  const node = nodeAt(SEED);
  if (!node) return {};
  const { files } = JSON.parse(Buffer.from(node.content).toString()) as { files: Record<string, string> };
  return Object.fromEntries(
    Object.entries(files).map(([name, data]) => [name, Buffer.from(data, 'base64').toString()]),
  );
};

describe('a VM with a seed', () => {
  test.each(['virtio-blk', 'ahci-cd'])('gets it on %s, for its process alone, and an audit holds', async (device) => {
    world = await new World().prepare();
    await world.create({ cloudInit: { sshKeys: [KEY], userData: `#!/bin/sh\n# ${CANARY}\n`, device } });
    const before = await world.inventory();
    await world.engine.start('web01', operator);
    expect(seedFiles()['user-data']).toContain(CANARY);
    expect(Object.keys(seedFiles()).sort()).toEqual(['meta-data', 'network-config', 'user-data']);
    const { uid } = await world.engine.show('web01');
    expect(nodeAt(SEED)).toMatchObject({ mode: 0o400, uid, gid: uid });
    expect(nodeAt('/var/run/brig/vms/web01/seed')).toBeUndefined();
    const [audit] = await world.audit('web01');
    expect(audit?.properties.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
    expect(audit?.properties.map(({ id }) => id)).toContain('files.seed');
    await world.engine.stop('web01', { ...operator, graceMs: 0 });
    expect(await world.inventory()).toEqual(before);
  });

  test('tells nobody what is in it', async () => {
    world = await new World().prepare();
    await world.create({ cloudInit: { userData: CANARY } });
    const commands = world.watchCommands();
    const said = [await world.engine.plan('start', 'web01', 0)];
    await world.engine.start('web01', operator);
    const all = JSON.stringify([said, commands(), await world.list(), world.events.list(0, 10_000)]);
    expect(all).not.toContain(CANARY);
    expect(all).toContain('seed.make');
  });

  test('whose file somebody removes gets it again', async () => {
    world = await new World().prepare();
    await world.create({ cloudInit: { userData: 'x' } });
    await world.engine.start('web01', operator);
    await world.model.host.remove(SEED);
    expect((await world.engine.examine('web01')).map(({ step }) => step)).toEqual(['seed.make']);
    await world.engine.repair('web01', () => undefined);
    expect(seedFiles()['user-data']).toBe('x');
  });

  test('is refused before anything is touched where makefs(8) is not there', async () => {
    world = await new World().prepare();
    await world.model.host.remove('/usr/sbin/makefs');
    await expect(world.create({ cloudInit: {} })).rejects.toThrow(
      /expected file \/usr\/sbin\/makefs, got nothing there/,
    );
  });
});
