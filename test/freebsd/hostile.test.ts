import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, constants, copyFileSync, existsSync, mkdtempSync, openSync } from 'node:fs';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, isFreebsd, leftovers, run, Stage } from '../demo/stage.ts';
import {
  build,
  HAS_COMPILER,
  listAttempts,
  listScript,
  parseReport,
  script,
  summaryOf,
  tell,
} from '../hostile/program.ts';

interface View {
  readonly name: string;
  readonly state: string;
  readonly pid: number;
  readonly uid: number;
  readonly nics: readonly { readonly unit: number }[];
}

/** What an attacker is bound by, as its supervisor bound bhyve. */
interface Bounds {
  readonly processes: string;
  readonly openfiles: string;
}

const SMALL = ['--test-rom', '--memory', '64M', '--nic', 'default', '--disk', 'file:1M', '--restart', 'never'] as const;
/** TEST-NET-2 of RFC 5737: nobody else has it. */
const ADDRESS = '198.51.100.29';
const CANARY = 'brig! the host keeps this\n';

/** Sets limits as supervise.sh does, then becomes the rest: both hold for the same uid. */
const BOUND = 'ulimit -u "$1" && ulimit -n "$2" && ulimit -c 0 || exit 71; shift 2; exec "$@"';

const canRun = isFreebsd && process.getuid?.() === 0;
const open = canRun ? mkdtempSync('/var/tmp/brig-hostile-') : '';
const program = `${open}/hostile`;
const canary = `${open}/canary`;
if (canRun && HAS_COMPILER) build(program);

const findBounds = (vm: string): Bounds => {
  const { stdout } = run('/bin/ps', ['-axwwo', 'command']);
  const line = stdout.split('\n').find((each) => each.includes(`/supervise.sh bhyve ${vm} `)) ?? '';
  const [, processes, openfiles] = / -u (\d+) -n (\d+) -c 0 /.exec(line) ?? [];
  if (processes === undefined || openfiles === undefined) throw new Error(`no limits in: ${line}`);
  return { processes, openfiles };
};

/** Names in vmm(4) that a VM's jail shows. */
const machineOf = (stage: Stage, vm: string): string =>
  run('/bin/ls', [`${stage.dir}/run/vms/${vm}/root/dev/vmm`]).stdout.trim();

const factsOf = (stage: Stage, attacker: View, victim: View): Record<string, string | number> => {
  const unit = attacker.nics[0]?.unit ?? -1;
  const machine = machineOf(stage, attacker.name);
  const nodes = ['null', 'zero', 'random', 'urandom', 'vmmctl', `vmm/${machine}`, `vmm.io/${machine}.bootrom`];
  return {
    ...{ 'victim-uid': victim.uid, 'victim-pid': victim.pid, 'own-pid': attacker.pid },
    ...{ 'victim-run': `${stage.dir}/run/vms/${victim.name}`, 'victim-machine': machineOf(stage, victim.name) },
    'victim-disk': `${stage.dir}/state/vms/${victim.name}/disk/disk0.raw`,
    ...{ socket: stage.socket, address: ADDRESS, canary },
    // Any id: a jail without System V memory refuses before it looks.
    shm: 65_536,
    interfaces: `lo0,bridge0,tap${unit},epair${unit}b`,
    devices: [...nodes, `tap${unit}`].map((name) => `/dev/${name}`).join(','),
    writable: '/tmp,/tmp/*,/disk/disk0.raw',
  };
};

/** The attacker as the jail sees it. */
const commandOf = (stage: Stage, attacker: View, victim: View): string[] => {
  const facts = factsOf(stage, attacker, victim);
  if (HAS_COMPILER) return ['/vm/hostile', '--stderr', ...tell(facts)];
  const told = ['victim-pid', 'victim-run', 'victim-disk', 'socket', 'canary', 'own-pid'].map(
    (key) => facts[key] ?? '',
  );
  return ['/bin/sh', '-s', ...told.map(String), '4096'];
};

interface Attack {
  readonly report: string;
  readonly ended: string;
}

