import { config, rules, Scene, type Machine } from './scene.ts';
import type { Session } from './replay.ts';

/** web01 as the first recordings had it: a thick root of nullfs mounts, epair and tap inside the vnet. */
const WEB01: Machine = { name: 'web01', jail: 'brig-web01', uid: 20_001, dir: '/brig/vm/web01' };
const ROOT1 = '/brig/run/web01';

const DISK = ['pci.0.3.0.device=virtio-blk', 'pci.0.3.0.path=/dev/zvol/tank/brig/vms/web01/disk0'];
const TAP = ['pci.0.4.0.device=virtio-net', 'pci.0.4.0.backend=tap0'];

const makeDisk = (scene: Scene): Promise<void> =>
  scene.all(
    'zfs create tank/brig',
    'zfs create tank/brig/templates',
    'zfs create tank/brig/vms',
    'zfs create -s -V 64m -o volmode=dev tank/brig/templates/tiny',
    'zfs snapshot tank/brig/templates/tiny@v1',
    'zfs clone -p -o volmode=dev -o brig:vm=web01 tank/brig/templates/tiny@v1 tank/brig/vms/web01/disk0',
  );

/** Directories of a root, and what bhyve reads in /vm of it. */
const makeRoot = async (scene: Scene, root: string, uid: number, extra: readonly string[]): Promise<void> => {
  await scene.mkdir(
    ...['bin', 'lib', 'libexec', 'usr/lib', 'usr/sbin', 'tmp', 'dev', 'vm'].map((name) => `${root}/${name}`),
  );
  await scene.file(`${root}/vm/bhyve.conf`, config(extra), 0o600, uid);
  await scene.file(`${root}/vm/firmware.rom`, 'rom');
};

const SHOWN = (text: string): string => text.replaceAll(/^\d+ /gm, '');

const ZVOL_RULES = (uid: string): string[] => [
  `path tap0 unhide user ${uid} mode 600`,
  ...['zvol', 'zvol/tank', 'zvol/tank/brig', 'zvol/tank/brig/vms', 'zvol/tank/brig/vms/web01'].map(
    (path) => `path ${path} unhide`,
  ),
  `path zvol/tank/brig/vms/web01/* unhide user ${uid} mode 600`,
];

/** A jail named brig-web01 that an nmdm keeps dying: the recordings have it in every listing. */
const leaveDyingJail = async (scene: Scene): Promise<void> => {
  await scene.all('kldload -n vmm nmdm if_tuntap if_bridge if_epair');
  await makeRoot(scene, '/old', 20_001, ['lpc.com2.path=/dev/nmdm-oldA']);
  await scene.all('mount -t nullfs -o ro /bin /old/bin', 'mount -t nullfs -o ro /usr/sbin /old/usr/sbin');
  await scene.all('mount -t tmpfs -o mode=1777 tmpfs /old/tmp');
  await scene.ok('devfs rule -s 20001 add -', rules('web01', 20_001));
  await scene.all('mount -t devfs -o ruleset=20001 devfs /old/dev');
  await scene.all('jail -q -i -c name=brig-web01 path=/old persist vnet allow.vmm');
  await scene.start({ ...WEB01, dir: '/old/run' });
  // Somebody on the host looked at the other end.
  await scene.model.host.say('/dev/nmdm-oldB', 'x');
  await scene.all(`kill -KILL ${scene.model.guest('web01').pid ?? 0}`, 'bhyvectl --vm=web01 --destroy');
  await scene.all(
    'jail -R brig-web01',
    'umount /old/dev',
    'umount /old/tmp',
    'umount /old/bin',
    'umount /old/usr/sbin',
  );
  await scene.all('devfs rule -s 20001 delset');
};

const storage: Session = {
  file: 'storage.txt',
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  unseen: {
    start: (scene) => scene.all('kldload vmm'),
    'ls -l /dev/vmmctl /dev/vmm /dev/vmm.io /dev/pf /dev/zfs': (scene) => scene.all('kldload pf'),
  },
  passed: {
    'kldload -n vmm nmdm if_tuntap if_bridge if_epair zfs tarfs pf': 'that kernel could not load tarfs',
  },
};

const LS_VMM = 'ls -l /dev/vmm /dev/vmm.io /brig/run/web01/dev/vmm /brig/run/web01/dev/vmm.io';

const startStop: Session = {
  file: 'start-stop-vnet.txt',
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  unseen: {
    start: async (scene) => {
      await scene.all('kldload -n vmm if_tuntap if_bridge if_epair');
      await makeDisk(scene);
      scene.model.addUser(20_001, 'brig-web01');
      await makeRoot(scene, ROOT1, 20_001, ['lpc.com1.path=/dev/nmdm-web01A', ...DISK, ...TAP]);
    },
    // sed s/^add.// /tmp/rules | devfs rule -s 20001 add -
    'devfs rule -s 20001 show': async (scene) => {
      const text = rules('web01', 'brig-web01', [
        ...ZVOL_RULES('brig-web01'),
        'path nmdm-web01A unhide user brig-web01 mode 600',
      ]);
      await scene.ok('devfs rule -s 20001 add -', SHOWN(text));
    },
    // The start that fails at its console.
    [LS_VMM]: async (scene) => {
      await scene.spawn(WEB01);
      await scene.model.clock.advance(100);
    },
  },
  passed: {
    'jexec brig-web01 /bin/ls /dev': 'programs in jails are not in the model',
  },
};

