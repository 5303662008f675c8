import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { Ipam } from '../../src/net/ipam.ts';
import { baseText, nicsTexts } from '../../src/net/nft.ts';
import { vmAnchor } from '../../src/net/pf.ts';
import type { NicRules } from '../../src/net/rules.ts';
import { parseAttachment } from '../../src/spec/attachment.ts';
import { parseNetwork } from '../../src/spec/network.ts';
import { Store } from '../../src/store/store.ts';
import { crowd } from '../sim/crowd.ts';
import { median } from './script.ts';

const ROUNDS = 15;
const time = (work: () => void): number => {
  const startMs = performance.now();
  work();
  return performance.now() - startMs;
};

const STEP = 10_000;

/** The next free address and its lease in memory, with so many given. Units: microseconds. */
const nextUs = (cidr: string, given: number): number => {
  const ipam = new Ipam({ subnets: [{ cidr, ranges: [], exclude: [], reservations: [] }] });
  const family = cidr.includes(':') ? 6 : 4;
  const take = (): void => ipam.take(ipam.next(family));
  for (let i = 0; i < given; i++) take();
  return median(
    Array.from({ length: ROUNDS }, () => {
      const ms = time(() => {
        for (let i = 0; i < STEP; i++) take();
      });
      return (ms * 1000) / STEP;
    }),
  );
};

export const addressCost = () => ({
  few: nextUs('10.0.0.0/8', 1000),
  many: nextUs('10.0.0.0/8', 10_000_000),
  six: nextUs('fd00:1:2::/48', 1_000_000),
});

/** A lease in the store against one row in a database of its own; they take turns. Units: milliseconds, medians. */
export const leaseCost = (): { lease: number; commit: number } => {
  const dir = mkdtempSync('/var/tmp/brig-lease-');
  const store = new Store(join(dir, 'brig.db'));
  store.networks.add(parseNetwork({ name: 'lan', kind: 'bridge', subnets: [{ cidr: '10.0.0.0/8' }] }), 0);
  const bare = new DatabaseSync(join(dir, 'bare.db'));
  bare.exec('pragma journal_mode = wal; pragma synchronous = full; create table leases (a blob primary key, b text)');
  const insert = bare.prepare('insert into leases values (?, ?)');
  const [leases, commits]: [number[], number[]] = [[], []];
  for (let i = 0; i < 200; i++) {
    const spec = parseAttachment({ jail: `j${i}` });
    leases.push(time(() => void store.attach('lan', spec, i)));
    commits.push(time(() => void insert.run(Buffer.from(`000${i}`), 'holder')));
  }
  store.close();
  bare.close();
  rmSync(dir, { recursive: true });
  return { lease: median(leases), commit: median(commits) };
};

const rulesOf = (i: number): NicRules => ({
  interface: `epair${i}a`,
  mac: `58:9c:fc:${[i >> 16, (i >> 8) & 255, i & 255].map((each) => each.toString(16).padStart(2, '0')).join(':')}`,
  sources: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, `fd00::${i.toString(16)}`],
  addresses: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, `fd00::${i.toString(16)}`],
  gateways: ['10.255.0.1', 'fd00::ffff'],
  peers: ['10.0.0.0/8', 'fd00::/64'],
  owner: `owner${i % 100}`,
  isolation: 'owner',
  allow: [{ proto: 'tcp', ports: [80, 80] }],
  forwards: [],
});

/** The text of both firewalls for that many NICs. Units: milliseconds. */
export const firewallCost = (nics: number): { pf: number; nft: number } => {
  const all = Array.from({ length: nics }, (_, i) => rulesOf(i));
  const host = { group: 'brig', guests: 'brigguest', hears: true, out: 'em0' };
  const pf = (): void => {
    for (const each of all) vmAnchor([{ ...each, isBridged: true, bridge: 'bridge7001' }], host);
  };
  const nft = (): void => {
    baseText();
    nicsTexts(all.map((rules, unit) => ({ rules, unit, isBridged: true })));
  };
  const best = (work: () => void): number => median(Array.from({ length: 5 }, () => time(work)));
  return { pf: best(pf), nft: best(nft) };
};

