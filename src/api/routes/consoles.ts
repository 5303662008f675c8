import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { LIMITS } from '../../base/limits.ts';
import { attachConsole, sendHistory } from '../console.ts';
import { onClosed } from '../answer.ts';
import type { ApiOptions } from '../options.ts';
import { UPGRADE } from '../protocol.ts';
import type { Call, Route } from '../route.ts';
import { UPGRADE_VNC } from '../upgrade.ts';
import { flag, whole } from './queries.ts';

const nameOf = ({ params }: Call): string => params.name ?? '';

/** Serial consoles and screens. */
export const consoleRoutes = <Seen>(o: ApiOptions<Seen>): Route[] => {
  const { consoles, access, screens, sessions } = o;
  const mayWrite = ({ who, params }: Call, by = who): boolean => access.canDoVm(by, 'console', params.name ?? '');
  /** Whoever may do less than when he came is let go; he may come again as what he is. */
  const watch = (call: Call, socket: Duplex): void => {
    const could = mayWrite(call);
    const still = (now: Call['who']): boolean => access.canSeeVm(now, nameOf(call)) && (!could || mayWrite(call, now));
    onClosed(
      socket,
      sessions.add(call.who, still, () => socket.destroy()),
    );
  };
  const screen = async (call: Call, socket: Duplex, head: Buffer): Promise<void> => {
    watch(call, socket);
    await screens.attach({ name: nameOf(call), who: call.who.id, request: call.request, socket, head });
  };
  return [
    {
      ...{ method: 'GET', path: '/vms/{name}/console', summary: 'the serial console: history, then bytes both ways' },
      ...{ needs: { verb: 'view', on: 'vm' } },
      query: z.strictObject({ steal: flag.optional(), view: flag.optional(), replay: whole.optional() }),
      run: {
        upgrade: {
          [UPGRADE]: async (call, socket, head) => {
            if (head.length > 0) socket.unshift(head);
            watch(call, socket);
            const asked = { name: nameOf(call), who: call.who.id, mayWrite: mayWrite(call), how: call.query };
            await attachConsole({ consoles, ...asked, socket });
          },
        },
      },
    },
    {
      ...{ method: 'GET', path: '/vms/{name}/console/history', summary: 'what is kept of a console, as it came' },
      ...{ needs: { verb: 'view', on: 'vm' }, query: z.strictObject({ bytes: whole.optional() }), cost: 50 },
      media: ['application/octet-stream'],
      run: {
        raw: (call) => {
          const { bytes = LIMITS.consoleHistoryBytes } = call.query as { bytes?: number };
          return sendHistory(consoles, nameOf(call), bytes, call.response);
        },
      },
    },
    {
      ...{
        method: 'PUT',
        path: '/vms/{name}/console/socket',
        summary: "a unix socket of the caller's own for a console",
      },
      ...{ needs: { verb: 'view', on: 'vm' }, answer: 'ConsoleSocket' },
      run: { json: async (call) => ({ path: await o.consoleSocket(call.who, nameOf(call)) }) },
    },
    {
      ...{ method: 'GET', path: '/vms/{name}/vnc', summary: 'the screen: VNC as bytes, or in a websocket' },
      ...{ needs: { verb: 'console', on: 'vm' }, run: { upgrade: { [UPGRADE_VNC]: screen, websocket: screen } } },
    },
  ];
};
