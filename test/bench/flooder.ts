/** A tenant in a process of his own: floods a socket in some way until he is ended, or asks one after the other and tells how long each took. */
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
const LARGE = ['/v1/audit-log', '/v1/audit-log?follow=1', '/v1/events', '/v1/openapi.json', '/v1/vms'];

/** Requests without end, whose answers nobody waits for. */
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

/** Connections without end, on which nothing is asked. */
const knock = (): void => {
  const socket = connect({ path: socketPath }, () => socket.destroy());
  socket.on('error', () => undefined).on('close', (isError) => (isError ? setTimeout(knock, 5) : knock()));
};

/** A connection for as long as it is let; and the next. */
const hold = (): void => {
  const socket = connect({ path: socketPath });
  socket.on('error', () => undefined).on('close', () => void setTimeout(hold, 500));
};

/** Answers that nobody reads. */
const ignore = (path: string): void => {
  const socket = connect({ path: socketPath }, () => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`));
  socket
    .pause()
    .on('error', () => undefined)
    .on('close', () => void setTimeout(() => ignore(path), 500));
};

const times = (count: number, work: (i: number) => void): void => {
  for (let i = 0; i < count; i++) work(i);
};
const FLOODS: Readonly<Record<string, () => void>> = {
  pipeline: () => times(64, (i) => pipeline(PATHS[i % PATHS.length] ?? '')),
  knock: () => times(64, knock),
  hold: () => times(10_000, hold),
  ignore: () => times(250, (i) => ignore(LARGE[i % LARGE.length] ?? '')),
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

const flood = FLOODS[how];
if (flood) flood();
else {
  const tookMs: number[] = [];
  for (let i = -20; i < Number(count); i++) {
    const ms = await ask();
    if (i >= 0) tookMs.push(ms);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  agent.destroy();
  process.stdout.write(JSON.stringify(tookMs.sort((a, b) => a - b)));
}
