import { describe, expect, test } from 'vitest';
import { machine, prepareJail, Scene } from './scene.ts';

describe('the model', () => {
  test.each([
    '/usr/bin/true',
    'ifconfig',
    'ifconfig -v',
    'ifconfig gre create',
    'ifconfig lo0 frobnicate',
    'ifconfig lo0 addm vtnet0',
    'ifconfig lo0 description',
    'ifconfig lo0 inet banana',
    'jail -c name=x path=/',
    'jail -c name=x path=/ persist exec.start=x',
    'jail -r x',
    'jail -f x -c y',
    'jls',
    'jls -c',
    'jexec -U root x y',
    'devfs rule show',
    'devfs rule -s 0 show',
    'devfs rule -s 300 apply hide',
    'devfs -m /dev rule show',
    'devfs ruleset 3',
    'mount',
    'mount -t ufs /dev/x /mnt',
    'mount -t tarfs -o verify /x /mnt',
    'mount -t tmpfs -o inodes=3 tmpfs /mnt',
    'mount -t devfs -o rw devfs /mnt',
    'umount -a',
    'umount /a /b',
    'ps',
    'ps -ax',
    'ps -ax -o nice',
    'kill 1',
    'kill -TERM',
    'kill -WINCH 1',
    'bhyvectl --vm=x',
    'bhyvectl --vm=x --get-stats',
    'rctl -l jail:x',
    'rctl -a user:root:pcpu:deny=1',
    'cpuset -g -p 1',
    'zfs version',
    'zfs list -H -o name',
    'zfs list -Hp -o name,available',
    'zfs create -o mystery=1 tank/a',
    'zfs rename -f tank/a tank/b',
    'kldload -v vmm',
    'sysctl -a',
    'mkfifo /x',
    'ldd /bin/sh',
    'uname -a',
    'getent group wheel',
  ])('never answers what it does not know: %s', async (line) => {
    const scene = new Scene({ pool: 'tank' });
    await scene.ok('jail -q -i -c name=x path=/ persist');
    await scene.ok('kldload vmm');
    await expect(scene.sh(line)).rejects.toMatchObject({ code: 'model.argv' });
  });

  test.each([
    ['/usr/bin/daemon', 'x'],
    ['/bin/sh', '/x/other.sh bhyve a b c d 1 2 -- /usr/sbin/jexec -l j /usr/sbin/bhyve a'],
    ['/bin/sh', '/x/supervise.sh qemu a b c d 1 2 -- /usr/sbin/jexec -l j /usr/sbin/bhyve a'],
    ['/bin/sh', '/x/supervise.sh bhyve a b c d 1 x -- /usr/sbin/jexec -l j /usr/sbin/bhyve a'],
    ['/bin/sh', '/x/supervise.sh bhyve a b c d 1 2 -- /usr/sbin/jexec -l j /bin/sh'],
    ['/bin/sh', '/x/supervise.sh bhyve a b c d 1 2 -- /usr/sbin/jexec -l j /usr/sbin/bhyve -A a'],
    ['/bin/sh', '/x/supervise.sh bhyve a b c d 1 2 -- /usr/sbin/jexec -l j /usr/sbin/chroot -n / /usr/sbin/bhyve a'],
  ])('starts nothing but a supervised bhyve: %s %s', async (program, args) => {
    const { host } = new Scene().model;
    await expect(host.spawn({ program, args: args.split(' '), timeoutMs: 1000 })).rejects.toMatchObject({
      code: 'model.argv',
    });
  });
});

/** A line, its exit status, and what it prints on both. */
type Row = readonly [line: string, status: number, stdout: string, stderr: string];

const check = async (scene: Scene, rows: readonly Row[]): Promise<void> => {
  for (const [line, status, stdout, stderr] of rows)
    expect(await scene.sh(line), line).toEqual({ status, stdout, stderr, timedOut: false });
};