/** Runs the attacker in the jail of `attacker` with its console as stdout: the flood goes where a guest's goes. */
const attack = (stage: Stage, attacker: View, victim: View): Attack => {
  const { name, uid } = attacker;
  const dir = `${stage.dir}/run/vms/${name}`;
  if (HAS_COMPILER) copyFileSync(program, `${dir}/vm/hostile`, constants.COPYFILE_EXCL);
  const { processes, openfiles } = findBounds(name);
  const id = String(uid);
  const inside = ['/usr/sbin/chroot', '-G', id, '-g', id, '-u', id, '/', ...commandOf(stage, attacker, victim)];
  const command = ['/usr/bin/env', '-i', '/usr/sbin/jexec', `brig-${name}`, ...inside];
  // Files, not pipes: Node's pipes are sockets, and a hypervisor has none.
  const report = `${open}/report`;
  const files = [openSync(`${dir}/con.out`, constants.O_RDWR), openSync(report, 'w', 0o600)] as const;
  const ran = spawnSync('/bin/sh', ['-c', BOUND, 'sh', processes, openfiles, ...command], {
    stdio: HAS_COMPILER ? ['ignore', ...files] : ['pipe', files[1], files[1]],
    ...(HAS_COMPILER ? {} : { input: script }),
    encoding: 'utf8',
    timeout: 240_000,
  });
  for (const file of files) closeSync(file);
  rmSync(`${dir}/vm/hostile`, { force: true });
  return { report: readFileSync(report, 'utf8'), ended: ran.error?.message ?? `status ${ran.status ?? 0}` };
};

const tellHostileStory = (): void => {
  const attempts = HAS_COMPILER ? listAttempts(program) : listScript();
  let stage: Stage;
  let before: Record<string, string[]>;
  let done: Attack;
  /** Without rctl(8) nothing counts the threads of a jail; the doctor says so. */
  let unbounded: readonly string[] = [];
  const pids: Record<string, number> = {};
  const view = (name: string): View => stage.json('show', name);
  const ok = (...args: string[]): string => {
    const { status, stdout, stderr } = stage.brig(...args);
    expect(status, `brig ${args.join(' ')}: ${stderr}`).toBe(0);
    return stdout;
  };

  beforeAll(async () => {
    writeFileSync(canary, CANARY);
    chmodSync(open, 0o777);
    chmodSync(canary, 0o666);
    before = inventory();
    stage = new Stage('hostile');
    await stage.up();
    for (const name of ['a', 'b']) {
      ok('create', name, ...SMALL);
      ok('start', name);
      pids[name] = view(name).pid;
    }
    run('/sbin/ifconfig', ['lo0', 'alias', `${ADDRESS}/32`]);
    const findings = stage.json<{ level: string; what: string }[]>('doctor');
    const off = findings.some(({ level, what }) => level !== 'ok' && what === 'resource limits');
    unbounded = off ? ['thread-bomb'] : [];
    done = attack(stage, view('a'), view('b'));
  });

  afterAll(async () => {
    run('/sbin/ifconfig', ['lo0', '-alias', ADDRESS]);
    await stage.close();
    rmSync(open, { recursive: true });
    expect(leftovers(before, inventory()), 'nothing is left, and no jail is dying').toEqual([]);
  });

  describe('a tenant in place of bhyve', () => {
    test.each(attempts)('$name: cannot $what', ({ name }) => {
      const verdict = parseReport(done.report).get(name);
      expect(verdict, done.ended).toMatch(unbounded.includes(name) ? /^(held|ESCAPED): / : /^held: /);
    });

    test('has tried everything', () => {
      expect(summaryOf(done.report), `${done.ended}\n${done.report.slice(-2000)}`).toMatch(
        new RegExp(`^${attempts.length} attempts, ${unbounded.length > 0 ? '[01]' : '0'} escaped, 0 untried$`),
      );
    });
  });

  describe('after it', () => {
    test('brigd answers, and both VMs run in the same processes', () => {
      expect(['a', 'b'].map((name) => [view(name).state, view(name).pid])).toEqual([
        ['running', pids.a],
        ['running', pids.b],
      ]);
    });

    test('the other VM answers on its console', async () => {
      await stage.until('the echo', () => stage.type('b', 'xyz').includes('xyz'));
    });

    test.each(['a', 'b'])('the audit of %s finds every wall but those that this host lacks', (name) => {
      const { stdout } = stage.brig('--json', 'audit', name);
      const [audit] = JSON.parse(stdout) as { properties: { id: string; verdict: string }[] }[];
      const broken = (audit?.properties ?? []).filter(({ verdict }) => verdict !== 'holds').map(({ id }) => id);
      expect(audit?.properties.length).toBeGreaterThan(20);
      expect(broken).toEqual(unbounded.length > 0 ? ['limits.rctl'] : []);
    });

    test('what the host keeps is unchanged', () => {
      expect(readFileSync(canary, 'utf8')).toBe(CANARY);
      expect(existsSync(`${stage.dir}/state/vms/b/disk/disk0.raw`)).toBe(true);
    });
  });
};

if (canRun) tellHostileStory();
else
  test('the hostile tenant of a jail needs FreeBSD and root', () =>
    expect([isFreebsd, process.getuid?.()], 'run this on FreeBSD as root').toEqual([true, 0]));