/** With the group that pw(8) gave it. */
const TENANT: Machine = { ...WEB01, gid: 20_000 };

const runVnet: Session = {
  file: 'run-vnet-stdio.txt',
  pids: { '2102': 'web01' },
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  unseen: {
    start: async (scene) => {
      await leaveDyingJail(scene);
      await makeDisk(scene);
      scene.model.addUser(20_001, 'brig-web01');
      await makeRoot(scene, ROOT1, 20_001, [...DISK, ...TAP, 'pci.0.5.0.device=virtio-rnd']);
      await scene.ok('devfs rule -s 20001 add -', rules('web01', 20_001, ZVOL_RULES('20001')));
      await scene.all(
        `mount -t nullfs -o ro /bin ${ROOT1}/bin`,
        `mount -t nullfs -o ro /usr/sbin ${ROOT1}/usr/sbin`,
        `mount -t tmpfs -o size=16m,mode=1777 tmpfs ${ROOT1}/tmp`,
      );
    },
    // Printed by a script without a prompt: tap0 epair0a brig0 web01h web01j bridge0.
    'ps -J brig-web01 -o pid,ppid,jid,jail,user,stat,rss,command': async (scene) => {
      await scene.all('ifconfig tap create', 'ifconfig epair create', 'ifconfig bridge create name brig0');
      await scene.all('ifconfig tap0 description brig:vm/web01 group brig', 'ifconfig epair0a name web01h');
      await scene.all('ifconfig epair0b name web01j', 'ifconfig brig0 addm web01h up', 'ifconfig web01h up');
      await scene.all('ifconfig web01j vnet brig-web01', 'ifconfig tap0 vnet brig-web01');
      await scene.all('ifconfig -j brig-web01 bridge create', 'ifconfig -j brig-web01 web01j up');
      await scene.all('ifconfig -j brig-web01 bridge0 addm web01j addm tap0 up');
      await scene.all(`mount -t devfs -o ruleset=20001 devfs ${ROOT1}/dev`);
      await scene.start(TENANT);
    },
    'bhyvectl --vm=web01 --destroy': (scene) => scene.all(`kill -KILL ${scene.model.guest('web01').pid ?? 0}`),
    'bhyvectl --vm=web01 --destroy#2': async (scene) => {
      await scene.start(TENANT, 'r2');
      await scene.all(`kill -KILL ${scene.model.guest('web01').pid ?? 0}`);
    },
  },
  passed: {
    'procstat environment 2102': 'a login class by jexec -u',
    'kill -KILL 2102': 'a pid of that day, and the words are those of the shell',
  },
};

const numericUid: Session = {
  file: 'numeric-uid.txt',
  pids: { '4091': 'web01' },
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  unseen: {
    start: async (scene) => {
      await leaveDyingJail(scene);
      await makeRoot(scene, ROOT1, 31_337, TAP);
      await scene.ok('devfs rule -s 31337 add -', rules('web01', 31_337, ['path tap0 unhide user 31337 mode 600']));
      await scene.all(
        `mount -t nullfs -o ro /bin ${ROOT1}/bin`,
        `mount -t nullfs -o ro /usr/sbin ${ROOT1}/usr/sbin`,
        `mount -t tmpfs -o size=16m,mode=1777 tmpfs ${ROOT1}/tmp`,
        'ifconfig tap create',
        `mount -t devfs -o ruleset=31337 devfs ${ROOT1}/dev`,
        `jail -q -i -c name=brig-web01 path=${ROOT1} vnet persist allow.vmm`,
      );
      await scene.start({ ...WEB01, uid: 31_337, keepGroups: true });
    },
    'bhyvectl --vm=web01 --destroy': async (scene) => {
      await scene.all(`kill -TERM ${scene.model.guest('web01').pid ?? 0}`);
      await scene.model.clock.advance(100);
    },
  },
  passed: {},
};

const WEB02: Machine = { name: 'web02', jail: 'brig-web02', uid: 20_002, dir: '/brig/vm/web02' };
const ROOT2 = '/brig/run/web02';

/** What the second half of the recordings mounts into the tarfs root. */
const mountWeb02 = async (scene: Scene, text: string): Promise<void> => {
  await scene.mkdir('/brig/vm/web02/conf');
  await scene.file('/brig/vm/web02/conf/bhyve.conf', text, 0o600, 20_002);
  await scene.file('/brig/vm/web02/conf/firmware.rom', 'rom');
  await scene.ok('devfs rule -s 20002 add -', rules('web02', 20_002, ['path tap0 unhide user 20002 mode 600']));
  await scene.all(
    `mount -t tmpfs -o size=16m,mode=1777 tmpfs ${ROOT2}/tmp`,
    `mount -t nullfs -o ro /brig/vm/web02/conf ${ROOT2}/vm`,
    `mount -t devfs -o ruleset=20002 devfs ${ROOT2}/dev`,
  );
};

