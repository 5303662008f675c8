import { describe, expect, test } from 'vitest';
import { parseLibraries } from '../../../src/freebsd/programs/ldd.ts';
import { parseRulesets, renderShown } from '../../../src/freebsd/programs/devfs.ts';
import { parseInterfaces } from '../../../src/freebsd/programs/ifconfig.ts';
import { parseJails } from '../../../src/freebsd/programs/jls.ts';
import { parseMounts } from '../../../src/freebsd/programs/mount.ts';
import { confined, parseProcesses } from '../../../src/freebsd/programs/ps.ts';
import { parseRules } from '../../../src/freebsd/programs/rctl.ts';
import { parseSysctls } from '../../../src/freebsd/programs/sysctl.ts';
import { parseDatasets } from '../../../src/freebsd/programs/zfs.ts';
import { recorded } from '../../recording.ts';

describe('jls', () => {
  const command = 'jls --libxo=json -n jid name path dying vnet devfs_ruleset allow.vmm meta';

  test('numbers are strings and the owner is in meta', () => {
    expect(parseJails(recorded('run-vnet-stdio.txt', command))).toEqual([
      { jid: 3, name: 'brig-web01', path: '/brig/run/web01', dying: false, vnet: true, ruleset: 0, vm: 'web01' },
    ]);
  });

  test('a dying jail is told', () => {
    const text = recorded('run-vnet-stdio.txt', 'jls -d --libxo=json -n jid name dying');
    expect(parseJails(text).map((jail) => [jail.jid, jail.dying])).toEqual([[2, true]]);
  });

  test('no jail is an empty list', () => {
    expect(parseJails('{"__version": "2", "jail-information": {"jail": []}}')).toEqual([]);
  });
});

describe('ifconfig', () => {
  test('a bridge has members, a description and groups', () => {
    const [bridge] = parseInterfaces(recorded('start-stop-vnet.txt', 'ifconfig brig0'));
    expect(bridge).toMatchObject({
      name: 'brig0',
      description: 'brig:net/lan',
      members: ['web01h'],
      groups: ['bridge', 'brig'],
      ether: '58:9c:fc:10:a0:84',
    });
    expect(bridge?.flags).toContain('UP');
  });

  test('an open tap names its opener', () => {
    const text = recorded('run-vnet-stdio.txt', 'ifconfig -j brig-web01 tap0');
    expect(parseInterfaces(text)[0]).toMatchObject({ name: 'tap0', openedBy: 2102, description: 'brig:vm/web01' });
  });

  test('every interface of -a is found, with flags or without', () => {
    const names = parseInterfaces(recorded('errors-and-timings.txt', 'ifconfig -a -f cidr:cidr')).map(
      (each) => each.name,
    );
    expect(names).toEqual(['vtnet0', 'lo0', 'pflog0', 'brig0', 'bridge1', 'bridge2', 'brigv100', 'brigx42', 'web01n0']);
  });

  test('the vnet of a jail lists what was moved in', () => {
    const inside = parseInterfaces(recorded('start-stop-vnet.txt', 'ifconfig -j brig-web01'));
    expect(inside.find((each) => each.name === 'bridge0')?.members).toEqual(['tap0', 'web01j']);
  });
});

describe('ps', () => {
  test('JSON has strings, resident pages in KiB and ctime in UTC', () => {
    const text = recorded(
      'run-vnet-stdio.txt',
      'ps --libxo=json -J brig-web01 -o pid,jid,jail,user,stat,rss,lstart,command',
    );
    expect(parseProcesses(text)).toEqual([
      {
        pid: 2102,
        ppid: 0,
        jid: 3,
        jail: 'brig-web01',
        user: 'brig-web01',
        uid: -1,
        stat: 'SCJ',
        rssBytes: 10852 * 1024,
        startedMs: Date.UTC(2026, 10, 23, 1, 40, 2),
        command: 'bhyve: web01 (bhyve)',
      },
    ]);
  });

  test('nothing is an empty object', () => {
    expect(parseProcesses('{ }')).toEqual([]);
  });

  test.each([
    ['SCJ', 'bhyve: web01 (bhyve)', true],
    ['SC+J', 'bhyve: web01 (bhyve)', true],
    ['SJ', 'bhyve: web01 (bhyve)', false],
    ['SCJ', 'bhyve: web010 (bhyve)', false],
    ['SJ', '/usr/sbin/bhyve -k /vm/bhyve.conf web01', false],
  ])('STAT %s of %s is confined: %s', (stat, command, expected) => {
    const text = ` PID STAT COMMAND\n4091  ${stat} ${command}\n`;
    expect(new RegExp(confined('web01'), 'm').test(text)).toBe(expected);
  });
});

