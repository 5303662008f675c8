import { BASE_FILES, DEVICES, DIRECTORIES, ELF_HEADER, PASSWD, SYSCTLS } from './base-system.ts';
import { addDevice, newView } from './devices.ts';
import { attach, detach, find, makeDirectories, newDirectory, newFile, put } from './files.ts';
import { addInterface } from './network.ts';
import { endProcess, startProcess } from './processes.ts';
import { createDataset, mountDataset, offerVolume } from './storage.ts';
import type { Mount, Node, Process, Rule, World } from './world.ts';

const ROOT = { mode: 0o755, uid: 0, gid: 0 };

const baseMount = (special: string, node: string, type: string, root: Node, flags = 'rw', pass = '0 0'): Mount => ({
  special,
  node,
  type,
  flags,
  pass,
  readOnly: false,
  root,
});

const mountBase = (world: World): void => {
  world.mounts = [];
  world.mountsAt.clear();
  world.devfsMounts.clear();
  attach(world, baseMount('/dev/ufs/lab', '/', 'ufs', world.root, 'rw,noatime', '1 1'));
  for (const path of DIRECTORIES) makeDirectories(world, path, ROOT);
  attach(world, { ...baseMount('devfs', '/dev', 'devfs', newDirectory(ROOT)), devfs: newView(world, 0) });
  attach(world, baseMount('tmpfs', '/tmp', 'tmpfs', world.tmp));
};

const unhide = (number: number, path: string): Rule => ({ number, path, hide: false });
const include = (number: number, ruleset: number): Rule => ({ number, include: ruleset });

const LOGIN = ['ptyp*', 'ptmx', 'pts', 'pts/*', 'fd', 'fd/*', 'stdin', 'stdout', 'stderr'];

/** What rc(8) loads from /etc/defaults/devfs.rules; 4 and 5 are recorded, 1 to 3 are FACTS 4. */
const loadRulesets = (world: World): void => {
  const numbered = (paths: readonly string[]): Rule[] => paths.map((path, i) => unhide((i + 1) * 100, path));
  world.rulesets.clear();
  world.rulesets.set(1, [{ number: 100, hide: true }]);
  world.rulesets.set(2, numbered(['null', 'zero', 'crypto', 'random', 'urandom']));
  world.rulesets.set(3, numbered(LOGIN));
  world.rulesets.set(4, [include(100, 1), include(200, 2), include(300, 3), unhide(400, 'fuse'), unhide(500, 'zfs')]);
  for (const included of [1, 2, 3, 4]) world.included.add(included);
  world.rulesets.set(5, [include(100, 1), include(200, 2), include(300, 3), include(400, 4), unhide(500, 'pf')]);
};

const addDevices = (world: World): void => {
  world.devices.clear();
  for (const [name, mode, uid, gid] of DEVICES) addDevice(world, { name, mode, uid, gid });
};

const setSysctls = (world: World): void => {
  world.sysctls.clear();
  for (const [name, value] of SYSCTLS) world.sysctls.set(name, value);
  world.sysctls.set('hw.ncpu', String(world.cpus));
  world.sysctls.set('hw.physmem', String(world.memoryBytes));
  if (world.mode === '15') world.sysctls.set('security.jail.param.meta', '0');
  else world.sysctls.set('kern.osrelease', '14.3-RELEASE');
  for (const [name, value] of world.tunables) world.sysctls.set(name, value);
};

const startInit = (world: World): void => {
  world.processes.clear();
  const process: Process = { ...startProcess(world, '/sbin/init', 0), pid: 1, stat: 'SLs' };
  world.processes.clear();
  world.processes.set(1, process);
};

const addInterfaces = (world: World): void => {
  world.interfaces = [];
  world.routes = [{ to: 'default', via: '10.0.2.2', interface: 'vtnet0' }];
  world.indices = { used: new Set(), lowest: 1 };
  const uplink = addInterface(world, 'ether', 'vtnet0', 0, 0);
  uplink.up = true;
  uplink.addresses = ['inet 10.0.2.15 netmask 0xffffff00 broadcast 10.0.2.255'];
  const loopback = addInterface(world, 'lo', 'lo0', 0, 0);
  loopback.up = true;
  loopback.addresses = [
    'inet 127.0.0.1 netmask 0xff000000',
    'inet6 ::1 prefixlen 128',
    'inet6 fe80::1%lo0 prefixlen 64 scopeid 0x2',
  ];
};

const importPools = (world: World): void => {
  for (const dataset of world.datasets.values()) {
    mountDataset(world, dataset);
    offerVolume(world, dataset);
  }
};

const boot = (world: World): void => {
  loadRulesets(world);
  addDevices(world);
  setSysctls(world);
  mountBase(world);
  startInit(world);
  addInterfaces(world);
  importPools(world);
};

/** The first boot: the base system on an empty disk, and the pool if there is to be one. */
export const install = (world: World): void => {
  boot(world);
  for (const [path, bytes] of BASE_FILES) {
    makeDirectories(world, path.slice(0, path.lastIndexOf('/')), ROOT);
    // No two files are alike.
    const content = Uint8Array.from([...ELF_HEADER, ...Buffer.from(path)]);
    put(world, path, newFile(content, { mode: 0o555, uid: 0, gid: 0 }, bytes));
  }
  makeDirectories(world, '/etc', ROOT);
  put(world, '/etc/passwd', newFile(Buffer.from(PASSWD), { mode: 0o644, uid: 0, gid: 0 }));
  if (world.pool !== undefined) createDataset(world, { name: world.pool, type: 'filesystem' });
};

/**
 * The host goes down without a word to anybody and comes up again. Files stay, but for /var/run and `volatile`;
 * zfs stays; everything else is as after the first boot.
 */
export const reboot = (world: World, volatile: readonly string[]): void => {
  world.boot += 1;
  // Nobody who waits for it goes on.
  world.wedge = undefined;
  for (const process of [...world.processes.values()]) {
    process.onExit.length = 0;
    endProcess(world, process, 128 + 9);
  }
  world.jails = [];
  world.limits = [];
  world.vms.clear();
  world.modules.clear();
  Object.assign(world.packetFilter, { enabled: false, main: { translations: [], filters: [] } });
  world.packetFilter.anchors.clear();
  world.lingering.clear();
  for (const guest of world.guests.values()) delete guest.machine;
  for (const mount of world.mounts.slice(3)) detach(world, mount);
  for (const path of ['/var/run', ...volatile]) {
    const directory = find(world, path);
    if (directory?.kind === 'directory') directory.entries.clear();
  }
  boot(world);
};
