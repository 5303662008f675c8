import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import { BrigError } from '../../../src/base/errors.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { createCommand } from '../../../src/cli/commands/create.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-create-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** Runs it against a node on which this is so; what it asked for. */
const create = async (args: readonly string[], node: Partial<Client> = {}): Promise<unknown[]> => {
  const asked: unknown[] = [];
  const client = {
    create: (document: unknown) => Promise.resolve(asked.push(document)),
    createOf: (template: string, chosen: unknown) => Promise.resolve(asked.push(template, chosen)),
    ...node,
  } as unknown as Client;
  await createCommand.run({ client, ...parseCall(createCommand, args) });
  return asked;
};

const denied = (): Promise<never> => Promise.reject(new BrigError('acl.denied', 'create VM: no'));

describe('what is read to make a VM', () => {
  test('is read once, though the node wants it said in another way', async () => {
    const path = join(dir, 'user-data');
    writeFileSync(path, '#cloud-config\n');
    const asked = await create(['web', '--template', 'test', '--user-data', path, '--label', 'a=b'], {
      create: () => {
        rmSync(path);
        return denied();
      },
    });
    expect(asked).toEqual([
      'test',
      { name: 'web', set: {}, cloudInit: { userData: '#cloud-config\n' }, labels: { a: 'b' } },
    ]);
  });

  test('may be a template that comes by a pipe', async () => {
    const path = join(dir, 'pipe');
    spawnSync('/usr/bin/mkfifo', [path]);
    const text = 'template: small\nsummary: x\nvm: {cpus: 2, firmware: {builtin: test}}\n';
    const [asked] = await Promise.all([create(['-f', path]), writeFile(path, text)]);
    expect(asked).toEqual([{ name: 'small', cpus: 2, firmware: { builtin: 'test' } }]);
  });
});

test('a refusal stands where flags say more than anybody may choose', async () => {
  const args = ['web', '--template', 'test', '--cpus', '2'];
  await expect(create(args, { create: denied })).rejects.toMatchObject({ code: 'acl.denied' });
});

describe('a template', () => {
  const erp = ['web', '--template', 'erp', '--set', 'memory=2G', '--hostname', 'erp1'];
  const chosen = { name: 'web', set: { memory: '2G' }, cloudInit: { hostname: 'erp1' } };

  test('that is not here is filled in by the node', async () => {
    expect(await create(erp)).toEqual(['erp', chosen]);
  });

  test('of another node is its own, though one here has the name', async () => {
    const elsewhere = { isElsewhere: true } as Partial<Client>;
    expect(await create(erp, elsewhere)).toEqual(['erp', chosen]);
    expect(await create(['web', '--template', 'test'], elsewhere)).toEqual(['test', { name: 'web', set: {} }]);
    await expect(create(['web', '--template', 'test', '--cpus', '2'], elsewhere)).rejects.toMatchObject({
      code: 'usage.invalid',
    });
  });

  test('that is nowhere is told with those that are here', async () => {
    await expect(create([...erp, '--cpus', '2'])).rejects.toMatchObject({
      message: 'find template erp: no such template',
    });
  });
});
