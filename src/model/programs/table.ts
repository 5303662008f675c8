import type { Program } from '../program.ts';
import { bhyvectl } from './bhyvectl.ts';
import { cpuset } from './cpuset.ts';
import { devfs } from './devfs.ts';
import { freebsdVersion } from './freebsd-version.ts';
import { kldstat } from './kldstat.ts';
import { swapctl } from './swapctl.ts';
import { zpool } from './zpool.ts';
import { pfctl } from './pfctl.ts';
import { service } from './service.ts';
import { test } from './test.ts';
import { procstat } from './procstat.ts';
import { getent } from './getent.ts';
import { ifconfig } from './ifconfig.ts';
import { jail } from './jail.ts';
import { jexec } from './jexec.ts';
import { jls } from './jls.ts';
import { kill } from './kill.ts';
import { kldload } from './kldload.ts';
import { ldd } from './ldd.ts';
import { makefs } from './makefs.ts';
import { mkfifo } from './mkfifo.ts';
import { mount } from './mount.ts';
import { ps } from './ps.ts';
import { ping } from './ping.ts';
import { netstat, route } from './route.ts';
import { rctl } from './rctl.ts';
import { sysctl } from './sysctl.ts';
import { umount } from './umount.ts';
import { uname } from './uname.ts';
import { zfs } from './zfs.ts';

/** Every program of the model's FreeBSD, by its path. */
export const PROGRAMS: ReadonlyMap<string, Program> = new Map([
  ['/bin/freebsd-version', freebsdVersion],
  ['/sbin/kldstat', kldstat],
  ['/sbin/swapctl', swapctl],
  ['/sbin/zpool', zpool],
  ['/sbin/pfctl', pfctl],
  ['/usr/sbin/service', service],
  ['/bin/test', test],
  ['/usr/bin/netstat', netstat],
  ['/usr/bin/procstat', procstat],
  ['/bin/kill', kill],
  ['/bin/ps', ps],
  ['/sbin/devfs', devfs],
  ['/sbin/ifconfig', ifconfig],
  ['/sbin/kldload', kldload],
  ['/sbin/mount', mount],
  ['/sbin/ping', ping],
  ['/sbin/route', route],
  ['/sbin/sysctl', sysctl],
  ['/sbin/umount', umount],
  ['/sbin/zfs', zfs],
  ['/usr/bin/cpuset', cpuset],
  ['/usr/bin/getent', getent],
  ['/usr/bin/ldd', ldd],
  ['/usr/bin/mkfifo', mkfifo],
  ['/usr/bin/rctl', rctl],
  ['/usr/bin/uname', uname],
  ['/usr/sbin/bhyvectl', bhyvectl],
  ['/usr/sbin/jail', jail],
  ['/usr/sbin/jexec', jexec],
  ['/usr/sbin/jls', jls],
  ['/usr/sbin/makefs', makefs],
]);

const isVerb = (word: string) => (args: readonly string[]) => args[0] === word;
const isOn = (name: RegExp, verb: string) => (args: readonly string[]) => name.test(args[0] ?? '') && args[1] === verb;

/** Cost in tenths of a fork and exec of /usr/bin/true. Source: FACTS S.19; what is not there costs one. */
const COSTS: readonly (readonly [string, (args: readonly string[]) => boolean, number])[] = [
  ['/sbin/ifconfig', (args) => args.at(-1) === '-a', 25],
  ['/sbin/ifconfig', isOn(/^(tap|epair)/, 'create'), 17],
  ['/sbin/ifconfig', isOn(/^tap/, 'destroy'), 25],
  ['/sbin/ifconfig', isOn(/^epair/, 'destroy'), 30],
  ['/usr/sbin/jail', (args) => args.includes('-c'), 40],
  ['/usr/sbin/jail', (args) => args.includes('-R'), 100],
  ['/sbin/zfs', isVerb('clone'), 75],
  ['/sbin/zfs', isVerb('destroy'), 60],
  ['/sbin/zfs', isVerb('list'), 60],
];

export const costTenths = (program: string, args: readonly string[]): number =>
  COSTS.find(([path, applies]) => path === program && applies(args))?.[2] ?? 10;
