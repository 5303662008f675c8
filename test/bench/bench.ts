/** The figures that the README quotes, each beside its reference in the same run. Ratios count, not times. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { Client } from '../../src/api/client.ts';
import { Stage } from '../demo/stage.ts';
import { FLOODS, floodCost as tenantFlood } from './flood.ts';
import { decideCost } from './access.ts';
import { auditCost } from './audit.ts';
import { auditLogCost } from './audit-log.ts';
import { consoleRate, floodCost } from './console.ts';
import { modelRatio } from './model.ts';
import { timeToNotice } from '../soak/notice.ts';
import { importCost, manyCost } from './images.ts';
import { journalCost } from './journal.ts';
import { linuxReference } from './linux.ts';
import { rush, scale } from './scale.ts';
import { addressCost, firewallCost, leaseCost, manyNetworks, packetRate } from './network.ts';
import { median } from './script.ts';
import { signedCost } from './signed.ts';

const ROUNDS = 15;
/** As published: built by tsc. */
const CLI = new URL('../../dist/cli/main.js', import.meta.url).pathname;

const time = async (work: () => unknown): Promise<number> => {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
};

const rows: string[][] = [['figure', 'brig', 'reference', 'ratio', 'at most']];
const row = (what: string, brig: number, reference: number, unit: string, most: string): void =>
  void rows.push([
    what,
    `${brig.toFixed(1)} ${unit}`,
    reference ? `${reference.toFixed(1)} ${unit}` : '',
    reference ? `${(brig / reference).toFixed(2)}x` : '',
    most,
  ]);

const privateKib = (pid: number): number =>
  [...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+: +(\d+) kB/gm)].reduce(
    (sum, match) => sum + Number(match[1]),
    0,
  );

const supervisorOf = (vm: string): number =>
  Number(spawnSync('/usr/bin/pgrep', ['-f', `supervise.sh qemu ${vm} `], { encoding: 'utf8' }).stdout.split('\n')[0]);

/** brig and the script take turns, so that what the machine does meanwhile hits both. */
const realVms = async (stage: Stage): Promise<void> => {
  const client = new Client(stage.socket);
  stage.brig('create', 'bench', '--test-rom', '--memory', '64M', '--nic', 'default');
  const reference = await linuxReference();
  const [starts, stops, refStarts, refStops]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let i = 0; i < ROUNDS; i++) {
    starts.push(await time(() => client.operate('start', 'bench')));
    stops.push(await time(() => client.operate('stop', 'bench')));
    refStarts.push(reference.start());
    refStops.push(await reference.stop());
  }
  await reference.close();
  row('start a VM on Linux, against the same commands in sh', median(starts), median(refStarts), 'ms', '1.3x');
  row('stop a VM on Linux, against the same commands in sh', median(stops), median(refStops), 'ms', '1.3x');
  const noticed: number[] = [];
  for (let i = 0; i < ROUNDS; i++) noticed.push(await timeToNotice(client, 'bench'));
  row('the end of a VM on Linux noticed', median(noticed), 0, 'ms', '100 ms');
  await client.operate('start', 'bench');
  row(
    'brigd at rest with one VM, resident',
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${stage.daemonPid}/status`, 'utf8'))?.[1]) / 1024,
    0,
    'MiB',
    '80 MiB',
  );
  row('supervise.sh, private', privateKib(supervisorOf('bench')) / 1024, 0, 'MiB', '1 MiB');
};

const coldStart = async (stage: Stage): Promise<void> => {
  const [list, bare]: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS * 2; i++) {
    list.push(
      await time(() =>
        spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', CLI, '--socket', stage.socket, 'list']),
      ),
    );
    bare.push(await time(() => spawnSync(process.execPath, ['-e', '0'])));
  }
  row('brig list from cold, against node -e 0', median(list), median(bare), 'ms', '3x');
};

const MANY = 10_000;
const FEW = 1_000;

const thousands = async (): Promise<void> => {
  const { append, fsync } = journalCost();
  row('a change made durable, against write and fsync', append, fsync, 'ms', '2x');
  const few = await scale(FEW);
  const many = await scale(MANY);
  row(`list of ${MANY} VMs through the API, against ${FEW}`, many.listMs, few.listMs, 'ms', '25 ms, 12x');
  row(`list of the 10 of ${MANY} VMs that are a tenant's, against ${FEW}`, many.tenantMs, few.tenantMs, 'ms', '5 ms');
  row(`a pass over ${MANY} VMs, against ${FEW}`, many.passMs, few.passMs, 'ms', '1000 ms, 12x');
  row(`processes of a pass over ${MANY} VMs`, many.processes, 0, '', '8');
  row(`processes of a brigd that comes up to ${MANY} running VMs`, many.adoption, few.adoption, '', '1x');
  row(`brigd with ${MANY} VMs, resident`, many.residentMiB, 0, 'MiB', '250 MiB');
  const { seconds, restMiB, mostMiB, displaced, failed } = await rush(FEW + 1);
  row(`${FEW} starts at once, each`, (seconds * 1000) / FEW, 0, 'ms', '');
  row('... resident meanwhile, against before', mostMiB, restMiB, 'MiB', '');
  row('... places that a start ended from its own in the queue, at most', displaced, 0, '', '');
  row('... that failed or timed out', failed, 0, '', '0');
};

