import { nicChains } from '../../net/nft.ts';
import { filteredOf } from '../networks.ts';
import { isApart } from '../../platform/networks.ts';
import { property, type Property } from '../../platform/audit.ts';
import { markOf, nicNames } from '../node.ts';
import type { Link } from '../programs/ip.ts';
import { countRows, parseInterfaces } from '../programs/proc.ts';
import { sameSet, type Expected } from './compare.ts';
import type { Facts } from './facts.ts';

const NETS = ['tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'raw', 'raw6', 'packet'];

/** What counts of an interface: kind, owner, bridge, isolation, mark. */
const render = ({ name, kind, user, master, isolated, alias, up }: Link): string =>
  [
    name,
    up ? 'up' : 'down',
    kind ?? 'hardware',
    ...(user === undefined ? [] : [`of ${user}`]),
    ...(master === undefined ? [] : [`on ${master}`]),
    ...(isolated ? ['isolated'] : []),
    ...(alias === undefined ? [] : [alias]),
  ].join(' ');

const insideOf = ({ vm }: Expected): string[] =>
  vm.place.nics.flatMap(({ unit }) => {
    const { tap, peer, bridge } = nicNames(unit);
    return [`${tap} up tun of ${vm.place.uid} on ${bridge}`, `${peer} up veth on ${bridge}`, `${bridge} up bridge`];
  });

const outsideOf = ({ vm }: Expected): string[] =>
  vm.place.nics.map((nic) => {
    const { unit, network } = nic;
    const joined = network.bridge ? ` on ${network.bridge.name}${isApart(nic) ? ' isolated' : ''}` : '';
    return `${nicNames(unit).host} up veth${joined} ${markOf(vm.spec.name)}`;
  });

const sockets = ({ proc, pid }: Facts): string | undefined => {
  if (!proc.has(`/proc/${pid}/net/tcp`)) return undefined;
  const open = NETS.flatMap((name) => {
    const rows = countRows(proc.get(`/proc/${pid}/net/${name}`) ?? '');
    return rows > 0 ? [`${rows} ${name}`] : [];
  });
  return open.join(', ') || 'none';
};

/** What may pass its NICs is what brig wrote. */
export const ruleProperties = ({ vm }: Expected, rules: ReadonlyMap<string, string>): Property[] => {
  const chains = nicChains(filteredOf(vm));
  const wanted = [...chains].map(([chain, stamp]) => `${chain}: ${stamp}`);
  if (wanted.length === 0) return [];
  return [
    sameSet(
      'network.rules',
      'sends from its own addresses, and is reached by whom it may be: stamp and number of rules of each chain',
      wanted,
      [...rules].flatMap(([chain, stamp]) => (chain.includes(' nat-') ? [] : [`${chain}: ${stamp}`])),
      'nft list chain',
    ),
  ];
};

export const networkProperties = (expected: Expected, facts: Facts): Property[] => {
  const names = expected.vm.place.nics.map(({ unit }) => nicNames(unit));
  const dev = facts.proc.get(`/proc/${facts.pid}/net/dev`);
  const outside = names.flatMap(({ host }) => facts.seen.links.get(host) ?? []);
  return [
    sameSet(
      'network.interfaces',
      'has no interface but those of its NICs and a loopback',
      ['lo', ...names.flatMap(({ tap, peer, bridge }) => [tap, peer, bridge])],
      dev === undefined ? undefined : parseInterfaces(dev),
      '/proc/PID/net/dev',
    ),
    sameSet(
      'network.links',
      'they are its own and joined by a bridge of its own; the loopback is down',
      ['lo down hardware', ...insideOf(expected)],
      facts.links?.map(render),
      'ip -n brig-NAME link',
    ),
    sameSet(
      'network.isolated',
      "the host's ends are on their networks' bridges, where they reach no other VM",
      outsideOf(expected),
      outside.map(render),
      'ip link',
    ),
    property('network.sockets', 'no socket of any network is in there', 'none', sockets(facts), '/proc/PID/net/*'),
  ];
};
