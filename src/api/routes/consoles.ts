import { LIMITS } from '../../base/limits.ts';
import type { ApiOptions } from '../options.ts';
import { UPGRADE } from '../protocol.ts';
import type { Route } from '../route.ts';

/** Serial consoles. */
export const consoleRoutes = <Seen>({ consoles }: ApiOptions<Seen>): Route[] => [
  {
    ...{ method: 'GET', path: '/vms/{name}/console', summary: 'the serial console: history, then bytes both ways' },
    needs: { verb: 'view', on: 'vm' },
    run: {
      upgrade: {
        [UPGRADE]: async ({ params }, socket) => {
          const read = (chunk: Buffer): void => {
            if (socket.writableLength > LIMITS.consoleLagBytes) socket.destroy();
            else socket.write(chunk);
          };
          const console = await consoles.attach(params.name ?? '', read, () => socket.end());
          socket.on('close', () => console.close());
          socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${UPGRADE}\r\n\r\n`);
          socket.write(console.history);
          socket.on('data', (chunk: Buffer) => console.write(chunk));
        },
      },
    },
  },
];
