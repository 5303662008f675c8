import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { inventory, leftovers, Stage } from '../demo/stage.ts';
import { makeGuestDisk } from './guest.ts';

const before = inventory();
const stage = new Stage('seed', { accel: 'tcg' });
const file = (name: string): string => join(stage.dir, name);
const ok = (...args: string[]): string => {
  const { status, stdout, stderr } = stage.brig(...args);
  expect([status, stderr.replaceAll(/^(create|start|destroy|stop).*\n/gm, '')], `brig ${args.join(' ')}`).toEqual([
    0,
    '',
  ]);
  return stdout;
};

/** Prints every file of the seed, and whether it can write to it. */
const SCRIPT = `
for d in /dev/vd? /dev/sr?; do
  [ -b $d ] && [ "$(dd if=$d bs=1 skip=32808 count=6 2>/dev/null)" = CIDATA ] && seed=$d
done
echo "SEED $seed"
mount -t iso9660 -o ro $seed /mnt
cd /mnt
for f in *; do echo "FILE $f $(base64 $f | tr -d '\\n')"; done
dd if=/dev/zero of=$seed bs=2048 count=1 2>/dev/null && echo WRITTEN || echo READ-ONLY
echo THE END
`;

const KEY = `ssh-ed25519 ${'A'.repeat(67)}b me@example`;
const CANARY = 'correct horse battery staple';
/** CRLF, no newline at the end, what YAML would fold, and bytes that are no text. */
const USER_DATA = Buffer.concat([
  Buffer.from(`#cloud-config\r\npassword: ${CANARY}\n\n\ttab \u20ac`),
  Buffer.from([0xff, 0, 0x80]),
]);

interface Seed {
  readonly device: string;
  readonly files: Map<string, Buffer>;
  readonly isReadOnly: boolean;
  /** The whole medium. */
  readonly image: Buffer;
}

/** While it runs. */
const imageOf = (name: string): Buffer => readFileSync(file(`run/vms/${name}/vm/seed.iso`));

/** What a run of the guest printed of its seed. */
const boot = async (name: string): Promise<Seed> => {
  const log = file(`state/vms/${name}/console.log`);
  rmSync(log, { force: true });
  ok('start', name);
  const image = imageOf(name);
  await stage.until('the guest to end', async () => (await stage.client.show(name)).state !== 'running', 80_000);
  // What the guest said last may be on its way to the file.
  const said = (await stage.client.consoleHistory(name)).toString('latin1').replaceAll('\r', '');
  expect(said).toContain('THE END');
  const files = [...said.matchAll(/^FILE (\S+) (\S*)$/gm)].map(
    ([, at = '', data = '']) => [at, Buffer.from(data, 'base64')] as const,
  );
  return {
    device: /^SEED (\S+)$/m.exec(said)?.[1] ?? 'none',
    files: new Map(files),
    isReadOnly: said.includes('READ-ONLY') && !said.includes('WRITTEN'),
    image,
  };
};

const textOf = (seed: Seed, name: string): string => seed.files.get(name)?.toString('utf8') ?? 'nothing';

beforeAll(async () => {
  makeGuestDisk(file('guest'), file('disk'), SCRIPT);
  await stage.up();
  const about = ['--name', 'guest', '--version', '1', '--os', 'Debian', '--firmware', 'uefi', '--cloud-init'];
  ok('image', 'import', file('disk'), '--insecure', ...about);
  rmSync(file('guest'), { recursive: true });
});

afterAll(async () => {
  for (const { name } of await stage.client.list()) ok('destroy', '--force', name);
  await stage.down();
  await stage.close();
  expect(leftovers(before, inventory())).toEqual([]);
});

