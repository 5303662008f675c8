import { BrigError } from '../base/errors.ts';
import type { Command, Host } from '../base/host.ts';
import type { Finding } from '../platform/platform.ts';
import type { Features } from './node.ts';
import { loadModules } from './programs/kldload.ts';
import { listRoutes, parseEgress } from './programs/route.ts';
import { describeSysctl, listSysctls, parseNames, parseSysctls, readSysctls, setSysctls } from './programs/sysctl.ts';

/** nmdm is missing on purpose: a jail can clone its nodes past any ruleset (FACTS S.22). */
const MODULES = ['vmm', 'if_tuntap', 'if_epair', 'if_bridge', 'tarfs'] as const;

/** Unprivileged bhyve opens its tap; nobody makes taps by opening /dev/tap. Source: tap(4). */
const SYSCTLS = { 'net.link.tap.user_open': '1', 'net.link.tap.devfs_cloning': '0' } as const;

const PROGRAMS = [
  '/usr/sbin/bhyve',
  '/usr/sbin/bhyvectl',
  '/usr/sbin/jail',
  '/usr/sbin/jexec',
  '/usr/sbin/jls',
  '/sbin/devfs',
  '/sbin/ifconfig',
] as const;

const ok = (what: string, got: string): Finding => ({ level: 'ok', what, got });

/** Loads modules and sets the two sysctls that brig needs; what does not work is a finding, not a failure. */
export const prepareHost = async (host: Host): Promise<Finding[]> => {
  const loaded = await host.run(loadModules(MODULES));
  const set = await host.run(setSysctls(SYSCTLS));
  return [
    loaded.status === 0
      ? ok(`modules ${MODULES.join(' ')}`, 'loaded')
      : {
          level: 'problem',
          what: `modules ${MODULES.join(' ')}`,
          got: loaded.stderr.trim(),
          mend: `kldload -n ${MODULES.join(' ')}`,
        },
    set.status === 0
      ? ok(
          'tap sysctls',
          Object.entries(SYSCTLS)
            .map((pair) => pair.join('='))
            .join(' '),
        )
      : {
          level: 'problem',
          what: 'tap sysctls',
          got: set.stderr.trim(),
          mend: `sysctl ${Object.entries(SYSCTLS)
            .map((pair) => pair.join('='))
            .join(' ')}`,
        },
  ];
};

const PARAMETERS = 'security.jail.param.';
/** Beside every `allow.`: what an audit looks at. */
const AUDITED = ['path', 'vnet', 'devfs_ruleset', 'children.max', 'enforce_statfs', 'securelevel'];

const auditedOf = (sysctls: readonly string[]): string[] => {
  const names = sysctls.filter((each) => each.startsWith(PARAMETERS)).map((each) => each.slice(PARAMETERS.length));
  return names.filter((name) => name.startsWith('allow.') || AUDITED.includes(name)).sort();
};

/** No answer is not a no: a kernel taken for one without racct would keep a VM's limits for ever. */
const ask = async (host: Host, command: Command): Promise<string> => {
  const { status, stdout, stderr, timedOut } = await host.run(command);
  if (!timedOut && (status === 0 || stdout !== '')) return stdout;
  throw new BrigError(
    'host.failed',
    `probe ${command.program} ${command.args.join(' ')}: status ${status}: ${stderr.trim()}`,
    {
      retry: 'later',
    },
  );
};

const egressOf = async (host: Host): Promise<{ egress?: string }> => {
  const { status, stdout } = await host.run(listRoutes());
  const egress = status === 0 ? parseEgress(stdout) : undefined;
  return egress === undefined ? {} : { egress };
};

/** What this kernel can do: asked, never told from a version. */
export const probeFeatures = async (host: Host): Promise<Features> => {
  const values = parseSysctls(await ask(host, readSysctls(['hw.vmm.maxcpu', 'hw.physmem', 'kern.racct.enable'])));
  const parameters = parseNames(await ask(host, listSysctls('security.jail.param')));
  return {
    vmmctl: (await host.stat('/dev/vmmctl')) !== undefined,
    jailParameters: auditedOf(parameters),
    meta: parameters.includes('security.jail.param.meta'),
    racct: values.get('kern.racct.enable') === '1',
    ...(await egressOf(host)),
    maxCpus: Number(values.get('hw.vmm.maxcpu') ?? 0) || 256,
    memoryBytes: Number(values.get('hw.physmem') ?? 0) || Number.MAX_SAFE_INTEGER,
  };
};

/** The host's fitness: what a start would miss, and what weakens it. */
export const checkHost = async (host: Host, features: Features): Promise<Finding[]> => {
  const missing = (await Promise.all(PROGRAMS.map(async (path) => ((await host.stat(path)) ? [] : [path])))).flat();
  const vmm = await host.run(describeSysctl('hw.vmm.maxcpu'));
  return [
    missing.length === 0
      ? ok('base programs', 'all there')
      : {
          level: 'problem',
          what: 'base programs',
          got: `missing ${missing.join(' ')}`,
          mend: 'install the base packages that have them',
        },
    ...(features.vmmctl || vmm.status === 0
      ? []
      : [{ level: 'problem' as const, what: 'vmm(4)', got: 'not loaded', mend: 'kldload vmm' }]),
    features.racct
      ? ok('resource limits', 'kern.racct.enable=1')
      : {
          level: 'warning',
          what: 'resource limits',
          got: 'off: only ulimit(1) bounds processes and files; nothing bounds memory, CPU time, threads and I/O',
          mend: "echo 'kern.racct.enable=1' >> /boot/loader.conf && reboot",
        },
    features.meta
      ? ok('jail metadata', 'meta.brig_vm')
      : { level: 'warning', what: 'jail metadata', got: 'absent: jails are known by name alone' },
  ];
};
