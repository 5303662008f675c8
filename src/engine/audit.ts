import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import type { Audit } from '../platform/audit.ts';
import type { Platform } from '../platform/platform.ts';
import type { Engine } from './engine.ts';

/**
 * Measures the sandboxes of those of the named VMs that run: whatever has a process and is nobody's business right now,
 * confined or not.
 * Errors: vm.unknown; vm.blocked when `exactly` one was meant that does not run: there is nothing to measure.
 */
export const auditVms = async <Seen>(
  engine: Engine<Seen>,
  platform: Platform<Seen>,
  host: Host,
  names: readonly string[],
  exactly = false,
): Promise<readonly Audit[]> => {
  const views = exactly
    ? await Promise.all(names.map((name) => engine.show(name)))
    : await engine.views(names.map((name) => engine.row(name)));
  const running = views
    .filter((view) => view.pid !== undefined && !engine.operations.find(view.name))
    .map((view) => engine.vm(view.name));
  if (exactly && running.length === 0)
    throw new BrigError(
      'vm.blocked',
      `audit ${names.join(', ')}: expected a running VM, got ${views[0]?.state ?? 'none'}`,
      {
        retry: 'operator',
        hint: `brig start ${names[0] ?? ''}`,
      },
    );
  return await platform.audit(host, running);
};
