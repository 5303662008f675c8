import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Anchor, NewEntry } from '../../src/acl/chain.ts';
import { AuditFile } from '../../src/io/audit-file.ts';
import { median } from './script.ts';

const ROUNDS = 50;
const EACH = 200;

const entry: NewEntry = {
  ...{ who: 'user:alice', from: 'unix', verb: 'POST /vms/{name}/start', object: 'vm:web01', phase: 'end' },
  ...{ decision: 'allow', rule: 'user:alice is operator of vm:web01', result: 'ok', saga: 'a'.repeat(36), of: 123_456 },
};

/** Units: microseconds of processor time for each. */
const cost = async (work: () => unknown): Promise<number> => {
  const before = process.cpuUsage();
  for (let i = 0; i < EACH; i++) await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / EACH;
};

/**
 * An entry of the audit log, alone and among others of the same turn of the loop, against as many bytes by
 * appendFileSync. They take turns. Units: microseconds of processor time for each, medians.
 */
export const auditLogCost = async (): Promise<{ alone: number; together: number; bare: number; verify: number }> => {
  const dir = mkdtempSync('/var/tmp/brig-audit-log-');
  let anchor: Anchor | undefined;
  const anchors = { get: () => anchor, put: (each: Anchor) => void (anchor = each) };
  const log = await AuditFile.open({ dir: join(dir, 'audit'), now: () => Date.now(), anchors });
  const line = `${'x'.repeat(420)}\n`;
  const [alone, together, bare]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < ROUNDS; i++) {
    alone.push(await cost(() => log.append(entry)));
    let last: Promise<number> | undefined;
    together.push(
      await cost(() => {
        last = log.append(entry);
      }),
    );
    const before = process.cpuUsage();
    await last;
    const { user, system } = process.cpuUsage(before);
    together[i] = (together[i] ?? 0) + (user + system) / EACH;
    bare.push(await cost(() => appendFileSync(join(dir, 'bare'), line)));
  }
  const before = process.cpuUsage();
  const report = await log.verify();
  const { user, system } = process.cpuUsage(before);
  if (!report.ok) throw new Error(report.why);
  await log.close();
  rmSync(dir, { recursive: true });
  const verify = (user + system) / report.entries;
  return { alone: median(alone), together: median(together), bare: median(bare), verify };
};
