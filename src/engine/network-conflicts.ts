import { BrigError } from '../base/errors.ts';
import { overlapping, type NetworkSpec } from '../spec/network.ts';
import { unknownNetwork, type Places } from './place.ts';
import type { Request } from './request.ts';

export const HOLDER = 'network/';
/** Whose changes, events and claims they are. */
export const holderOf = (name: string): string => `${HOLDER}${name}`;

export const blocked = (verb: string, name: string, expected: string, got: string, hint?: string): BrigError =>
  new BrigError('network.blocked', `${verb} network ${name}: expected ${expected}, got ${got}`, {
    retry: 'operator',
    ...(hint === undefined ? {} : { hint }),
  });

const uplinksOf = (spec: NetworkSpec): readonly string[] => (spec.kind === 'bridge' ? spec.uplinks : []);

/** A segment that other hosts know by number. */
const segmentOf = (spec: NetworkSpec): string | undefined => {
  if (spec.kind === 'vlan') return `VLAN ${spec.tag} of ${spec.uplink ?? spec.trunk ?? ''}`;
  return spec.kind === 'vxlan' ? `VXLAN ${spec.vni} of ${spec.local} port ${spec.port}` : undefined;
};

/** What only one network can have; undefined: they do not meet. */
const takenBy = (a: NetworkSpec, b: NetworkSpec): string | undefined => {
  const uplink = uplinksOf(a).find((each) => uplinksOf(b).includes(each));
  if (uplink !== undefined) return `uplink ${uplink}`;
  if (a.interface !== undefined && a.interface === b.interface) return `interface ${a.interface}`;
  const segment = segmentOf(a);
  return segment !== undefined && segment === segmentOf(b) ? segment : undefined;
};

const UNSEEN = 'one that you may not view';

const refuseOther = (verb: string, spec: NetworkSpec, other: NetworkSpec, isKnown: boolean): void => {
  const overlap = overlapping(spec, other);
  if (overlap)
    throw blocked(
      ...([verb, spec.name, `subnets that no other network of group ${spec.group} has`] as const),
      `${overlap.own}, which overlaps ${isKnown ? `${overlap.other} of ${other.name}` : UNSEEN}`,
      'give it another group',
    );
  const taken = takenBy(spec, other);
  if (taken !== undefined)
    throw blocked(verb, spec.name, `${taken} for itself`, `that of ${isKnown ? `network ${other.name}` : UNSEEN}`);
};

/** What other networks say against a document. Errors: network.blocked, network.unknown; neither names one that its author may not view. */
export const refuseConflict = (verb: string, spec: NetworkSpec, request: Request, places: Places): void => {
  const { networks } = places;
  const sees = (network: string): boolean => request.sees?.(holderOf(network)) ?? true;
  for (const { spec: other } of networks.list())
    if (other.name !== spec.name) refuseOther(verb, spec, other, sees(other.name));
  if (spec.kind !== 'vlan' || spec.trunk === undefined) return;
  const trunk = networks.find(spec.trunk)?.spec;
  if (trunk?.kind === 'bridge' && trunk.aware) return;
  if (!trunk || !sees(trunk.name)) throw unknownNetwork(spec.trunk, places, sees);
  throw blocked(verb, spec.name, 'a trunk that is a bridge with aware: true', `${trunk.name}, of kind ${trunk.kind}`);
};
