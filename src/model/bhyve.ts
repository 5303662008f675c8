import { emulateDevice } from './emulation.ts';
import { find, normal, openIn, READ, WRITE } from './files.ts';
import { startGuest, type Stdio } from './guest.ts';
import { endProcess, isAlive } from './processes.ts';
import { parseSettings, readConfig, refuse, setOption, type Refusal, type Settings } from './settings.ts';
import { addSegment, createVm, destroyVm } from './vmm.ts';
import type { Jail, Process, World } from './world.ts';

/** `bhyve -k FILE [-o KEY=VALUE]... [NAME]`. */
export interface BhyveArguments {
  readonly config: string | undefined;
  readonly options: readonly string[];
  /** `-l bootrom,ROM[,VARS]`. */
  readonly rom: readonly string[];
  readonly name: string | undefined;
}

/** One start of bhyve: who, where, and what it was told. */
export interface Start {
  readonly world: World;
  readonly jail: Jail;
  readonly process: Process;
  readonly stdio: Stdio;
  readonly settings: Settings;
}

/** From exec to capability mode; most of it is iasl(8). */
const INIT_MS = 40;
/** bhyve's own memory beside the guest's: recorded 114,954,240 bytes with a guest of 64 MiB. */
const OVERHEAD_BYTES = 114_954_240 - 64 * 2 ** 20;

const isRefusal = (answer: Settings | Refusal): answer is Refusal => 'status' in answer;

/** Starts bhyve in a process that is in the jail already and has its final identity. */
export const startBhyve = (world: World, jail: Jail, process: Process, given: BhyveArguments, stdio: Stdio): void => {
  const settings = readSettings(world, jail, process, given);
  if (isRefusal(settings)) return end(world, process, stdio, settings);
  const start = { world, jail, process, stdio, settings };
  const refused = checks.reduce<Refusal | undefined>((refusal, check) => refusal ?? check(start), undefined);
  if (refused) return end(world, process, stdio, refused);
  world.clock.after(INIT_MS, () => confine(start));
};

const end = (world: World, process: Process, stdio: Stdio, refusal: Refusal): void => {
  stdio.err(refusal.text);
  if (refusal.status === 134)
    world.log.push(`pid ${process.pid} (bhyve), jid ${process.jid}, uid ${process.uid}: exited on signal 6`);
  endProcess(world, process, refusal.status);
};

const readSettings = (world: World, jail: Jail, process: Process, given: BhyveArguments): Settings | Refusal => {
  const values = new Map<string, string>();
  if (given.config !== undefined) {
    const file = openIn(world, jail, given.config, process, READ);
    const reason = typeof file === 'string' ? file : file.kind === 'file' ? undefined : 'Is a directory';
    if (reason !== undefined) return refuse(4, `bhyve: Failed to open configuration file ${given.config}: ${reason}`);
    const text = typeof file === 'object' && file.kind === 'file' ? Buffer.from(file.content).toString('utf8') : '';
    const problem = readConfig(text, values);
    if (problem) return problem;
  }
  for (const option of given.options) {
    const problem = setOption(option, values);
    if (problem) return problem;
  }
  const prefix = world.mode === '14' ? 'lpc.' : '';
  for (const [i, key] of ['bootrom', 'bootvars'].entries())
    if (given.rom[i] !== undefined) values.set(`${prefix}${key}`, given.rom[i]);
  if (given.name !== undefined) values.set('name', given.name);
  return parseSettings(values);
};

const barredByNode = (world: World, jail: Jail, process: Process): Refusal | undefined => {
  const control = openIn(world, jail, '/dev/vmmctl', process, READ | WRITE);
  if (typeof control === 'string') return refuse(4, `bhyve: vm_openf: ${control}`);
  return jail.parameters.get('allow.vmm') === true ? undefined : refuse(4, 'bhyve: vm_openf: Operation not permitted');
};

/** FreeBSD 14 writes hw.vmm.create, which takes root of a jail that may use vmm(4) (FACTS 1.7). */
const barredBySysctl = (jail: Jail, process: Process): Refusal | undefined =>
  process.uid === 0 && jail.parameters.get('allow.vmm') === true
    ? undefined
    : refuse(4, 'vm_create: Operation not permitted');

