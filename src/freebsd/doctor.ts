import type { Command, Host } from '../base/host.ts';
import type { Finding } from '../platform/platform.ts';
import { WALL_ADVISORIES } from './advisories.ts';
import { reducedBy, type Node } from './node.ts';
import { listRulesets } from './programs/devfs.ts';
import { parseRelease, releases } from './programs/freebsd-version.ts';
import { hasFile, hasModule } from './programs/kldload.ts';
import { ANCHORS, isFiltering, missingAnchors, showMain } from './programs/pfctl.ts';
import { listProcesses, parseProcesses } from './programs/ps.ts';
import { isEnabled } from './programs/service.ts';
import { listSwap, parsePlainSwap } from './programs/swapctl.ts';
import { parseSysctls, readSysctls } from './programs/sysctl.ts';
import { listPools, parseUnwell } from './programs/zpool.ts';

const ok = (what: string, got: string): Finding => ({ level: 'ok', what, got });
const warning = (what: string, got: string, mend: string): Finding => ({ level: 'warning', what, got, mend });

const textOf = async (host: Host, command: Command): Promise<string | undefined> => {
  const { status, stdout, timedOut } = await host
    .run(command)
    .catch(() => ({ status: 127, stdout: '', timedOut: false }));
  return status === 0 && !timedOut ? stdout : undefined;
};

const answers = async (host: Host, command: Command): Promise<boolean> => (await textOf(host, command)) !== undefined;

/** Sysctls that say how well the host keeps VMs and people apart; one process reads them all. */
const SYSCTLS = [
  'security.bsd.see_other_uids',
  'security.bsd.see_other_gids',
  'security.bsd.unprivileged_proc_debug',
  'security.bsd.unprivileged_read_msgbuf',
  'kern.securelevel',
  'kern.smp.threads_per_core',
  'net.link.tap.user_open',
  'net.link.tap.devfs_cloning',
] as const;

type Values = ReadonlyMap<string, string>;

const wanted = (values: Values, name: string, good: string, what: string, bad: string): Finding => {
  const got = values.get(name);
  return got === good
    ? ok(what, `${name}=${got}`)
    : warning(
        what,
        `${name}=${got ?? 'unknown'}: ${bad}`,
        `sysctl ${name}=${good}, and the same line in /etc/sysctl.conf`,
      );
};

const checkSysctls = (values: Values): Finding[] => [
  wanted(values, 'net.link.tap.user_open', '1', 'taps without root', 'bhyve may not open its tap'),
  wanted(values, 'net.link.tap.devfs_cloning', '0', 'taps by opening', 'a jail could make interfaces'),
  wanted(values, 'security.bsd.see_other_uids', '0', 'processes of others', "every user sees everybody's processes"),
  wanted(
    values,
    'security.bsd.see_other_gids',
    '0',
    'processes of other groups',
    "every user sees everybody's processes",
  ),
  wanted(values, 'security.bsd.unprivileged_proc_debug', '0', 'debuggers', 'users may debug processes of their uid'),
  wanted(
    values,
    'security.bsd.unprivileged_read_msgbuf',
    '0',
    'kernel messages',
    'every user, also in a jail, reads them',
  ),
  checkSecurelevel(Number(values.get('kern.securelevel') ?? -1)),
  checkSmt(values.get('kern.smp.threads_per_core')),
];

const checkSecurelevel = (level: number): Finding =>
  level >= 1
    ? ok('secure level', `kern.securelevel=${level}`)
    : warning(
        'secure level',
        `kern.securelevel=${level}: root can load any module`,
        'sysrc kld_list+="vmm if_tuntap if_epair if_bridge tarfs" kern_securelevel_enable=YES kern_securelevel=1',
      );

const checkSmt = (threads: string | undefined): Finding => {
  if (threads === undefined) return warning('SMT', 'unknown', 'sysctl kern.smp.threads_per_core');
  return threads === '1'
    ? ok('SMT', 'off')
    : warning(
        'SMT',
        `${threads} threads a core: guests of different owners may share one`,
        'machdep.hyperthreading_allowed=0 in /boot/loader.conf',
      );
};

const MODULES = ['vmm', 'if_tuntap', 'if_epair', 'if_bridge', 'tarfs'];

const checkModules = async (host: Host): Promise<Finding[]> => {
  const isThere = async (name: string): Promise<boolean> =>
    (await answers(host, hasModule(name))) || (await answers(host, hasFile(name)));
  const there = await Promise.all([...MODULES, 'nmdm'].map(isThere));
  const missing = MODULES.filter((_, i) => !there[i]);
  return [
    ...MODULES.filter((name) => !missing.includes(name)).map((name) => ok(`module ${name}`, 'loaded')),
    ...missing.map((name): Finding => ({
      level: 'problem',
      what: `module ${name}`,
      got: 'not loaded',
      mend: `kldload ${name}`,
    })),
    there[MODULES.length]
      ? warning('module nmdm', 'loaded: a jail can clone its nodes past any ruleset', 'kldunload nmdm')
      : ok('module nmdm', 'not loaded'),
  ];
};

const checkPf = async (host: Host): Promise<Finding> => {
  const what = 'pf anchors';
  if (!(await host.stat('/dev/pf')))
    return warning(what, 'pf is not loaded: nothing filters what VMs send', 'sysrc pf_enable=YES && service pf start');
  if (!isFiltering((await textOf(host, showMain('info'))) ?? ''))
    return warning(what, 'pf is off: nothing filters what VMs send', 'sysrc pf_enable=YES && service pf start');
  const shown = await Promise.all([textOf(host, showMain('nat')), textOf(host, showMain('rules'))]);
  const missing = missingAnchors(shown.map((text) => text ?? '').join('\n'));
  return missing.length === 0
    ? ok(what, 'referenced')
    : warning(
        what,
        `the main ruleset lacks ${missing.join(', ')}`,
        `add to /etc/pf.conf, then service pf reload: ${ANCHORS.join('; ')}`,
      );
};

