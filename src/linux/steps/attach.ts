import type { StepDef } from '../../base/step.ts';
import { run } from '../../platform/command.ts';
import { jailMark, nicNames } from '../node.ts';
import type { Seen } from '../observe.ts';
import { ip, ipBatch, NO_LINK } from '../programs/ip.ts';
import { mtuLines, ownsLink } from './network.ts';

export interface JailJoinArgs {
  readonly jail: string;
  readonly unit: number;
  readonly mac: string;
  readonly mtu?: number;
  /** Shape: `10.77.0.5/24` */
  readonly addresses: readonly string[];
  /** Default routes; none: the namespace's own stay. */
  readonly gateways: readonly string[];
}

/**
 * A veth pair whose other end is in a network namespace of somebody else's, with its addresses there.
 * Undo:  deleting either end removes both; the kernel does so when the namespace goes. Source: veth(4)
 */
export const jailJoin: StepDef<JailJoinArgs, Seen> = {
  because: ({ jail, addresses }) =>
    `jail ${jail} has ${addresses.join(', ') || 'an interface'} in its own network stack`,
  apply: ({ jail, unit, mac, mtu, addresses, gateways }) => {
    const { host, peer } = nicNames(unit);
    return [
      run(
        ipBatch([
          `link add name ${host} type veth peer name ${peer} address ${mac} netns ${jail}`,
          `link set dev ${host} alias ${jailMark(jail)}`,
          `link set dev ${host} addrgenmode none`,
          ...mtuLines(mtu, host),
        ]),
      ),
      run(
        ipBatch(
          [
            ...mtuLines(mtu, peer),
            ...addresses.map((each) => `address add ${each} dev ${peer}${each.includes(':') ? ' nodad' : ''}`),
            `link set dev ${peer} up`,
            ...gateways.map((gateway) => `route replace default via ${gateway} dev ${peer}`),
          ],
          jail,
        ),
      ),
    ];
  },
  undo: ({ unit }) => [run(ip(['link', 'delete', 'dev', nicNames(unit).host]), { tolerate: [NO_LINK] })],
  holds: ({ jail, unit }, seen) => {
    const owned = ownsLink(seen.links.get(nicNames(unit).host), jailMark(jail), 'veth');
    return owned === 'yes' && !seen.spaces.has(jail) ? 'partly' : owned;
  },
  repair: (args, seen) => {
    const { host } = nicNames(args.unit);
    return seen.links.has(host)
      ? { restart: `${host} has lost the mark ${jailMark(args.jail)}` }
      : jailJoin.apply(args);
  },
};