const openMachine = ({ world, jail, process, settings: { name, cpus } }: Start): Refusal | undefined => {
  const refused = (reason: string): Refusal => refuse(4, `bhyve: vm_openf: ${reason}`);
  const barred = world.mode === '14' ? barredBySysctl(jail, process) : barredByNode(world, jail, process);
  if (barred !== undefined) return barred;
  if (!/^[^\s"]{1,229}$/.test(name)) return refused('Invalid argument');
  const there = world.vms.get(name);
  // One namespace for host and all jails (FACTS 2).
  if (there && there.jid !== jail.jid) return refused('File exists');
  if (there && (!there.ended || there.stale))
    return world.mode === '14' ? refuse(4, 'vm_reinit: Device busy') : refused('Device busy');
  process.opened.add(normal(`${jail.path}/dev/vmmctl`));
  process.opened.add(normal(`${jail.path}/dev/vmm/${name}`));
  if (there) world.vms.set(name, { name, jid: jail.jid, pid: process.pid, cpus, ended: false, stale: false });
  else createVm(world, name, process, cpus);
  const node = openIn(world, jail, `/dev/vmm/${name}`, process, READ | WRITE);
  if (typeof node !== 'string') return undefined;
  const vm = world.vms.get(name);
  // Nothing was left of it in the recording.
  if (vm) {
    vm.ended = true;
    destroyVm(world, vm);
  }
  return refused(node);
};

const setTopology = ({ world, settings }: Start): Refusal | undefined =>
  settings.cpus > Number(world.sysctls.get('hw.vmm.maxcpu') ?? 0) ? refuse(71, 'bhyve: vm_set_topology') : undefined;

/** Amount of the first rule that denies the resource to the jail. */
const limitOf = ({ world, jail }: Start, resource: string): number => {
  const head = `jail:${jail.name}:${resource}:deny=`;
  const rule = world.limits.find((each) => each.startsWith(head));
  return rule === undefined ? Infinity : Number(rule.slice(head.length));
};

/** 900 GB on a small host are fine: nothing is wired (FACTS S.23). */
const setUpMemory = (start: Start): Refusal | undefined =>
  limitOf(start, 'vmemoryuse') < start.settings.memoryBytes + OVERHEAD_BYTES
    ? refuse(4, 'Unable to setup memory (12)')
    : undefined;

const openRom = ({ world, jail, process, settings: { name, values } }: Start): Refusal | undefined => {
  const rom = world.mode === '14' ? values.get('lpc.bootrom') : values.get('bootrom');
  // unrecorded: what 14 says, which has no such key
  if (rom === undefined)
    return refuse(4, world.mode === '14' ? 'virtual machine cannot be booted' : 'bhyve: no bootrom was configured');
  addSegment(world, name, 'bootrom', jail.jid);
  const segment = openIn(world, jail, `/dev/vmm.io/${name}.bootrom`, process, READ | WRITE);
  // unrecorded: what a hidden vmm.io says
  if (typeof segment === 'string') return refuse(4, `bhyve: vm_create_devmem: ${segment}`);
  const file = openIn(world, jail, rom, process, READ);
  if (typeof file === 'string') return refuse(4, `Error opening bootrom "${rom}": ${file}`);
  const vars = values.get(world.mode === '14' ? 'lpc.bootvars' : 'bootvars');
  process.opened.add(normal(`${jail.path}/dev/vmm.io/${name}.bootrom`));
  const writable = vars === undefined ? undefined : openIn(world, jail, vars, process, READ | WRITE);
  // unrecorded: the text for variables
  if (typeof writable === 'string') return refuse(4, `Error opening bootvars "${vars ?? ''}": ${writable}`);
  if (vars !== undefined) process.opened.add(normal(`${jail.path}${vars}`));
  return undefined;
};

/** A socket that somebody listens on, connected to once. unrecorded: what bhyve says without one */
const openTpm = ({ world, jail, settings: { values } }: Start): Refusal | undefined => {
  const path = values.get('tpm.path');
  if (values.get('tpm.type') !== 'swtpm' || path === undefined) return undefined;
  return find(world, normal(`${jail.path}${path}`))?.kind === 'socket'
    ? undefined
    : refuse(4, 'Device emulation initialization error: No such file or directory');
};

const openDevices = (start: Start): Refusal | undefined => {
  for (const device of start.settings.devices) {
    const refusal = emulateDevice(start, device);
    if (refusal) return refusal;
  }
  return undefined;
};

const baslFailed = (reason: string): Refusal =>
  refuse(
    134,
    [
      'bhyve: BASL failed @ build_dsdt:484',
      `    Failed to execute basl_compile(ctx, basl_fwrite_dsdt): ${reason}`,
      'bhyve: BASL failed @ acpi_build:899',
      `    Failed to execute build_dsdt(ctx): ${reason}`,
      'Assertion failed: (error == 0), function bhyve_init_platform_late, ' +
        'file /usr/src/usr.sbin/bhyve/amd64/bhyverun_machdep.c, line 390.',
    ].join('\n'),
  );

/** bhyve, two shells and iasl at once (FACTS 3.4). */
const BASL_PROCESSES = 4;

/** system("/bin/sh -c \"/usr/sbin/iasl -p OUT IN\" 1> /dev/null") with its files in /tmp (FACTS 1.3). */
const buildTables = (start: Start): Refusal | undefined => {
  const { world, jail, process } = start;
  if (typeof openIn(world, jail, '/tmp', process, READ | WRITE) === 'string')
    return baslFailed('Operation not permitted');
  const tools = ['/bin/sh', '/usr/sbin/iasl'].every((path) => find(world, normal(`${jail.path}${path}`), jail.jid));
  const tooFew = (process.limits.get('maxprocesses') ?? Infinity) < BASL_PROCESSES;
  const silent = typeof openIn(world, jail, '/dev/null', process, WRITE) !== 'string';
  if (!tools || !silent || limitOf(start, 'maxproc') < BASL_PROCESSES || tooFew) return baslFailed('Unknown error: -1');
  return undefined;
};

const checks = [openMachine, setTopology, setUpMemory, openRom, openDevices, openTpm, buildTables];

const NO_CONSOLE: Stdio = { out: () => undefined, err: () => undefined, listen: () => () => undefined };
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

/** cap_enter(2), then the first vCPU. */
const confine = ({ world, process, stdio, settings: { name, values } }: Start): void => {
  if (!isAlive(world, process)) return;
  const suffix = Array.from({ length: 7 }, () => LETTERS[world.random(LETTERS.length)]).join('');
  stdio.err(
    `/tmp/bhyve.${suffix}     85:       })\nRemark   2095 -                 ^ Effective AML package length is zero\n\n`,
  );
  process.stat = 'SCJ';
  process.command = `bhyve: ${name} (bhyve)`;
  process.rssKilobytes = 10_852;
  process.onExit.unshift((status) => {
    if (status === 4) stdio.err('vm_run error -1, errno 6\n');
  });
  startGuest(world, name, process, values.get('lpc.com1.path') === 'stdio' ? stdio : NO_CONSOLE);
};