describe('devfs', () => {
  test('what is rendered is what show answers, but for names of users', () => {
    const shown = recorded('start-stop-vnet.txt', 'devfs rule -s 20001 show').replaceAll('brig-web01 ', '20001 ');
    const mine = { user: 20001, mode: 0o600 };
    const rules = [
      { hide: true as const },
      ...['null', 'zero', 'random', 'urandom'].map((path) => ({ path })),
      { path: 'vmmctl', ...mine },
      { path: 'vmm' },
      { path: 'vmm/web01', ...mine },
      { path: 'vmm.io' },
      { path: 'vmm.io/web01.*', ...mine },
      { path: 'tap0', ...mine },
    ];
    expect(shown.startsWith(renderShown(rules))).toBe(true);
  });

  test('showsets is a number a line', () => {
    expect(parseRulesets(recorded('start-stop-vnet.txt', 'devfs rule showsets'))).toEqual([1, 2, 3, 4, 5, 20001]);
  });
});

describe('others', () => {
  test('mount -p', () => {
    const mounts = parseMounts(recorded('tarfs-root.txt', 'mount -p'));
    expect(mounts.find((each) => each.type === 'tarfs')).toEqual({
      special: '/root/base.tar.zst',
      node: '/brig/run/web02',
      type: 'tarfs',
      options: ['ro'],
    });
    expect(parseMounts(recorded('start-stop-vnet.txt', 'mount -p'))).toHaveLength(14);
  });

  test('zfs list -Hp: a dash is nothing', () => {
    const command =
      'zfs list -Hp -r -t filesystem,volume,snapshot -o name,type,used,origin,creation,volsize,brig:vm tank/brig';
    const text = recorded('storage.txt', command).replaceAll(/^([^\t]*\t[^\t]*)\t[^\t]*(\t[^\t]*)\t[^\t]*/gm, '$1$2');
    expect(parseDatasets(text).at(-1)).toEqual({
      name: 'tank/brig/vms/web01/disk0',
      type: 'volume',
      origin: 'tank/brig/templates/tiny@v1',
      volumeBytes: 67108864,
      vm: 'web01',
    });
    expect(parseDatasets(text)[0]).toEqual({ name: 'tank/brig', type: 'filesystem' });
  });

  test('sysctl', () => {
    const text = recorded(
      'storage.txt',
      'sysctl hw.vmm.maxcpu kern.racct.enable net.link.tap.user_open net.link.tap.up_on_open net.link.tap.devfs_cloning net.link.bridge.pfil_member net.link.bridge.pfil_bridge net.link.bridge.pfil_onlyip net.link.bridge.member_ifaddrs vfs.devfs.rule_depth',
    );
    expect(parseSysctls(text).get('hw.vmm.maxcpu')).toBe('2');
    expect(parseSysctls(text).size).toBe(10);
  });

  test('rctl', () => {
    const text = recorded('bhyve-failures.txt', 'rctl -a jail:nojail:maxproc:deny=5; rctl; rctl -r jail:nojail');
    expect(parseRules(text)).toEqual(['jail:nojail:maxproc:deny=5']);
  });

  test('ldd: headers and what is no file are passed over', () => {
    expect(parseLibraries('/usr/sbin/bhyve:\n/lib/libc.so.7\n/lib/libc.so.7\n[vdso]\n/lib/libz.so.6\n')).toEqual([
      '/lib/libc.so.7',
      '/lib/libz.so.6',
    ]);
  });
});