/** The VM `bench` runs. */
const consoles = async (stage: Stage): Promise<void> => {
  const rate = await consoleRate(stage, 'bench');
  row('a console to a reader, against cat', rate.brig, rate.reference, 'MB/s', 'at least 50 MB/s');
  row('brigd while a console floods with no reader', await floodCost(stage, 'bench', '64k'), 0, '% of a core', '2 %');
  row('... byte by byte', await floodCost(stage, 'bench', '1'), 0, '% of a core', '2 %');
};

/** What brig does, apart from what the machine's disk does: the reference writes nothing. */
const inMemory = async <T>(work: (stage: Stage) => Promise<T>): Promise<T> => {
  const stage = new Stage('bench-memory', { accel: 'tcg' }, 'built');
  const state = `${stage.dir}/state`;
  mkdirSync(state, { mode: 0o711 });
  spawnSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', 'size=1500m,mode=711', 'brig-bench', state]);
  try {
    await stage.up();
    return await work(stage);
  } finally {
    await stage.down();
    spawnSync('/usr/bin/umount', ['-l', state]);
    await stage.close();
  }
};

const images = async (stage: Stage): Promise<void> => {
  const disk = await importCost(stage);
  row('import of an archive to disk, against zstd -dc | sha256sum', disk.ms, disk.referenceMs, 'ms', '');
  const { ms, referenceMs, peakMiB } = await inMemory(importCost);
  row('the same to memory', ms, referenceMs, 'ms', '1.25x');
  row('brigd with one VM, at most meanwhile', peakMiB, 0, 'MiB', '150 MiB');
  const few = await manyCost(100);
  const many = await manyCost(MANY - 100);
  row(`list of images of ${MANY} VMs, against 100`, many.listMs, few.listMs, 'ms', '2x');
  row(`gc --dry-run with ${MANY} VMs, against 100`, many.gcMs, few.gcMs, 'ms', '2x');
  row(`create of one more with ${MANY} VMs, against 100`, many.createMs, few.createMs, 'ms', '2x');
};

const networks = async (): Promise<void> => {
  const { few, many, six } = addressCost();
  row('next free address in a /8 with 10,000,000 leases, against 1,000', many, few, 'us', '20 us');
  row('... in a /48 with 1,000,000', six, 0, 'us', '20 us');
  const { lease, commit } = leaseCost();
  row('a durable lease, against a commit of one row', lease, commit, 'ms', '2x');
  const [some, all] = [firewallCost(500), firewallCost(5000)];
  row('rules of pf for 5,000 NICs, against 500', all.pf, some.pf, 'ms', '1000 ms, 12x');
  row('rules of nftables for 5,000 NICs, against 500', all.nft, some.nft, 'ms', '1000 ms, 12x');
  row('a pass over 1,000 networks and 5,000 NICs', await manyNetworks(1000, 5000), 0, 'ms', '1000 ms');
  const { vnet, direct } = await packetRate();
  row('packets of 64 bytes by vnet on Linux, against direct', vnet, direct, 'k/s', '');
};

const elsewhere = async (): Promise<void> => {
  const { kept, fresh } = await signedCost(1000);
  row('a signed request over TLS, against an unsigned one, connections kept', kept.signed, kept.plain, 'ms', '');
  row('... what signing adds to it', kept.signed - kept.plain, 0, 'ms', '1 ms');
  row('... with a connection of its own for each, as brig does', fresh.signed, fresh.plain, 'ms', '');
};

const floods = async (): Promise<void> => {
  for (const kind of Object.keys(FLOODS) as (keyof typeof FLOODS)[]) {
    const { alone, flooded, rootAlone, rootFlooded } = await tenantFlood(kind, 500);
    row(`a tenant's request under another's flood of ${kind}, against alone`, flooded.p50, alone.p50, 'ms', '3x');
    row('... at the 95th of 100', flooded.p95, alone.p95, 'ms', '3x');
    row("... root's request, against alone", rootFlooded.p50, rootAlone.p50, 'ms', '3x');
  }
};

const main = async (): Promise<void> => {
  const stage = new Stage('bench', { accel: 'tcg' }, 'built');
  try {
    await stage.up();
    await realVms(stage);
    await consoles(stage);
    await coldStart(stage);
    await images(stage);
  } finally {
    await stage.close();
  }
  const model = await modelRatio();
  row('start a VM on the model, in its time', model.start.brig, model.start.script, 'ms', '1.3x');
  row('stop a VM on the model, in its time', model.stop.brig, model.stop.script, 'ms', '1.3x');
  const audit = await auditCost(100);
  if (!audit.passes) throw new Error('an audit of the model does not pass');
  row('audit of 100 VMs on the model', audit.seconds, 0, 's', '5 s');
  row('processes of that audit, for each VM', audit.processes / 100, 0, '', '4');
  const log = await auditLogCost();
  row('an entry of the audit log, against appendFileSync', log.alone, log.bare, 'us', '20 us');
  row('... among others at the same time', log.together, log.bare, 'us', '20 us');
  row('... verified', log.verify, 0, 'us', '');
  row('a decision by 10,000 rules, against 100', decideCost(10_000), decideCost(100), 'us', '10 us');
  await networks();
  await elsewhere();
  await floods();
  await thousands();
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0))) ?? [];
  for (const cells of rows)
    process.stdout.write(`| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |\n`);
};

await main();