describe('programs', () => {
  test('jail and jls know parameters as long as their modules are there', async () => {
    await check(new Scene(), [
      ['jail -c name=x path=/ persist allow.vmm', 1, '', 'jail: unknown parameter: allow.vmm\n'],
      ['kldload -n vmm', 0, '', ''],
      ['jail -q -i -c name=x path=/ persist allow.vmm devfs_ruleset=7 meta.a=1 meta.b=2', 0, '1\n', ''],
      ['jls -j x allow.vmm devfs_ruleset vnet', 0, 'true 7 inherit\n', ''],
      ['jls -j 1 jid', 0, '1\n', ''],
      ['jls -d --libxo=json -n name meta', 0, json('"name":"x","meta":"a=1\\nb=2"'), ''],
      ['jls --libxo=json -n nope', 1, '', 'jls: unknown parameter: nope\n'],
      ['jail -m name=x allow.novmm', 0, '', ''],
      ['jls -j x allow.vmm', 0, 'false\n', ''],
      ['jail -m name=y allow.vmm', 1, '', 'jail: "y" not found\n'],
      ['jail -R y', 1, '', 'jail: "y" not found\n'],
      ['jail -R x', 0, '', ''],
    ]);
  });

  test('cpuset and rctl keep what they are told', async () => {
    const scene = new Scene({ cpus: 4 });
    await scene.ok('jail -q -i -c name=x path=/ persist');
    await check(scene, [
      ['cpuset -g -j x', 0, 'jail 1 mask: 0, 1, 2, 3\njail 1 domain policy: first-touch mask: 0\n', ''],
      ['cpuset -l 0-1,3 -j x', 0, '', ''],
      ['cpuset -g -j x', 0, 'jail 1 mask: 0, 1, 3\njail 1 domain policy: first-touch mask: 0\n', ''],
      ['cpuset -l 9 -j x', 1, '', 'cpuset: setaffinity: Resource deadlock avoided\n'],
      ['cpuset -l 0 -j y', 1, '', 'cpuset: jail "y" not found\n'],
      ['rctl -a jail:x:pcpu:deny=50', 0, '', ''],
      ['rctl -a jail:x2:pcpu:deny=50', 0, '', ''],
      ['rctl jail:x', 0, 'jail:x:pcpu:deny=50\n', ''],
      ['jail -R x', 0, '', ''],
      ['rctl -r jail:x', 0, '', ''],
      ['rctl -r jail:x', 1, '', "rctl: failed to remove rule 'jail:x': No such process\n"],
      ['rctl', 0, 'jail:x2:pcpu:deny=50\n', ''],
    ]);
  });

  test('zfs guards what others need', async () => {
    const scene = new Scene({ pool: 'tank' });
    await scene.all('zfs create -p -o canmount=off -o brig:vm=web01 tank/brig/vms/web01');
    await check(scene, [
      ['zfs create -p -o brig:vm=other tank/brig/vms/web01', 0, '', ''],
      ['zfs create -s -V 67108864 -o volmode=dev tank/brig/vms/web01/disk0', 0, '', ''],
      ['zfs snapshot tank/brig/vms/web01/disk0@s', 0, '', ''],
      ['zfs snapshot tank/brig/vms/web01/disk0@s', 1, '', alreadySnapshot],
      ['zfs hold keep tank/brig/vms/web01/disk0@s', 0, '', ''],
      ['zfs destroy -r tank/brig/vms/web01', 1, '', held],
      ['zfs release keep tank/brig/vms/web01/disk0@s', 0, '', ''],
      [
        'zfs clone tank/brig/vms/web01/disk0@s tank/none/x',
        1,
        '',
        "cannot create 'tank/none/x': no such parent 'tank/none'\n",
      ],
      ['zfs clone tank/brig/vms/web01/disk0@no tank/x', 1, '', noSnapshot],
      [
        'zfs clone tank/brig/vms/web01/disk0@s pool/x',
        1,
        '',
        "cannot create 'pool/x': source and target pools differ\n",
      ],
      ['zfs clone tank/brig/vms/web01/disk0@s tank/x', 0, '', ''],
      ['zfs destroy -r tank/brig', 1, '', clones],
      ['zfs set volsize=134217728 tank/x', 0, '', ''],
      ['zfs list -Hp -o name,type,origin,volsize,brig:vm tank/x', 0, line, ''],
      ['zfs list -Hp -r -t filesystem,volume -o name,brig:vm tank/brig/vms', 0, owners, ''],
      ['zfs destroy tank/x', 0, '', ''],
      ['zfs destroy -r tank/brig', 0, '', ''],
      ['zfs list -Hp -r -o name', 0, 'tank\n', ''],
      ['zfs list -Hp -r -o name tank/brig', 1, '', "cannot open 'tank/brig': dataset does not exist\n"],
    ]);
    expect(await scene.model.host.stat('/dev/zvol')).toBeUndefined();
    expect(await scene.ok('mount -p')).not.toContain('brig');
  });

  test('zfs without a pool has nothing', async () => {
    await check(new Scene(), [
      ['zfs list -Hp -r -o name tank', 1, '', "cannot open 'tank': dataset does not exist\n"],
      ['zfs create tank/a', 1, '', "cannot create 'tank/a': no such pool 'tank'\n"],
    ]);
  });

  test('sysctl tells features', async () => {
    await check(new Scene({ cpus: 3, memoryBytes: 1000 }), [
      ['sysctl -i hw.vmm.maxcpu hw.physmem hw.ncpu no.such', 0, 'hw.physmem: 1000\nhw.ncpu: 3\n', ''],
      ['sysctl -n hw.vmm.maxcpu', 1, '', "sysctl: unknown oid 'hw.vmm.maxcpu'\n"],
      ['kldload -n vmm if_tuntap', 0, '', ''],
      ['sysctl -n hw.vmm.maxcpu', 0, '3\n', ''],
      ['sysctl hw.ncpu=9', 1, '', "sysctl: oid 'hw.ncpu' is read only\n"],
      ['sysctl -d security.jail.param.meta', 0, 'security.jail.param.meta: model\n', ''],
      ['kldload -n nope', 1, '', "kldload: can't load nope: No such file or directory\n"],
      ['uname -s', 0, 'FreeBSD\n', ''],
      ['getent passwd 20001', 2, '', ''],
      ['kill -TERM 99999', 1, '', 'kill: 99999: No such process\n'],
    ]);
  });

  test('ps of nobody is exit 1', async () => {
    const scene = new Scene();
    await scene.ok('jail -q -i -c name=x path=/ persist');
    await check(scene, [
      ['ps -J x -o pid,stat,command', 1, 'PID STAT COMMAND\n', ''],
      ['ps --libxo=json -J x -o pid,stat,command', 1, '{ }\n', ''],
    ]);
  });

  test('jexec runs a bhyve in the foreground until its caller loses patience', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine());
    const line =
      'jexec -l brig-web01 /usr/sbin/chroot -G 20001 -g 20001 -u 20001 / /usr/sbin/bhyve -k /vm/bhyve.conf web01';
    const result = await scene.sh(line, undefined, 5000);
    expect(result).toMatchObject({ status: 124, timedOut: true, stdout: 'GUEST UP\r\n' });
    expect(scene.model.state.vms).toMatchObject([{ name: 'web01', ended: true, stale: true }]);
    expect(await scene.sh('jexec brig-web01 /nonexistent')).toMatchObject({
      status: 1,
      stderr: 'jexec: execvp: /nonexistent: No such file or directory\n',
    });
  });
});

const json = (pairs: string): string => `{"__version": "2", "jail-information": {"jail": [{${pairs}}]}}\n`;
const DISK = 'tank/brig/vms/web01/disk0';
const alreadySnapshot = `cannot create snapshot '${DISK}@s': dataset already exists\n`;
const held = `cannot destroy snapshot ${DISK}@s: it's being held. Run 'zfs holds -r ${DISK}@s' to see holders.\n`;
const noSnapshot = `cannot open '${DISK}@no': dataset does not exist\n`;
const clones =
  "cannot destroy 'tank/brig': filesystem has dependent clones\nuse '-R' to destroy the following datasets:\ntank/x\n";
const line = `tank/x\tvolume\t${DISK}@s\t134217728\t-\n`;
const owners = `tank/brig/vms\t-\ntank/brig/vms/web01\tweb01\n${DISK}\tweb01\n`;
