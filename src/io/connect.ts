import { connect } from 'node:net';
import { LIMITS } from '../base/limits.ts';

/** Whether a TCP port answers: connected to once, and let go at once. */
export const connects = (address: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: LIMITS.connectTimeoutMs });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.on('error', () => end(false));
  });
