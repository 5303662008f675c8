import type { EventRow, FindingRow } from '../store/rows.ts';
import type { Engine } from './engine.ts';
import type { EventLog } from './events.ts';
import type { Reconciler } from './reconcile.ts';
import type { Difference } from './repair.ts';
import type { VmView } from './view.ts';

/** Why a VM is as it is. Shape is stable. */
export interface Explanation {
  readonly vm: VmView;
  /** What the last person or policy wanted. */
  readonly intent: string;
  /** Parts of a running VM that are not as brig made them. */
  readonly differences: readonly string[];
  /** The same with what brig did or refused to do about it, and since when it knows. */
  readonly findings: readonly (Difference & Partial<Pick<FindingRow, 'vm' | 'sinceMs'>>)[];
  /** What happened last, oldest first. */
  readonly events: readonly EventRow[];
}

/** Events that say what happened, without the steps of what went well. */
const TELLING = /^(vm\.|saga\.|finding\.|step\.failed)/;

export const explain = async <Seen>(
  engine: Engine<Seen>,
  reconciler: Reconciler<Seen>,
  events: EventLog,
  name: string,
): Promise<Explanation> => {
  const vm = await engine.show(name);
  // Another VM may have had the name before.
  const recent = events.last(200, name).filter(({ kind, atMs }) => TELLING.test(kind) && atMs >= vm.createdMs);
  const known = reconciler.findings(name);
  const found = (await engine.examine(name)).map((each) => ({ ...each, ...known.find(({ key }) => key === each.key) }));
  const strays = known.filter(({ step }) => step === 'stray');
  return {
    vm,
    intent: engine.row(name).intent,
    differences: found.map(({ key }) => key),
    findings: [...found, ...strays.filter(({ key }) => !found.some((each) => each.key === key))],
    events: recent.slice(-10),
  };
};