const tarfsRoot: Session = {
  file: 'tarfs-root.txt',
  pids: { '4384': 'web02' },
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  unseen: {
    start: async (scene) => {
      await leaveDyingJail(scene);
      await scene.all('zfs create tank/brig', 'zfs create tank/brig/templates', 'zfs create tank/brig/vms');
      await scene.all('zfs create tank/brig/vms/web01');
      await scene.mkdir(ROOT2);
      for (const name of ['/root/base.tar', '/root/base.tar.zst']) await scene.file(name, 'image');
    },
    'procstat cred 4384': async (scene) => {
      await mountWeb02(scene, config());
      await scene.start(WEB02);
    },
    [`umount ${ROOT2}`]: async (scene) => {
      await scene.all('bhyvectl --vm=web02 --force-poweroff', 'bhyvectl --vm=web02 --destroy', 'jail -R brig-web02');
      await scene.all(`umount ${ROOT2}/dev`);
    },
  },
  passed: {},
};

/** The console was not on stdout in that session. */
const quiet = (extra: readonly string[] = []): string => config(extra).replace('lpc.com1.path=stdio\n', '');

/** The machine of the last start is destroyed. */
const forget = async (scene: Scene, command: string): Promise<void> => {
  if (!command.startsWith('timeout')) return;
  if (scene.model.state.vms.some((vm) => vm.name === 'web02' && vm.ended))
    await scene.ok('bhyvectl --vm=web02 --destroy');
};

const stage = async (scene: Scene): Promise<void> => {
  await leaveDyingJail(scene);
  await scene.mkdir(ROOT2);
  await scene.file('/root/base.tar.zst', 'image');
  await scene.all('mount -t tarfs /root/base.tar.zst /brig/run/web02', 'ifconfig tap create');
  await scene.all('kldload pflog', 'ifconfig bridge1 create', 'ifconfig bridge2 create');
  await scene.all('ifconfig bridge create name brig0', 'ifconfig brig0 addm tap0 private tap0 up');
  await mountWeb02(scene, quiet());
  await scene.all(`jail -q -i -c name=brig-web02 path=${ROOT2} vnet persist allow.vmm`);
};

const END = ['jail -R brig-web02', `umount ${ROOT2}/dev`, 'ifconfig brig0 destroy', 'ifconfig tap0 destroy'];

const JEXEC = 'jexec -l brig-web02 /usr/sbin/chroot -G 20002 -g 20002 -u 20002 / /usr/sbin/bhyve -k /vm/bhyve.conf';
const START = `timeout 5 ${JEXEC} web02 </dev/null`;

const remountDev = async (scene: Scene, ruleset: number): Promise<void> =>
  scene.all(`umount ${ROOT2}/dev`, `mount -t devfs -o ruleset=${ruleset} devfs ${ROOT2}/dev`);

const failures: Session = {
  file: 'bhyve-failures.txt',
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  between: forget,
  unseen: {
    start: stage,
    // The configuration is somebody else's.
    [START]: (scene) => scene.file('/brig/vm/web02/conf/bhyve.conf', quiet(), 0o600, 4_711),
    // The machine's node is hidden.
    [`${START}#2`]: async (scene) => {
      await scene.file('/brig/vm/web02/conf/bhyve.conf', quiet(), 0o600, 20_002);
      const hidden = rules('other', 20_002);
      await scene.ok('devfs rule -s 20003 add -', hidden);
      await remountDev(scene, 20_003);
    },
    [`${START}#3`]: (scene) => remountDev(scene, 20_002),
    [`${START}#6`]: (scene) => scene.all(`mount -t tmpfs -o size=16m,mode=1777 tmpfs ${ROOT2}/tmp`),
    'ps -J brig-web02 -o pid,jid,uid,stat,command': async (scene) => {
      await scene.file('/brig/vm/web02/conf/bhyve.conf', quiet(TAP), 0o600, 20_002);
      await scene.start(WEB02);
    },
    // The last start is gone, the bridge of the stage too.
    'jls -d jid name; ifconfig -l; ls /dev/vmm': (scene) => scene.all(...END),
  },
  passed: {},
};

const errors: Session = {
  file: 'errors-and-timings.txt',
  scene: () => new Scene({ pool: 'tank', cpus: 2 }),
  unseen: {
    start: async (scene) => {
      await leaveDyingJail(scene);
      await makeDisk(scene);
      await scene.all('zfs create tank/brig/copy');
    },
    'time jls --libxo=json -n jid name': async (scene) => {
      for (let i = 1; i <= 10; i++) await scene.ok(`jail -i -q -c name=p${i} path=/ persist vnet`);
    },
  },
  passed: {
    'jail -i -q -c name=x path=/ persist; jexec x /nonexistent; jexec -u nouser x true; jail -R x':
      'jexec -u is not in the model',
    'zfs destroy -r tank/brig/copy; zfs destroy -r tank/brig/templates@s1': 'made by send and receive',
  },
};

export const SESSIONS: readonly Session[] = [storage, startStop, runVnet, numericUid, tarfsRoot, failures, errors];
