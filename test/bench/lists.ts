/** An operator's own process that asks for all VMs again and again. */
import { Client } from '../../src/api/client.ts';

const [socket = '', rounds = '', vms = ''] = process.argv.slice(2);
const client = new Client(socket);
const times: number[] = [];
for (let i = 0; i < Number(rounds); i++) {
  const startMs = performance.now();
  const found = await client.list();
  times.push(performance.now() - startMs);
  const running = found.filter(({ state }) => state === 'running').length;
  if (running !== Number(vms)) throw new Error(`expected ${vms} VMs that run, got ${running}`);
}
process.send?.(times);
