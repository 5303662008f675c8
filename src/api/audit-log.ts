import type { ServerResponse } from 'node:http';
import { isWanted, type AuditFilter, type AuditLog } from '../acl/audit-log.ts';
import { renderLine, type AuditEntry } from '../acl/chain.ts';
import { onClosed } from './answer.ts';

/** What somebody asks of the audit log. */
export interface AuditQuery extends AuditFilter {
  readonly after: number;
  readonly limit: number;
  readonly isFollowing: boolean;
}

/** A bell that is rung and waited for: rung before it is waited for, it is heard. */
class Bell {
  #isRung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#isRung = true;
    this.#wake?.();
  }

  async wait(): Promise<void> {
    if (!this.#isRung) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#isRung = false;
  }
}

/** What a sender and its reader share. */
interface Line {
  readonly response: ServerResponse;
  readonly drained: Bell;
  readonly isGone: () => boolean;
}

/** No faster than it is read. */
const send = async ({ response, drained, isGone }: Line, entry: AuditEntry): Promise<void> => {
  if (isGone() || response.write(`${renderLine(entry)}\n`)) return;
  while (!isGone() && response.writableNeedDrain) await drained.wait();
};

/** Entries from a number on, as lines; answers the number of the last one that was looked at. */
const sendAfter = async (
  line: Line,
  entries: AsyncIterable<AuditEntry>,
  isShown: (entry: AuditEntry) => boolean,
  limit: number,
): Promise<{ readonly last: number | undefined; readonly sent: number }> => {
  let last: number | undefined;
  let sent = 0;
  for await (const entry of entries) {
    if (line.isGone() || sent >= limit) break;
    last = entry.seq;
    if (!isShown(entry)) continue;
    await send(line, entry);
    sent++;
  }
  return { last, sent };
};

/**
 * Streams the audit log: what is there, and with `follow` what comes. A reader that is slow, or reads nothing, costs no
 * memory: what he has not read yet stays in the files.
 */
export const sendAuditLog = async (
  log: Pick<AuditLog, 'entries' | 'follow'>,
  query: AuditQuery,
  response: ServerResponse,
  isVisible: (entry: AuditEntry) => boolean = () => true,
): Promise<void> => {
  const [came, drained] = [new Bell(), new Bell()];
  let isGone = false;
  const stop = log.follow(() => came.ring());
  response.on('drain', () => drained.ring());
  onClosed(response, () => {
    isGone = true;
    came.ring();
    drained.ring();
  });
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  response.flushHeaders();
  const line: Line = { response, drained, isGone: () => isGone };
  const isShown = (entry: AuditEntry): boolean => isWanted(query, entry) && isVisible(entry);
  try {
    for (let { after, limit } = query; !line.isGone() && limit > 0; await came.wait()) {
      const { last = after, sent } = await sendAfter(line, log.entries(after), isShown, limit);
      after = last;
      limit -= sent;
      if (!query.isFollowing || limit <= 0) break;
    }
    response.end();
  } finally {
    stop();
  }
};
