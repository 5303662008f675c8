import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { renderEffect } from '../../../src/saga/render.ts';
import { seed, seedsOf } from '../../../src/platform/seed.ts';
import { layout } from '../../../src/platform/layout.ts';
import { buildVm } from '../linux/build.ts';
import { makeSeed as makefs } from '../../../src/freebsd/programs/makefs.ts';
import { makeSeed as xorrisofs } from '../../../src/linux/programs/xorrisofs.ts';

const KEY = `ssh-ed25519 ${'A'.repeat(68)} me@example`;
const files = layout({ stateDir: '/var/db/brig', runDir: '/run/brig' }).vm('web01');
const seedOf = (document: Record<string, unknown>) => seedsOf(buildVm(document), files, makefs)[0];
const textOf = (document: Record<string, unknown>, name: string): string =>
  seedOf(document)?.files.find((each) => each.name === name)?.text ?? 'nothing';
const idOf = (document: Record<string, unknown>): unknown =>
  (parse(textOf(document, 'meta-data')) as Record<string, unknown>)['instance-id'];

describe('a seed', () => {
  test('is there only when it is asked for', () => {
    expect(seedOf({})).toBeUndefined();
    expect(seedOf({ cloudInit: {} })?.files.map(({ name }) => name)).toEqual(['meta-data', 'user-data']);
  });

  test('is of another instance whenever the guest is to heed something new, and of the same one otherwise', () => {
    const cloudInit = { sshKeys: [KEY], userData: '#!/bin/sh\n' };
    const all = [
      { cloudInit },
      { cloudInit: { ...cloudInit, hostname: 'other' } },
      { cloudInit: { ...cloudInit, sshKeys: [] } },
      { cloudInit: { ...cloudInit, userData: '#!/bin/sh\n\n' } },
      { cloudInit, nics: [{}] },
      { cloudInit, nics: [{ addresses: ['192.0.2.1/24'] }] },
    ];
    expect(new Set(all.map(idOf)).size).toBe(all.length);
    expect(all.map(idOf)).toEqual(all.map((each) => idOf({ cpus: 2, ...each })));
  });

  test('has plain YAML that small readers understand: no aliases, no folded lines', () => {
    const text = textOf({ cloudInit: { sshKeys: [`${KEY} ${'x'.repeat(120)}`] } }, 'meta-data');
    expect(text).not.toMatch(/[&*]a\d/);
    expect(text.split('\n').filter((line) => line.includes('ssh-ed25519'))).toHaveLength(2);
  });

  test("leaves FreeBSD's names of interfaces alone", () => {
    const nics = [{ addresses: ['192.0.2.1/24'] }];
    const image = { name: 'f', version: '15', digest: 'ab', os: 'FreeBSD' };
    expect(textOf({ cloudInit: {}, nics, image }, 'network-config')).not.toContain('set-name');
    expect(textOf({ cloudInit: {}, nics }, 'network-config')).toContain('set-name: eth0');
  });

  test('is a cloud-config of two lines when nobody says otherwise: nuageinit(7) sets up no network without', () => {
    expect(textOf({ cloudInit: {} }, 'user-data')).toBe('#cloud-config\nhostname: "web01"\n');
    expect(textOf({ cloudInit: { userData: '' } }, 'user-data')).toBe('');
  });

  test('is never shown by a plan, and only its process reads it', () => {
    const args = seedOf({ cloudInit: { userData: 'CANARY', vendorData: 'CANARY' } });
    if (!args) throw new Error('no seed');
    const lines = seed.apply(args).flatMap(renderEffect);
    expect(lines.join('\n')).not.toContain('CANARY');
    expect(lines).toEqual([
      'rm -rf /run/brig/vms/web01/seed',
      'install -d -m 0700 -o 0 -g 0 /run/brig/vms/web01/seed',
      expect.stringMatching(
        /^install -m 0600 -o 0 -g 0 \/dev\/stdin \/run\/brig\/vms\/web01\/seed\/meta-data # \d+ characters, not shown$/,
      ),
      'install -m 0600 -o 0 -g 0 /dev/stdin /run/brig/vms/web01/seed/user-data # 6 characters, not shown',
      'install -m 0600 -o 0 -g 0 /dev/stdin /run/brig/vms/web01/seed/vendor-data # 6 characters, not shown',
      'rm -rf /run/brig/vms/web01/seed.iso',
      '/usr/sbin/makefs -t cd9660 -o rockridge,label=CIDATA -T 315532800 /run/brig/vms/web01/seed.iso /run/brig/vms/web01/seed',
      'install -m 0400 -o 20001 -g 20001 /run/brig/vms/web01/seed.iso /run/brig/vms/web01/vm/seed.iso',
      'rm -rf /run/brig/vms/web01/seed.iso',
      'rm -rf /run/brig/vms/web01/seed',
    ]);
    expect(xorrisofs('/a', '/b').args).toContain('1980010100000000');
  });
});

describe('a document', () => {
  test.each([
    [{ cloudInit: { hostname: '-a' } }, /cloudInit.hostname: expected a host name .*, got "-a"/],
    [{ cloudInit: { sshKeys: ['CANARY'] } }, /cloudInit.sshKeys\[0\]: expected a public key .*, got another text/],
    [{ cloudInit: { sshKeys: [`${KEY}\nssh-rsa AAAA`] } }, /expected a public key/],
    [{ cloudInit: { userData: { CANARY: 'CANARY' } } }, /cloudInit.userData/],
    [{ cloudInit: { userData: ['CANARY'] } }, /cloudInit.userData: expected a text .*, got a list/],
    [
      { cloudInit: { userData: { base64: '!CANARY' } } },
      /cloudInit.userData.base64: expected a text .*got another text/,
    ],
    [
      { cloudInit: { userData: 'x'.repeat(2 ** 19 + 1) } },
      /cloudInit.userData: expected a text of at most 524288 bytes/,
    ],
    [{ snapshots: { hourly: 0 } }, /snapshots.hourly: expected at least 1, got 0/],
    [{ snapshots: { monthly: 1 } }, /snapshots.monthly: expected no such key/],
    [{ snapshots: { weekly: '4' } }, /snapshots.weekly/],
    [{ cloudInit: { user: 'x' } }, /cloudInit.user: expected no such key/],
    [
      { cloudInit: {}, nics: [{ addresses: ['192.0.2.1'] }] },
      /nics\[0\].addresses\[0\]: expected an address with its prefix/,
    ],
    [{ cloudInit: {}, nics: [{ gateways: ['192.0.2.1', '192.0.2.2'] }] }, /nics: expected one gateway of each family/],
    [{ nics: [{ addresses: ['192.0.2.1/24'] }] }, /cloudInit: expected an object such as \{\}/],
  ])('%j is refused in one line', (document, reason) => {
    let message = '';
    try {
      buildVm(document);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(reason);
    expect(message.replaceAll(/cloudInit\.userData\.CANARY/g, '')).not.toContain('CANARY');
  });
});
