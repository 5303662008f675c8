import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/api/client.ts';

const nextEnd = async (client: Client, vm: string): Promise<number> => {
  let after = 0;
  for await (const { seq } of client.events({ vm })) after = seq;
  for await (const { kind } of client.events({ vm, after, follow: true }))
    if (kind === 'vm.ended') return performance.now();
  throw new Error(`brigd did not tell that ${vm} ended`);
};

/** From the kill of a VM that is started for it to the event that tells of it. Units: milliseconds. */
export const timeToNotice = async (client: Client, vm: string): Promise<number> => {
  await client.operate('start', vm);
  const { pid = 0 } = await client.show(vm);
  const ended = nextEnd(client, vm);
  await sleep(200);
  const startMs = performance.now();
  process.kill(pid, 'SIGKILL');
  const tookMs = (await ended) - startMs;
  await client.operate('stop', vm, {}, 0);
  return tookMs;
};
