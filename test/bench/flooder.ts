/** A tenant in a process of his own: floods a socket until he is ended, or asks one after the other and tells how long each took. */
import { Agent, request } from 'node:http';
import { connect } from 'node:net';

const [how = '', socketPath = '', count = '0'] = process.argv.slice(2);
const PATHS = [
  '/v1/vms',
  '/v1/events',
  '/v1/audit',
  '/v1/vms/flood/explain',
  '/v1/images',
  '/v1/networks',
  '/v1/none',
  '/v1/access/grants',
];

const pipeline = (path: string): void => {
  const socket = connect({ path: socketPath });
  const text = `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(50);
  const again = (): void => void setTimeout(() => pipeline(path), 5);
  socket.on('error', () => undefined).on('close', again);
  const fill = (): void => {
    while (socket.write(text));
  };
  socket
    .on('connect', fill)
    .on('drain', fill)
    .on('data', () => undefined);
};

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const ask = (): Promise<number> =>
  new Promise((resolve) => {
    const begunMs = performance.now();
    const sent = request({ socketPath, path: '/v1/vms', agent, headers: { host: 'x' } }, (response) => {
      response.on('end', () => resolve(performance.now() - begunMs)).resume();
    });
    sent.on('error', () => resolve(10_000)).end();
  });

if (how === 'flood') for (let i = 0; i < 64; i++) pipeline(PATHS[i % PATHS.length] ?? '');
else {
  const times: number[] = [];
  for (let i = -20; i < Number(count); i++) {
    const ms = await ask();
    if (i >= 0) times.push(ms);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  agent.destroy();
  process.stdout.write(JSON.stringify(times.sort((a, b) => a - b)));
}
