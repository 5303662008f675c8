import { describe, expect, test } from 'vitest';
import { bytesOf, expandCpus } from '../../../src/freebsd/audit/process.ts';
import { ADVISORIES } from '../../../src/freebsd/advisories.ts';
import { DEVICES } from '../../../src/freebsd/devices.ts';
import { openWalls } from '../../../src/freebsd/doctor.ts';
import { parseCpus } from '../../../src/freebsd/programs/cpuset.ts';
import { parseRelease } from '../../../src/freebsd/programs/freebsd-version.ts';
import { parseParameters } from '../../../src/freebsd/programs/jls.ts';
import { missingAnchors } from '../../../src/freebsd/programs/pfctl.ts';
import {
  parseCredentials,
  parseDescriptors,
  parseEnvironment,
  parseLimits,
} from '../../../src/freebsd/programs/procstat.ts';
import { parsePlainSwap } from '../../../src/freebsd/programs/swapctl.ts';
import { parseNames } from '../../../src/freebsd/programs/sysctl.ts';
import { parseUnwell } from '../../../src/freebsd/programs/zpool.ts';
import { property } from '../../../src/platform/audit.ts';
import { recorded } from '../../recording.ts';

describe('procstat', () => {
  const of = (command: string): string => recorded('run-vnet-stdio.txt', command);

  test('tells ids, groups and capability mode', () => {
    expect(parseCredentials(of('procstat --libxo=json cred 2102')).get(2102)).toEqual({
      uids: [20001, 20001, 20001],
      gids: [20000, 20000, 20000],
      groups: [20000, 20000],
      capsicum: true,
    });
  });

  test('tells descriptors, what they are and what they may', () => {
    const open = parseDescriptors(of('procstat fds -C 2102')).get(2102) ?? [];
    expect(open.map(({ fd, type }) => `${fd}${type}`).join(' ')).toBe(
      'textv cwdv rootv jailv 0f 1f 2v 3v 4v 5k 6v 7v 8v 9p 10p',
    );
    const disk = open.find(({ path }) => path.endsWith('/disk0'));
    expect(disk?.rights.join(',')).toBe('rd,wr,se,fy,fp,fs,ev,io,prd,pwr,re,sd');
    expect(open.find(({ fd }) => fd === '0')).toEqual({
      fd: '0',
      type: 'f',
      rights: ['rd', 'ev', 'io', 're'],
      path: '-',
    });
    expect(open[0]).toEqual({ fd: 'text', type: 'v', rights: [], path: '/brig/run/web01/usr/sbin/bhyve' });
  });

  test('tells the environment, word by word', () => {
    const words = parseEnvironment(of('procstat environment 2102')).get(2102) ?? [];
    expect(words.slice(0, 3)).toEqual(['SHELL=/usr/sbin/nologin', 'HOME=/', 'USER=brig-web01']);
    expect(words).toHaveLength(9);
  });

  test('tells hard limits as it prints them', () => {
    const limits = parseLimits(of('procstat rlimit 2102')).get(2102);
    expect(limits?.get('maxprocesses')).toBe('8514');
    expect(limits?.get('coredumpsize')).toBe('infinity');
    expect(limits?.get('memorylocked')).toBe('65536 B');
    expect(limits?.get('datasize')).toBe('32768 MB');
  });
});

describe('other answers', () => {
  test('jail parameters come as text, by jail', () => {
    const text = recorded(
      'run-vnet-stdio.txt',
      'jls --libxo=json -n jid name path dying vnet devfs_ruleset allow.vmm meta',
    );
    const given = parseParameters(text).get('brig-web01');
    expect([given?.get('vnet'), given?.get('allow.vmm'), given?.get('path')]).toEqual([
      'new',
      'true',
      '/brig/run/web01',
    ]);
  });

  test('a CPU mask is told without blanks', () => {
    expect(parseCpus('jail 7 mask: 0, 1, 2, 3\njail 7 domain policy: first-touch mask: 0\n')).toBe('0,1,2,3');
    expect(expandCpus('0-2,5,2')).toBe('0,1,2,5');
  });

  test.each([
    ['65536 KB', '67108864'],
    ['32768 MB', '34359738368'],
    ['0 B', '0'],
    ['infinity', 'infinity'],
  ])('a limit of %s is %s', (text, bytes) => {
    expect(bytesOf(text)).toBe(bytes);
  });

  test('names below a sysctl that is a node and a value lose their dot', () => {
    expect(parseNames('security.jail.param.allow.mount.\nsecurity.jail.param.allow.vmm\n')).toEqual([
      'security.jail.param.allow.mount',
      'security.jail.param.allow.vmm',
    ]);
  });

  test('anchors are found in what pfctl shows', () => {
    const nat = recorded('errors-and-timings.txt', 'pfctl -s nat');
    expect(missingAnchors(nat)).toEqual(['anchor "brig/*"']);
    expect(missingAnchors(`${nat}anchor "brig/*" all\n`)).toEqual([]);
  });

  test('pools and swap that are not as they should be are named', () => {
    expect(parseUnwell('tank\tONLINE\nold\tDEGRADED\n')).toEqual(['old DEGRADED']);
    expect(parsePlainSwap('Device:       1024-blocks     Used:\n/dev/ada0p2    4194304         0\n')).toEqual([
      '/dev/ada0p2',
    ]);
    expect(parsePlainSwap('Device:       1024-blocks     Used:\n/dev/ada0p2.eli    4194304         0\n')).toEqual([]);
  });
});

describe('advisories', () => {
  test('name devices of the table, each by one id', () => {
    const ids = ADVISORIES.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
    const named = ADVISORIES.flatMap(({ devices }) => (devices === 'any' ? [] : devices));
    expect(named.filter((name) => !(name in DEVICES))).toEqual([]);
  });

  test.each([
    ['15.1-RELEASE-p3', ['SA-26:66 (fixed in 15.1-p4)']],
    ['15.1-RELEASE', ['SA-26:66 (fixed in 15.1-p4)', 'SA-26:38 (fixed in 15.1-p1)']],
    ['15.1-RELEASE-p4', []],
    ['15.1-STABLE', []],
    ['14.4-RELEASE-p9', ['SA-26:66 (fixed in 14.4-p10)']],
  ])('of a host with %s that are open: %j', (release, open) => {
    expect(openWalls(release)).toEqual(open);
  });

  test('a version that is none is unknown', () => {
    expect(parseRelease('bhyve')).toBeUndefined();
    expect(parseRelease('15.1-STABLE')).toEqual({ major: 15, minor: 1, patch: undefined });
  });
});

test('what could not be measured does not hold', () => {
  expect(property('a.b', 'x', '1', undefined, 'y').verdict).toBe('unmeasured');
  expect(property('a.b', 'x', '1', '2', 'y').verdict).toBe('broken');
  expect(property('a.b', 'x', '1', '1', 'y').verdict).toBe('holds');
});
