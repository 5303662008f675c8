import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, leftovers, run, Stage, type Ran } from '../demo/stage.ts';

const MIB = 2 ** 20;
const before = inventory();
const stage = new Stage('snapshots', { accel: 'tcg' });
const file = (name: string): string => join(stage.dir, name);
const ok = (...args: string[]): string => {
  const { status, stdout, stderr } = stage.brig(...args);
  const quiet = stderr.replaceAll(/^(create|start|destroy|stop|snapshot|rollback|resize).*\n/gm, '');
  expect([status, quiet], `brig ${args.join(' ')}`).toEqual([0, '']);
  return stdout;
};
const must = (program: string, ...args: string[]): string => {
  const { status, stdout, stderr } = run(program, args);
  expect([program, status, stderr]).toEqual([program, 0, expect.any(String)]);
  return stdout;
};
const refused = (...args: string[]): Ran => {
  const ran = stage.brig(...args);
  expect(ran.status, ran.stderr).not.toBe(0);
  expect(ran.stderr.trim().split('\n')).toHaveLength(1);
  return ran;
};

const overlay = file('state/vms/web01/disk/disk0.qcow2');
const raw = file('state/vms/web01/disk/disk1.raw');
/** What a guest would do. */
const write = (letter: string): void => {
  const pattern = String(letter.charCodeAt(0));
  must('/usr/bin/qemu-io', '-f', 'qcow2', '-c', `write -q -P ${pattern} 1M 64k`, overlay);
  must('/usr/bin/qemu-io', '-f', 'raw', '-c', `write -q -P ${pattern} 0 64k`, raw);
};
const read = (): string => {
  const flat = file('flat');
  must('/usr/bin/qemu-img', 'convert', '-O', 'raw', overlay, flat);
  const [first, second] = [readFileSync(flat), readFileSync(raw)];
  return `${String.fromCharCode(first[MIB] ?? 0)}${String.fromCharCode(second[0] ?? 0)}`;
};
const sha = (ref: string): string[] =>
  stage
    .json<{ manifest: { disks: { sha256: string }[] } }>('image', 'show', ref)
    .manifest.disks.map((disk) => disk.sha256);
const scratch = (): string[] => readdirSync(file('state/images/disks')).filter((name) => name.startsWith('new-'));

beforeAll(async () => {
  writeFileSync(file('disk'), randomBytes(2 * MIB));
  truncateSync(file('disk'), 8 * MIB);
  await stage.up();
  ok('image', 'import', file('disk'), '--insecure', '--name', 'base', '--version', '1', '--firmware', 'test');
  ok('create', 'web01', '--image', 'base', '--memory', '32M', '--disk', 'file:8M', '--disk', 'file:4M');
});

afterAll(async () => {
  for (const { name } of await stage.client.list()) ok('destroy', '--force', name);
  await stage.down();
  await stage.close();
  expect(leftovers(before, inventory())).toEqual([]);
});

describe('a VM', () => {
  test('goes back to a snapshot with all its disks, and its document', () => {
    write('a');
    expect(ok('snapshot', 'create', 'web01', 'first')).toBe('first  stopped\n');
    write('b');
    ok('snapshot', 'create', 'web01', 'second');
    write('c');
    ok('resize', 'web01', '1', '16M');
    expect(statSync(raw).size).toBe(16 * MIB);
    expect(ok('snapshot', 'list', 'web01')).toMatch(/^first .*manual +stopped +8M,4M +yes$/m);
    expect(refused('snapshot', 'rollback', 'web01', 'first').stderr).toMatch(
      /blocked: second came after first .*--force/,
    );
    ok('snapshot', 'rollback', 'web01', 'second');
    expect([read(), statSync(raw).size]).toEqual(['bb', 4 * MIB]);
    ok('snapshot', 'rollback', 'web01', 'first', '--force');
    expect(read()).toBe('aa');
    expect(stage.json<{ name: string }[]>('snapshot', 'list', 'web01').map(({ name }) => name)).toEqual(['first']);
  });

  test('that runs keeps its disks: files are neither copied nor changed under it', () => {
    ok('start', 'web01');
    expect(refused('snapshot', 'create', 'web01', 'x').stderr).toMatch(
      /expected it stopped, for disk 0 is a file; got running/,
    );
    expect(refused('snapshot', 'rollback', 'web01', 'first').stderr).toMatch(/blocked: it is not stopped/);
    expect(refused('resize', 'web01', '0', '32M').stderr).toMatch(/blocked: it is not stopped/);
    expect(refused('image', 'build', '--from', 'web01', '--name', 'x', '--version', '1').stderr).toMatch(
      /blocked: it is not stopped/,
    );
    ok('kill', 'web01');
  });

  test('gets larger disks, and starts with them', () => {
    ok('resize', 'web01', '0', '32M');
    expect(JSON.parse(must('/usr/bin/qemu-img', 'info', '--output=json', overlay))).toMatchObject({
      'virtual-size': 32 * MIB,
    });
    expect(refused('resize', 'web01', '0', '16M').stderr).toMatch(/a disk never shrinks, got 16M/);
    expect(refused('resize', 'web01', '9', '64M').stderr).toMatch(/expected a disk from 0 to 1, got 9/);
    expect(refused('resize', 'web01', 'zero', '64M').status).toBe(64);
    ok('start', 'web01');
    ok('kill', 'web01');
  });

  test.each([
    [['snapshot', 'create', 'web01', 'first'], 73],
    [['snapshot', 'create', 'web01', '../../x'], 65],
    [['snapshot', 'rm', 'web01', 'frist'], 69],
    [['snapshot', 'create', 'nobody'], 69],
    [['snapshot', 'burn', 'web01'], 64],
    [['snapshot', 'rollback', 'web01'], 64],
    [['image', 'build'], 64],
    [['image', 'build', '--from', 'web01'], 64],
    [['image', 'build', '--from', 'web01@nope', '--name', 'x', '--version', '1'], 69],
  ])('%j is refused in one line', (args, status) => {
    const ran = stage.brig(...args);
    expect([ran.status, ran.stderr.trim().split('\n').length], ran.stderr).toEqual([
      status,
      ran.stderr.includes('problem') ? 2 : 1,
    ]);
  });
});

