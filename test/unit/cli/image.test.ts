import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { imageCommand } from '../../../src/cli/commands/image.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-image-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true });
});

/** Exports an image of one small disk, whose bytes come when they are let. */
const exportTo = async (to: string, letGo: Promise<void> = Promise.resolve()): Promise<void> => {
  const image = { manifest: { name: 'web', version: '1', disks: [{ bytes: 512 }] } };
  const client = {
    showImage: () => Promise.resolve(image),
    readDisk: async function* () {
      await letGo;
      yield { data: Buffer.alloc(512) };
    },
  } as unknown as Client;
  await imageCommand.run({ client, ...parseCall(imageCommand, ['export', 'web', to]) });
};

test('an export writes through no file that somebody may have put there', async () => {
  const [to, letters] = [join(dir, 'web.tar'), join(dir, 'letters')];
  writeFileSync(letters, 'dear');
  symlinkSync(letters, `${to}.brig-new`);
  await exportTo(to);
  expect(readFileSync(letters, 'utf8')).toBe('dear');
  expect(readdirSync(dir).sort()).toEqual(['letters', 'web.tar', 'web.tar.brig-new']);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('an export that %s ends leaves nothing', async (signal, status) => {
  const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as unknown as typeof process.exit);
  const gate = Promise.withResolvers<undefined>();
  const exported = exportTo(join(dir, 'web.tar'), gate.promise);
  await vi.waitFor(() => expect(readdirSync(dir)).toHaveLength(1));
  process.listeners(signal).at(-1)?.(signal);
  expect(readdirSync(dir)).toEqual([]);
  expect(exit).toHaveBeenCalledWith(status);
  gate.resolve(undefined);
  // Only a test lives on.
  await expect(exported).rejects.toMatchObject({ code: 'host.failed' });
  expect(existsSync(join(dir, 'web.tar'))).toBe(false);
});
