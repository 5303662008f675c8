import type { Effect } from '../../base/host.ts';
import type { Holds, Repair, StepDef } from '../../base/step.ts';
import { labelOf, stampOf } from '../../net/pf.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { checkAnchor, flushAnchor, killStates, loadAnchor } from '../programs/pfctl.ts';
import { FILTERING, setSysctls } from '../programs/sysctl.ts';

/** Why pf does not filter for brig, and what helps. */
export const pfTrouble = ({ pf }: Seen): { readonly got: string; readonly mend: string } | undefined => {
  if (!pf) return undefined;
  if (!pf.enabled) return { got: 'pf is off', mend: 'sysrc pf_enable=YES && service pf start' };
  const { missing } = pf;
  return missing.length === 0
    ? undefined
    : {
        got: `the main ruleset lacks ${missing.join(', ')}`,
        mend: `add to /etc/pf.conf, then service pf reload: ${missing.join('; ')}`,
      };
};

/** The bridge shows pf what passes its members. Undo: nothing, for others may need it too. Source: if_bridge(4) */
export const filtering: StepDef<Record<string, never>, Seen> = {
  because: () => 'guests send from their own addresses only, and reach whom they may',
  apply: () => [run(setSysctls(Object.fromEntries(FILTERING.map((name) => [name, '1']))))],
  undo: () => [],
  holds: (_, seen) =>
    FILTERING.every((name) => seen.sysctls.get(name) === '1') && pfTrouble(seen) === undefined ? 'yes' : 'no',
  repair: (args, seen): Repair => {
    const trouble = pfTrouble(seen);
    return trouble ? { restart: `${trouble.got}: ${trouble.mend}` } : filtering.apply(args);
  },
  shared: () => 'firewall',
};

const load = (anchor: string, text: string): Effect[] => [
  run(checkAnchor(anchor, text)),
  run(loadAnchor(anchor, text)),
];

const flush = (anchor: string): Effect[] => [run(flushAnchor(anchor, 'rules')), run(flushAnchor(anchor, 'nat'))];

/** There, and as brig wrote it, as far as somebody looked. */
const holds = (anchor: string, text: string, { pf, focus }: Seen): Holds => {
  if (!pf?.anchors.has(anchor)) return 'no';
  const stamp = focus?.anchors?.get(anchor);
  return stamp === undefined || stamp === stampOf(text) ? 'yes' : 'partly';
};

export interface AnchorArgs {
  readonly anchor: string;
  readonly text: string;
  readonly because: string;
}

/** An anchor with all its rules. Undo: it is empty, and gone, and so are the connections that it let pass. Source: pfctl(8) */
export const anchor: StepDef<AnchorArgs, Seen> = {
  because: ({ because }) => because,
  apply: ({ anchor: name, text }) => load(name, text),
  undo: ({ anchor: name, text }) => {
    const label = labelOf(text);
    return [...flush(name), ...(label === undefined ? [] : [run(killStates(label))])];
  },
  holds: ({ anchor: name, text }, seen) => holds(name, text, seen),
  repair: (args) => anchor.apply(args),
  shared: ({ anchor: name }) => `anchor/${name}`,
};