/** One look at a model with that many networks and NICs, and all plans compared with it. Units: milliseconds. */
export const manyNetworks = async (networks: number, nics: number): Promise<number> => {
  const world = await crowd({ vms: nics, running: nics, networks });
  await world.boot();
  const passes: number[] = [];
  for (let i = 0; i < 6; i++) {
    const startMs = performance.now();
    await world.keeper.pass();
    passes.push(performance.now() - startMs);
  }
  world.close();
  return median(passes);
};

const ip = (...args: string[]): void => {
  const { status, stderr } = spawnSync('/usr/sbin/ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
};

const MS = 1500;

/** Packets of 64 bytes that arrive in one namespace from another. Units: 1,000 a second. */
const rate = async (program: string, from: string, to: string, address: string): Promise<number> => {
  const inside = (space: string, ...args: string[]) =>
    spawn('/usr/sbin/ip', ['netns', 'exec', space, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const receiver = inside(to, 'recv', '7777', String(MS + 500));
  let count = '';
  receiver.stdout.on('data', (chunk: Buffer) => (count += chunk.toString()));
  await new Promise((resolve) => setTimeout(resolve, 100));
  inside(from, 'send', address, '7777', String(MS));
  await new Promise((resolve) => receiver.once('close', resolve));
  return Number(count) / MS;
};

/**
 * Between two guests' places on one bridge: `vnet` with a bridge in each guest's own namespace, as brig makes it, and
 * `direct` without. Both without rules: what is compared is the way.
 */
export const packetRate = async (): Promise<{ vnet: number; direct: number }> => {
  const dir = mkdtempSync('/var/tmp/brig-rate-');
  const program = join(dir, 'rate');
  const { status, stderr } = spawnSync('/usr/bin/cc', ['-O2', '-o', program, `${import.meta.dirname}/rate.c`]);
  if (status !== 0) throw new Error(`cc: ${String(stderr)}`);
  ip('link', 'add', 'ratebr', 'type', 'bridge');
  ip('link', 'set', 'dev', 'ratebr', 'addrgenmode', 'none', 'up');
  for (const [i, mode] of ['vnet', 'vnet', 'direct', 'direct'].entries()) {
    ip('netns', 'add', `rate${i}`);
    ip('link', 'add', `ratev${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `rate${i}`);
    ip('link', 'set', 'dev', `ratev${i}`, 'master', 'ratebr', 'up');
    ip('-n', `rate${i}`, 'link', 'set', 'dev', 'eth0', 'up');
    // The guest's side of the tap is one more pair of interfaces behind a bridge.
    const end = mode === 'vnet' ? 'br0' : 'eth0';
    if (mode === 'vnet') {
      ip('-n', `rate${i}`, 'link', 'add', 'br0', 'type', 'bridge');
      ip('-n', `rate${i}`, 'link', 'set', 'dev', 'eth0', 'master', 'br0');
      ip('-n', `rate${i}`, 'link', 'set', 'dev', 'br0', 'up');
    }
    ip('-n', `rate${i}`, 'address', 'add', `10.199.0.${i + 1}/24`, 'dev', end);
  }
  const [vnet, direct]: [number[], number[]] = [[], []];
  for (let i = 0; i < 3; i++) {
    vnet.push(await rate(program, 'rate0', 'rate1', '10.199.0.2'));
    direct.push(await rate(program, 'rate2', 'rate3', '10.199.0.4'));
  }
  for (let i = 0; i < 4; i++) ip('netns', 'delete', `rate${i}`);
  ip('link', 'delete', 'ratebr');
  rmSync(dir, { recursive: true });
  return { vnet: median(vnet), direct: median(direct) };
};