describe('a guest', () => {
  test('reads its name, keys, addresses and user-data from the seed, to the byte, and cannot write to it', async () => {
    writeFileSync(file('user-data'), USER_DATA);
    const document = {
      name: 'web01',
      image: 'guest',
      memory: '256M',
      restart: { policy: 'never' },
      nics: [
        {
          mac: '58:9c:fc:aa:00:01',
          addresses: ['192.0.2.10/24', '2001:db8::10/64'],
          gateways: ['192.0.2.1', '2001:db8::1'],
          dns: ['192.0.2.53'],
        },
        { mac: '58:9c:fc:aa:00:02' },
      ],
      cloudInit: {
        hostname: 'web01.example.org',
        sshKeys: [KEY],
        userData: { base64: USER_DATA.toString('base64') },
        vendorData: '#!/bin/sh\n',
      },
    };
    writeFileSync(file('web01.yaml'), JSON.stringify(document));
    ok('create', '-f', file('web01.yaml'));
    const seed = await boot('web01');
    expect([...seed.files.keys()].sort()).toEqual(['meta-data', 'network-config', 'user-data', 'vendor-data']);
    expect(seed.files.get('user-data')?.equals(USER_DATA)).toBe(true);
    expect(textOf(seed, 'vendor-data')).toBe('#!/bin/sh\n');
    expect(parse(textOf(seed, 'meta-data'))).toEqual({
      'instance-id': expect.stringMatching(/^web01-[0-9a-f]{16}$/) as unknown,
      'local-hostname': 'web01.example.org',
      'public-keys': [KEY],
      public_keys: [KEY],
    });
    expect(parse(textOf(seed, 'network-config'))).toEqual({
      version: 2,
      ethernets: {
        eth0: {
          match: { macaddress: '58:9c:fc:aa:00:01' },
          'set-name': 'eth0',
          addresses: ['192.0.2.10/24', '2001:db8::10/64'],
          gateway4: '192.0.2.1',
          gateway6: '2001:db8::1',
          nameservers: { addresses: ['192.0.2.53'] },
        },
        eth1: { match: { macaddress: '58:9c:fc:aa:00:02' }, 'set-name': 'eth1', dhcp4: true },
      },
    });
    expect(seed.isReadOnly).toBe(true);
    expect(seed.device).toMatch(/^\/dev\/vd/);
  });

  test('that has its own flags gets them, on a CD when that is asked for, and the same seed each time', async () => {
    writeFileSync(file('id.pub'), `# mine\n${KEY}\n`);
    ok(
      'create',
      'web02',
      '--image',
      'guest',
      '--memory',
      '256M',
      '--restart',
      'never',
      '--ssh-key',
      file('id.pub'),
      '--user-data',
      file('user-data'),
    );
    writeFileSync(
      file('cd.yaml'),
      JSON.stringify({
        name: 'web03',
        image: 'guest',
        memory: '256M',
        restart: { policy: 'never' },
        cloudInit: { device: 'ahci-cd' },
      }),
    );
    ok('create', '-f', file('cd.yaml'));
    // Each on a core of its own.
    const [first, cd] = await Promise.all([boot('web02'), boot('web03')]);
    expect(first.files.get('user-data')?.equals(USER_DATA)).toBe(true);
    expect(parse(textOf(first, 'meta-data'))).toMatchObject({ 'local-hostname': 'web02', 'public-keys': [KEY] });
    ok('start', 'web02');
    expect(imageOf('web02').equals(first.image)).toBe(true);
    ok('stop', 'web02', '--timeout', '0');
    expect(cd.device).toBe('/dev/sr0');
    expect(cd.isReadOnly).toBe(true);
    expect(parse(textOf(cd, 'meta-data'))).toEqual({
      'instance-id': expect.any(String) as unknown,
      'local-hostname': 'web03',
    });
    expect(textOf(cd, 'user-data')).toBe('#cloud-config\nhostname: "web03"\n');
  });
});

test('nothing that brig says or leaves has the user-data', () => {
  const said = [
    stage.log,
    ok('events', '--json'),
    ok('show', 'web01', '--json'),
    ok('explain', 'web01'),
    ok('plan', 'start', 'web01'),
    ok('list', '--json'),
  ];
  for (const text of said) expect(text).not.toContain(CANARY);
  expect(readdirSync(file('run/vms'))).toEqual([]);
  expect(statSync(file('state/brig.db')).mode & 0o777).toBe(0o600);
  writeFileSync(
    file('bad.yaml'),
    JSON.stringify({ name: 'bad', image: 'guest', cloudInit: { userData: { password: CANARY } } }),
  );
  const { status, stderr } = stage.brig('create', '-f', file('bad.yaml'));
  expect(status).toBe(65);
  expect(stderr).not.toContain(CANARY);
});
