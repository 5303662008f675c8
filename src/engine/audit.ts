import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import type { Audit } from '../platform/audit.ts';
import type { Platform } from '../platform/platform.ts';
import type { Engine } from './engine.ts';

/**
 * Measures the sandbox of one running VM, or of all: whatever has a process and is nobody's business right now,
 * confined or not.
 * Errors: vm.unknown; vm.blocked when the one that was named does not run: there is nothing to measure.
 */
export const auditVms = async <Seen>(
  engine: Engine<Seen>,
  platform: Platform<Seen>,
  host: Host,
  name?: string,
): Promise<readonly Audit[]> => {
  const views = name === undefined ? await engine.list() : [await engine.show(name)];
  const running = views
    .filter((view) => view.pid !== undefined && !engine.operations.find(view.name))
    .map((view) => engine.vm(view.name));
  if (name !== undefined && running.length === 0)
    throw new BrigError('vm.blocked', `audit ${name}: expected a running VM, got ${views[0]?.state ?? 'none'}`, {
      retry: 'operator',
      hint: `brig start ${name}`,
    });
  return await platform.audit(host, running);
};
