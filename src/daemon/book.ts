import { renderSyslog, type AuditLog } from '../acl/audit-log.ts';
import { AuditFile } from '../io/audit-file.ts';
import { Syslog } from '../io/syslog.ts';
import type { Layout } from '../platform/layout.ts';
import type { Config } from '../spec/config.ts';
import type { Store } from '../store/store.ts';

/** The audit log of this brigd, and what goes with it. */
export interface Book {
  readonly log: AuditLog;
  /** Remembers how far it has come; costs nothing when it has come no further. */
  anchor(): Promise<void>;
  close(): Promise<void>;
}

const toldOf = (rule: string) => ({
  ...{ who: 'brigd', from: 'brigd', verb: 'audit-log', object: 'node' },
  ...({ phase: 'told', decision: 'allow', rule } as const),
});

/** Errors: store.failed when its files cannot be read or written. */
export const openBook = async (
  config: Pick<Config, 'auditLog'>,
  { auditDir }: Layout,
  { anchor }: Store,
  now: () => number,
): Promise<Book> => {
  const log = await AuditFile.open({ dir: auditDir, now, anchors: anchor });
  const onDropped = (lines: number): void =>
    void log.append(toldOf(`${lines} lines to syslog were dropped`)).catch(() => 0);
  const syslog = config.auditLog.syslog ? new Syslog({ onDropped }) : undefined;
  const stop = syslog && log.follow((entry) => syslog.write(renderSyslog(entry)));
  return {
    log,
    anchor: () => log.anchor(),
    close: async () => {
      await log.close();
      stop?.();
      syslog?.close();
    },
  };
};
