import type { Result } from '../../../src/base/host.ts';
import { createModel, type Model } from '../../../src/model/model.ts';

const ROOT = { uid: 0, gid: 0 };

/** Where each program lives that a person types by its name. */
const PATHS: Readonly<Record<string, string>> = {
  bhyvectl: '/usr/sbin/bhyvectl',
  cpuset: '/usr/bin/cpuset',
  devfs: '/sbin/devfs',
  getent: '/usr/bin/getent',
  ifconfig: '/sbin/ifconfig',
  jail: '/usr/sbin/jail',
  jexec: '/usr/sbin/jexec',
  jls: '/usr/sbin/jls',
  kill: '/bin/kill',
  kldload: '/sbin/kldload',
  ldd: '/usr/bin/ldd',
  mkfifo: '/usr/bin/mkfifo',
  mount: '/sbin/mount',
  pfctl: '/sbin/pfctl',
  procstat: '/usr/bin/procstat',
  ps: '/bin/ps',
  rctl: '/usr/bin/rctl',
  sysctl: '/sbin/sysctl',
  umount: '/sbin/umount',
  uname: '/usr/bin/uname',
  zfs: '/sbin/zfs',
};

/** Words of a simple command; single quotes quote. Undefined for anything that needs a shell. */
export const splitWords = (line: string): string[] | undefined => {
  if (/[|<>&;`"$(){}*?]/.test(line)) return undefined;
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
};

export const programOf = (name: string): string | undefined => PATHS[name];

export const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join('');

/** What a VM of a recording is made of. */
export interface Machine {
  readonly name: string;
  readonly jail: string;
  readonly uid: number;
  /** Run directory on the host. */
  readonly dir: string;
  /** Without -G, as a careless person would start it. */
  readonly keepGroups?: boolean;
  /** Another group than the uid's own. */
  readonly gid?: number;
}

/** A model with the hands of a person on it. */
export class Scene {
  readonly model: Model;

  constructor(options: Parameters<typeof createModel>[0] = {}) {
    this.model = createModel(options);
  }

  /** Runs a line of simple words. */
  async sh(line: string, stdin?: string, timeoutMs = 30_000): Promise<Result> {
    const [name = '', ...args] = splitWords(line) ?? [];
    const program = programOf(name) ?? name;
    return await this.model.host.run({ program, args, timeoutMs, ...(stdin === undefined ? {} : { stdin }) });
  }

  /** As sh, and it works. */
  async ok(line: string, stdin?: string): Promise<string> {
    const { status, stdout, stderr } = await this.sh(line, stdin);
    if (status !== 0) throw new Error(`${line}: status ${status}: ${stderr}`);
    return stdout;
  }

  /** Several lines that work. */
  async all(...texts: readonly string[]): Promise<void> {
    for (const text of texts) await this.ok(text);
  }

  async mkdir(...paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.model.host.mkdir(path, { mode: 0o755, ...ROOT });
  }

  async file(path: string, text: string, mode = 0o644, uid = 0): Promise<void> {
    await this.model.host.writeFile(path, text, { mode, uid, gid: uid });
  }

  /** Starts bhyve under its supervisor, in a jail that is there. */
  async spawn(machine: Machine, run = 'r1'): Promise<void> {
    const { name, jail, uid, dir, keepGroups } = machine;
    await this.mkdir('/brig/exits', dir);
    await this.file('/brig/supervise.sh', '#!/bin/sh\n', 0o500);
    for (const fifo of [`${dir}/con.in`, `${dir}/con.out`])
      if (!(await this.model.host.stat(fifo))) await this.ok(`mkfifo -m 0600 ${fifo}`);
    const gid = machine.gid ?? uid;
    const who = `${keepGroups ? '' : `-G ${gid} `}-g ${gid} -u ${uid}`;
    const supervisor = `/brig/supervise.sh bhyve ${name} ${dir} /brig/exits ${run} 3 60 --`;
    const bhyve = `/usr/sbin/bhyve -k /vm/bhyve.conf ${name}`;
    const line = `${supervisor} /usr/sbin/jexec -l ${jail} /usr/sbin/chroot ${who} / ${bhyve}`;
    await this.model.host.spawn({ program: '/bin/sh', args: line.split(' '), timeoutMs: 30_000 });
  }

  /** As spawn, until the guest has greeted. */
  async start(machine: Machine, run = 'r1'): Promise<void> {
    await this.spawn(machine, run);
    await this.model.clock.advance(200);
    if (this.model.guest(machine.name).running) return;
    const err = await this.model.host.readFile(`${machine.dir}/err`);
    throw new Error(`${machine.name} does not run: ${err ?? 'no stderr'}`);
  }

  exit(name: string): Promise<string | undefined> {
    return this.model.host.readFile(`/brig/exits/${name}`);
  }

  names(list: string): string[] {
    return list.trim().split(/\s+/);
  }
}

export const config = (extra: readonly string[] = []): string =>
  lines([
    'cpus=1',
    'memory.size=64M',
    'bootrom=/vm/firmware.rom',
    'lpc.com1.path=stdio',
    'pci.0.0.0.device=hostbridge',
    'pci.0.31.0.device=lpc',
    ...extra,
  ]);

/** Hide all, then what a bhyve of that name and uid needs, as devfs(8) reads it. */
export const rules = (name: string, uid: number | string, extra: readonly string[] = []): string =>
  lines([
    'hide',
    ...['null', 'zero', 'random', 'urandom'].map((path) => `path ${path} unhide`),
    `path vmmctl unhide user ${uid} mode 600`,
    'path vmm unhide',
    `path vmm/${name} unhide user ${uid} mode 600`,
    'path vmm.io unhide',
    `path vmm.io/${name}.* unhide user ${uid} mode 600`,
    ...extra,
  ]);

/** A jail with everything that bhyve needs, on a tarfs root. */
export const prepareJail = async (scene: Scene, machine: Machine, extra: readonly string[] = []): Promise<void> => {
  const { name, jail, uid, dir } = machine;
  await scene.all('kldload -n vmm if_tuntap if_epair if_bridge tarfs');
  await scene.mkdir(`${dir}/root`, `${dir}/vm`, '/root');
  await scene.file('/root/base.tar.zst', 'image');
  await scene.file(`${dir}/vm/bhyve.conf`, config(extra), 0o600, uid);
  await scene.file(`${dir}/vm/firmware.rom`, 'rom');
  await scene.ok(
    `devfs rule -s ${uid} add -`,
    rules(name, uid, ['path tap7 unhide user ' + String(uid) + ' mode 600']),
  );
  await scene.all(
    `mount -t tarfs /root/base.tar.zst ${dir}/root`,
    `mount -t tmpfs -o size=16m,mode=1777 tmpfs ${dir}/root/tmp`,
    `mount -t nullfs -o ro ${dir}/vm ${dir}/root/vm`,
    `mount -t devfs -o ruleset=${uid} devfs ${dir}/root/dev`,
    `jail -q -i -c name=${jail} path=${dir}/root host.hostname=${name} vnet persist allow.vmm meta.brig_vm=${name}`,
  );
};

export const machine = (name = 'web01', uid = 20_001): Machine => ({
  name,
  jail: `brig-${name}`,
  uid,
  dir: `/brig/vms/${name}`,
});
