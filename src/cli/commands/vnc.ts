import type { Duplex } from 'node:stream';
import { tie } from '../../api/tie.ts';
import { BrigError } from '../../base/errors.ts';
import { parseDurationMs } from '../../base/units.ts';
import { listenAt, listenLoopback, newToken, type Listening } from '../../io/listen.ts';
import { nameOf, show, type Call, type CliCommand } from '../command.ts';
import { onSignals } from '../terminal.ts';

const EXPIRE = '60s';

const expiryOf = ({ values: { expire = EXPIRE } }: Call): number => {
  const ms = parseDurationMs(String(expire));
  if (ms !== undefined && ms > 0) return ms;
  throw new BrigError('usage.invalid', `read arguments: expected --expire like 60s or 5m, got ${String(expire)}`);
};

/** Where one client comes in, and what he is told to connect to. */
type Door = (onClient: (client: Duplex) => void) => Promise<{ readonly listening: Listening; readonly at: string }>;

const doorOf = ({ values: { web, socket } }: Call): Door => {
  if (typeof socket === 'string')
    return async (onClient) => ({ listening: await listenAt(socket, undefined, onClient), at: socket });
  if (web !== true)
    return async (onClient) => {
      const listening = await listenLoopback(onClient);
      return { listening, at: `127.0.0.1:${listening.port}` };
    };
  return async (onClient) => {
    // Loaded only when asked for: brig list starts without it.
    const { webDoor } = await import('../../api/websocket.ts');
    const token = newToken();
    const listening = await listenLoopback(webDoor(`/${token}`, onClient));
    return { listening, at: `ws://127.0.0.1:${listening.port}/${token}` };
  };
};

/** The first client; nobody else gets in after him. Errors: host.timeout when nobody comes; the screen's end. */
const firstClient = (call: Call, screen: Duplex): Promise<{ client: Duplex; listening: Listening | undefined }> =>
  new Promise((resolve, reject) => {
    const name = nameOf(call);
    let listening: Listening | undefined;
    let isOver = false;
    // A socket is a file: it goes with whoever made it.
    const stop = onSignals(() => listening?.end());
    const end = (work: () => void): void => {
      isOver = true;
      clearTimeout(timer);
      stop();
      listening?.close();
      work();
    };
    const timer = setTimeout(
      () => end(() => reject(new BrigError('host.timeout', `vnc ${name}: nobody came in time`))),
      expiryOf(call),
    );
    screen.once('close', () => end(() => reject(new BrigError('vm.blocked', `vnc ${name}: its screen went away`))));
    doorOf(call)((client) => {
      client.on('error', () => client.destroy());
      if (isOver) client.destroy();
      else end(() => resolve({ client, listening }));
    }).then(
      (door) => {
        listening = door.listening;
        if (isOver) return listening.close();
        show(call, { at: door.at }, ({ at }) => at);
      },
      (error: unknown) => end(() => reject(error instanceof Error ? error : new Error(String(error)))),
    );
  });

export const vncCommand: CliCommand = {
  usage: 'brig vnc NAME [--web | --socket PATH] [--expire 60s] [--json]',
  summary: "a VM's screen for one viewer, on a port of this machine that is gone after it; --web for noVNC",
  options: {
    web: { type: 'boolean', about: 'a websocket for noVNC, with a word that nobody can guess' },
    socket: {
      type: 'string',
      about: 'a unix socket that is yours alone, instead of a port',
      value: 'PATH',
      is: 'file',
    },
    expire: { type: 'string', about: 'how long a viewer is waited for: 60s, 5m', value: 'DURATION', is: 'text' },
  },
  operands: [1, 1],
  complete: ['vm'],
  examples: ['brig vnc win11', 'brig vnc win11 --web', 'brig vnc win11 --socket /home/alice/win11.vnc'],
  run: async (call) => {
    if (call.values.web === true && call.values.socket !== undefined)
      throw new BrigError('usage.invalid', 'read arguments: expected --web or --socket, got both');
    expiryOf(call);
    const screen = await call.client.vnc(nameOf(call));
    screen.on('error', () => screen.destroy());
    try {
      const { client, listening } = await firstClient(call, screen);
      tie(client, screen);
      await new Promise((resolve) => client.once('close', resolve));
      // Who asked for something else may still be there.
      listening?.end();
    } finally {
      screen.destroy();
    }
  },
};
