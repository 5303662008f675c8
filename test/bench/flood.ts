/** What one tenant's flood costs another: both and brigd are processes of their own, as they are on a host. */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Target } from '../fuzz/node.ts';

const FLOODER = new URL('flooder.ts', import.meta.url).pathname;
const start = (how: string, socket: string, count = 0): ChildProcess =>
  spawn(process.execPath, ['--disable-warning=ExperimentalWarning', FLOODER, how, socket, String(count)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });

interface Latency {
  readonly p50: number;
  readonly p95: number;
}

const ask = async (socket: string, count: number): Promise<Latency> => {
  const child = start('ask', socket, count);
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await new Promise((resolve) => child.once('close', resolve));
  const times = JSON.parse(text) as number[];
  const at = (part: number): number => times[Math.floor((times.length - 1) * part)] ?? Infinity;
  return { p50: at(0.5), p95: at(0.95) };
};

/** How tenants flood, and how many of them: see flooder.ts. */
export const FLOODS = {
  'requests in pipelines': ['pipeline', 1],
  'two tenants of those': ['pipeline', 2],
  'connections without a request': ['knock', 1],
  '10,000 connections at once': ['hold', 1],
  'answers that nobody reads': ['ignore', 1],
} as const;

/** Users that every Linux has, beside the one who asks. */
const FLOODERS = [
  ['daemon', 1],
  ['bin', 2],
] as const;

/** Of a tenant, and of root, without and with a flood of others. Needs root of this host. Units: milliseconds. */
export const floodCost = async (
  kind: keyof typeof FLOODS,
  count: number,
): Promise<{
  readonly alone: Latency;
  readonly flooded: Latency;
  readonly rootAlone: Latency;
  readonly rootFlooded: Latency;
}> => {
  const target = await new Target().open();
  try {
    const { client, user, root } = target;
    const socketOf = (uid: number): string => user.replace(/\d+\.sock$/, `${uid}.sock`);
    for (const name of ['games', ...FLOODERS.map(([each]) => each)])
      await client.access.grant({ principal: `user:${name}`, role: 'viewer', object: 'vm:web' });
    const [how, tenants] = FLOODS[kind];
    const other = socketOf(5);
    const [alone, rootAlone] = [await ask(other, count), await ask(root, count)];
    const floods = FLOODERS.slice(0, tenants).flatMap(([, uid]) => [
      start(how, socketOf(uid)),
      start(how, socketOf(uid)),
    ]);
    await sleep(1_500);
    const [flooded, rootFlooded] = [await ask(other, count), await ask(root, count)];
    for (const child of floods) child.kill('SIGKILL');
    return { alone, flooded, rootAlone, rootFlooded };
  } finally {
    await target.close();
  }
};
