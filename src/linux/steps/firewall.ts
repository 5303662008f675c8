import type { Holds, Repair, StepDef } from '../../base/step.ts';
import {
  baseText,
  networkChains,
  networkTexts,
  nicChains,
  nicsTexts,
  noNetworkTexts,
  noNicsTexts,
  noTableText,
  type NicPart,
} from '../../net/nft.ts';
import type { NetworkRules } from '../../net/rules.ts';
import { run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { nft } from '../programs/nft.ts';

/** What all others hang themselves on: one table in each of two families. */
const BASE = ['bridge ingress', 'bridge forward', 'inet ingress', 'inet forward', 'inet inward', 'inet outward'];

/** A table of its own: nobody else's rules are touched. Undo: it is deleted with all that is in it. Source: nft(8) */
export const table: StepDef<Record<string, never>, Seen> = {
  because: () => 'guests send from their own addresses only, and reach whom they may',
  apply: () => [run(nft(baseText()))],
  undo: () => [run(nft(noTableText()))],
  holds: (_, { chains }) => {
    const there = BASE.filter((chain) => chains.has(chain));
    return there.length === BASE.length ? 'yes' : there.length > 0 ? 'partly' : 'no';
  },
  repair: () => table.apply({}),
  shared: () => 'firewall',
};

/** All of these are there, and say what they said when brig wrote them. */
const holds = (
  wanted: ReadonlyMap<string, string>,
  chains: Seen['chains'],
  rules?: ReadonlyMap<string, string>,
): Holds => {
  const there = [...wanted.keys()].filter((chain) => chains.has(chain));
  if (there.length === 0) return wanted.size === 0 ? 'yes' : 'no';
  const isAsWritten = !rules || [...wanted].every(([chain, stamp]) => rules.get(chain) === stamp);
  return there.length === wanted.size && isAsWritten ? 'yes' : 'partly';
};

export interface NicsArgs {
  readonly vm: string;
  readonly nics: readonly NicPart[];
}

/** What may pass the NICs of a VM. */
export const nics: StepDef<NicsArgs, Seen> = {
  because: ({ vm }) =>
    `${vm} sends from its own addresses only, and is reached by whom its document and its network say`,
  apply: ({ nics: parts }) => nicsTexts(parts).map((text) => run(nft(text))),
  undo: ({ nics: parts }) => noNicsTexts(parts).map((text) => run(nft(text))),
  holds: ({ nics: parts }, seen) => holds(nicChains(parts), seen.chains, seen.focus?.rules),
  repair: (args): Repair => nics.apply(args),
};

export interface NetworkArgs {
  readonly rules: NetworkRules;
}

/** What the host as a network's router does to packets. */
export const network: StepDef<NetworkArgs, Seen> = {
  because: ({ rules }) => `what leaves network ${rules.network} has an address of the host`,
  apply: ({ rules }) => networkTexts(rules).map((text) => run(nft(text))),
  undo: ({ rules }) => noNetworkTexts(rules).map((text) => run(nft(text))),
  holds: ({ rules }, { chains, focus }) => {
    const wanted = networkChains(rules);
    // A closer look at a VM of another network tells nothing of this one.
    const isLookedAt = [...wanted.keys()].some((chain) => focus?.looked?.has(chain));
    return holds(wanted, chains, isLookedAt ? focus?.rules : undefined);
  },
  repair: (args): Repair => network.apply(args),
  shared: ({ rules }) => `firewall/${rules.network}`,
};
