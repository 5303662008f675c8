import type { EventRow } from '../store/store.ts';
import type { Engine } from './engine.ts';
import type { EventLog } from './events.ts';
import type { VmView } from './view.ts';

/** Why a VM is as it is. Shape is stable. */
export interface Explanation {
  readonly vm: VmView;
  /** What the last person or policy wanted. */
  readonly intent: string;
  /** Parts of a running VM that are not as brig made them. */
  readonly differences: readonly string[];
  /** What happened last, oldest first. */
  readonly events: readonly EventRow[];
}

/** Events that say what happened, without the steps of what went well. */
const TELLING = /^(vm\.|saga\.|step\.failed)/;

export const explain = async <Seen>(engine: Engine<Seen>, events: EventLog, name: string): Promise<Explanation> => {
  const vm = await engine.show(name);
  const recent = events.last(200, name).filter((event) => TELLING.test(event.kind));
  return {
    vm,
    intent: engine.row(name).intent,
    differences: await engine.differences(name),
    events: recent.slice(-10),
  };
};
