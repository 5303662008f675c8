import type { Audit } from '../../platform/audit.ts';
import { nameOf, print, printJson, type CliCommand } from '../command.ts';
import { renderAudit } from '../render-audit.ts';

/** Everything of one VM; of all VMs what does not hold. */
export const auditCommand: CliCommand = {
  usage: 'brig audit [NAME] [--json]',
  summary: 'measure the sandbox of running VMs; exit 0 only if every property holds',
  options: {},
  operands: [0, 1],
  complete: ['vm'],
  examples: ['brig audit', 'brig audit web01', 'brig audit --json'],
  run: async (call) => {
    const one = call.operands.length > 0;
    const audits: readonly Audit[] = await call.client.audit(one ? nameOf(call) : undefined);
    if (call.json) printJson(audits);
    else if (audits.length === 0) print('no VM runs');
    else print(audits.map((audit) => renderAudit(audit, one)).join('\n'));
    if (audits.some((audit) => !audit.passes)) process.exitCode = 1;
  },
};