const checkDevfs = async (host: Host): Promise<Finding> => {
  const sets = (await textOf(host, listRulesets())) ?? '';
  return sets.trim() === ''
    ? warning('devfs rules', 'none are loaded: jails of others may show every device', 'service devfs start')
    : ok('devfs rules', 'loaded');
};

const checkSwap = async (host: Host): Promise<Finding> => {
  const text = await textOf(host, listSwap());
  const plain = parsePlainSwap(text ?? '');
  if (text === undefined) return warning('swap', 'unknown', 'swapctl -l');
  return plain.length === 0
    ? ok('swap', 'none, or encrypted')
    : warning(
        'swap',
        `${plain.join(' ')} holds guest memory in the clear`,
        'add .eli to the device in /etc/fstab, then reboot',
      );
};

const checkTime = async (host: Host): Promise<Finding> => {
  const processes = parseProcesses((await textOf(host, listProcesses())) ?? '{}');
  const daemon = processes.find(({ command }) =>
    /(^|\/)(ntpd|chronyd|openntpd)\b/.test(command.split(' ')[0]?.replace(/:$/, '') ?? ''),
  );
  return daemon
    ? ok('time', `kept by ${daemon.command.split(' ')[0] ?? ''}`)
    : warning(
        'time',
        'nobody keeps it: guests, logs and signatures drift',
        'sysrc ntpd_enable=YES ntpd_sync_on_start=YES && service ntpd start',
      );
};

const checkPools = async (host: Host, node: Node): Promise<Finding[]> => {
  if (node.dataset === undefined) return [];
  const text = await textOf(host, listPools());
  const unwell = parseUnwell(text ?? '');
  if (text === undefined) return [warning('pools', 'unknown', 'zpool status')];
  return [unwell.length === 0 ? ok('pools', 'healthy') : warning('pools', unwell.join(', '), 'zpool status -x')];
};

/** Advisories on jails and Capsicum that this release has no fix for. */
export const openWalls = (release: string): string[] => {
  const have = parseRelease(release);
  if (have?.patch === undefined) return [];
  const { major, minor, patch } = have;
  return WALL_ADVISORIES.flatMap(({ id, fixedIn }) => {
    const fix = fixedIn.find((each) => each.startsWith(`${major}.${minor}-p`));
    return fix !== undefined && patch < Number(fix.split('-p')[1]) ? [`${id} (fixed in ${fix})`] : [];
  });
};

const checkRelease = async (host: Host): Promise<Finding> => {
  const [installed, running, userland] = ((await textOf(host, releases())) ?? '').split('\n');
  const mend = 'freebsd-update fetch install';
  if (userland === undefined || userland === '') return warning('patch level', 'unknown', 'freebsd-version -kru');
  const open = openWalls(userland);
  if (open.length > 0) return warning('patch level', `${userland} has no fix of ${open.join(', ')}`, mend);
  if (installed !== running)
    return warning('patch level', `the kernel on disk is ${installed ?? ''}, ${running ?? ''} runs`, 'shutdown -r now');
  const { patch } = parseRelease(userland) ?? {};
  return patch === undefined && parseRelease(userland)
    ? warning(
        'patch level',
        `${userland}: its fixes are not numbered, so nobody can tell`,
        'compare with security.FreeBSD.org',
      )
    : ok('patch level', userland);
};

const checkBoot = async (host: Host): Promise<Finding> =>
  (await answers(host, isEnabled('brigd')))
    ? ok('boot script', 'brigd is enabled')
    : warning('boot script', 'brigd does not start with the host', 'sysrc brigd_enable=YES');

/** A broken bhyve may make machines of any name, which outlive its jail (FACTS 2); so may a person. */
const checkMachines = async (host: Host, node: Node): Promise<Finding[]> => {
  if (reducedBy(node) !== undefined) return [];
  const running = new Set(await host.list(node.layout.vmsDir));
  const strange = ((await host.list('/dev/vmm')) ?? []).filter((name) => !running.has(name));
  return [
    strange.length === 0
      ? ok('machines in vmm(4)', 'all are of running VMs')
      : warning(
          'machines in vmm(4)',
          `${strange.join(' ')}: no VM of brig`,
          `bhyvectl --vm=${strange[0] ?? ''} --destroy, if nobody needs it`,
        ),
  ];
};

const checkReduced = (node: Node): Finding => {
  const reduced = reducedBy(node);
  return reduced === undefined
    ? ok('bhyve without root', '/dev/vmmctl is there')
    : warning('bhyve without root', `DOWNGRADED: ${reduced}`, 'upgrade to FreeBSD 15');
};

/** The host's posture: each finding with the command that mends it. A fixed number of processes. */
export const checkPosture = async (host: Host, node: Node): Promise<Finding[]> => {
  const values = parseSysctls((await textOf(host, readSysctls(SYSCTLS))) ?? '');
  return [
    checkReduced(node),
    ...(await checkMachines(host, node)),
    ...(await checkModules(host)),
    ...checkSysctls(values),
    await checkPf(host),
    await checkDevfs(host),
    await checkSwap(host),
    await checkTime(host),
    ...(await checkPools(host, node)),
    await checkRelease(host),
    await checkBoot(host),
  ];
};
