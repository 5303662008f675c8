import type { Duplex } from 'node:stream';
import { PREFIX, UPGRADE } from './protocol.ts';
import type { Transport } from './transport.ts';
import { upgrade } from './upgrade.ts';

/** How somebody attaches to a console. */
export interface ConsoleAsk {
  /** Takes over from whoever writes. */
  readonly steal?: boolean;
  /** Only looks. */
  readonly view?: boolean;
  readonly replayBytes?: number;
}

/** A console that somebody is attached to. */
export interface ConsoleStream {
  readonly stream: Duplex;
  readonly mode: 'read' | 'write';
  readonly writer?: string;
  /** So many bytes come first that were said before. */
  readonly historyBytes: number;
}

/** Errors: those of brigd; daemon.unreachable. */
export const openConsole = async (transport: Transport, name: string, how: ConsoleAsk): Promise<ConsoleStream> => {
  const query = new URLSearchParams({
    ...(how.steal ? { steal: '1' } : {}),
    ...(how.view ? { view: '1' } : {}),
    ...(how.replayBytes === undefined ? {} : { replay: String(how.replayBytes) }),
  });
  const path = `${PREFIX}/vms/${encodeURIComponent(name)}/console?${query.toString()}`;
  const { socket, headers } = await upgrade(transport, path, UPGRADE);
  const writer = headers['brig-console-writer'];
  return {
    stream: socket,
    mode: headers['brig-console-mode'] === 'read' ? 'read' : 'write',
    ...(typeof writer === 'string' ? { writer: decodeURIComponent(writer) } : {}),
    historyBytes: Number(headers['brig-console-history'] ?? 0),
  };
};
