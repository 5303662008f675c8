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

/** Of a tenant, and of root, without and with a flood of another tenant. Needs root of this host. Units: milliseconds. */
export const floodCost = async (
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
    await client.access.grant({ principal: 'user:games', role: 'viewer', object: 'vm:web' });
    const other = user.replace(/\d+\.sock$/, '5.sock');
    const [alone, rootAlone] = [await ask(other, count), await ask(root, count)];
    const floods = [start('flood', user), start('flood', user)];
    await sleep(1_500);
    const [flooded, rootFlooded] = [await ask(other, count), await ask(root, count)];
    for (const child of floods) child.kill('SIGKILL');
    return { alone, flooded, rootAlone, rootFlooded };
  } finally {
    await target.close();
  }
};