describe('an image of a VM', () => {
  test('has what its guest sees, of a snapshot and of the VM itself, and makes other VMs', () => {
    ok('snapshot', 'rollback', 'web01', 'first');
    ok('image', 'build', '--from', 'web01', '--name', 'made', '--version', '1');
    write('z');
    ok('image', 'build', '--from', 'web01@first', '--name', 'made', '--version', '2');
    expect(sha('made:2')).toEqual(sha('made:1'));
    ok('image', 'verify', 'made:1');
    expect(ok('image', 'show', 'made:1')).toContain('VM web01');
    ok('create', 'web02', '--image', 'made:2');
    ok('start', 'web02');
    ok('destroy', '--force', 'web02');
    expect(scratch()).toEqual([]);
  });

  test('has nothing of the host, whatever a guest wrote into its overlay', () => {
    writeFileSync(file('secret'), 'SECRET'.repeat(100_000), { mode: 0o600 });
    const image = sha('made:1');
    ok('snapshot', 'rollback', 'web01', 'first');
    must('/usr/bin/qemu-img', 'rebase', '-u', '-F', 'raw', '-b', file('secret'), overlay);
    ok('image', 'build', '--from', 'web01', '--name', 'spoiled', '--version', '1');
    expect(sha('spoiled:1')).toEqual(image);
    must(
      '/usr/bin/qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      `data_file=${file('secret')},data_file_raw=on`,
      overlay,
      '8M',
    );
    expect(refused('image', 'build', '--from', 'web01', '--name', 'outside', '--version', '1').stderr).toMatch(
      /qemu-img: status 1/,
    );
    expect(scratch()).toEqual([]);
    ok('snapshot', 'rollback', 'web01', 'first');
    expect(read()).toBe('aa');
  });

  test('of a document is the same each time', () => {
    writeFileSync(file('image.yaml'), 'name: built\nversion: "1"\nfirmware: test\ndisks: [disk]\n');
    const [first, second] = [0, 1].map(() => {
      ok('image', 'build', file('image.yaml'));
      ok('image', 'export', 'built', file('built.tar'));
      ok('image', 'rm', 'built');
      return must('/usr/bin/sha256sum', file('built.tar'));
    });
    expect(second).toBe(first);
  });
});

test('the last VM of an image takes its data over, and the image goes', () => {
  const made = sha('made:1');
  expect(refused('image', 'rm', 'base:1').stderr).toMatch(/1 VM was made of it .*--promote/);
  expect(refused('image', 'rm', 'base:1', '--promote').stderr).toMatch(/snapshot first lies on its image/);
  ok('snapshot', 'rm', 'web01', 'first');
  // Without what it lies on an overlay is no disk, and is not given up.
  const info = must('/usr/bin/qemu-img', 'info', '--output=json', overlay);
  const base = (JSON.parse(info) as Record<string, string>)['backing-filename'] ?? '';
  renameSync(base, `${base}.away`);
  refused('image', 'rm', 'base:1', '--promote');
  expect(readdirSync(file('state/vms/web01/disk'))).toContain('disk0.qcow2');
  renameSync(`${base}.away`, base);
  expect(read()).toBe('aa');
  ok('image', 'rm', 'base:1', '--promote');
  expect(readdirSync(file('state/vms/web01/disk')).sort()).toEqual(['disk0.raw', 'disk1.raw']);
  ok('image', 'build', '--from', 'web01', '--name', 'free', '--version', '1');
  expect(sha('free:1')).toEqual(made);
  ok('start', 'web01');
  ok('kill', 'web01');
});

test('a destroyed VM takes its snapshots along', () => {
  ok('snapshot', 'create', 'web01');
  ok('destroy', 'web01');
  expect(readdirSync(file('state/vms'))).toEqual([]);
});
