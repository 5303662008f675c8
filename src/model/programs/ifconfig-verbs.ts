import { findInterface, joinBridge, leaveBridge } from '../network.ts';
import { unknownArgv } from '../program.ts';
import type { Interface, World } from '../world.ts';

/** What is being configured, and where: jid of the vnet. */
export interface Target {
  readonly world: World;
  readonly vnet: number;
  readonly interface: Interface;
  /** Set by a rename: the new name goes to stdout at the end. */
  printsName: boolean;
}

/** Answers the message when it fails. `value` is the word after the verb. */
type Verb = (target: Target, value: string) => string | undefined;

interface Known {
  readonly takes: 0 | 1;
  readonly run: Verb;
}

const NAME_BYTES = 15;

const rename: Verb = (target, name) => {
  if (name.length > NAME_BYTES) return 'ioctl SIOCSIFNAME (set name): File name too long';
  if (findInterface(target.world, target.vnet, name)) return 'ioctl SIOCSIFNAME (set name): File exists';
  target.interface.name = name;
  target.printsName = true;
  return undefined;
};

const addMember: Verb = ({ world, vnet, interface: bridge }, name) => {
  const member = findInterface(world, vnet, name);
  if (!member)
    return `BRDGADD ${name}: No such file or directory (errno 2 category 7 (src sys/net/if_bridge.c:1352) p1 0 p2 0)`;
  if (member.bridge === bridge)
    return `BRDGADD ${name}: File exists (errno 17 category 7 (src sys/net/if_bridge.c:1389) p1 0 p2 0)`;
  if (member.bridge) return `BRDGADD ${name}: Device busy`;
  if (!['tap', 'epair', 'ether', 'vlan', 'vxlan'].includes(member.kind)) return `BRDGADD ${name}: Invalid argument`;
  // The first member gives the bridge its MTU; the others get the bridge's (FACTS 5.3).
  if (bridge.members.length === 0) bridge.mtu = member.mtu;
  else member.mtu = bridge.mtu;
  joinBridge(bridge, member);
  return undefined;
};

const deleteMember: Verb = ({ interface: bridge }, name) => {
  const member = bridge.members.find((each) => each.interface.name === name);
  if (!member)
    return `BRDGDEL ${name}: No such file or directory (errno 2 category 7 (src sys/net/if_bridge.c:1557) p1 0 p2 0)`;
  leaveBridge(member.interface);
  return undefined;
};

const setPrivate =
  (value: boolean): Verb =>
  ({ interface: bridge }, name) => {
    const member = bridge.members.find((each) => each.interface.name === name);
    // unrecorded: the words of BRDGGIFFLGS
    if (!member) return `BRDGGIFFLGS ${name}: No such file or directory`;
    member.private = value;
    return undefined;
  };

const bridgeOnly =
  (verb: Verb): Verb =>
  (target, value) => {
    if (target.interface.kind !== 'bridge')
      throw unknownArgv('ifconfig', [target.interface.name, value], 'not a bridge');
    return verb(target, value);
  };

const setGroup: Verb = ({ interface: each }, group) => {
  // unrecorded: the text; the rule is ifconfig(8)'s
  if (/\d$/.test(group)) return 'setifgroup: group names may not end in a digit';
  if (!each.groups.includes(group)) each.groups.push(group);
  return undefined;
};

const unsetGroup: Verb = ({ interface: each }, group) => {
  // unrecorded
  if (!each.groups.includes(group)) return ' SIOCDIFGROUP: No such file or directory';
  each.groups = each.groups.filter((one) => one !== group);
  return undefined;
};

const setUp =
  (up: boolean): Verb =>
  ({ interface: each }) => {
    each.up = up;
    return undefined;
  };

const setMtu: Verb = ({ interface: each }, text) => {
  const mtu = Number(text);
  // unrecorded
  if (!Number.isInteger(mtu) || mtu < 72 || mtu > 65_535) return 'ioctl SIOCSIFMTU (set mtu): Invalid argument';
  each.mtu = mtu;
  return undefined;
};

const setEther: Verb = ({ interface: each }, text) => {
  if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)) return `ether: bad value`;
  each.ether = text.toLowerCase();
  return undefined;
};

const set =
  (change: (each: Interface, value: string) => void): Verb =>
  (target, value) => {
    change(target.interface, value);
    return undefined;
  };

/** A vlan has the address of what it lies on. unrecorded: a parent that is not there */
const setParent: Verb = ({ world, vnet, interface: each }, name) => {
  const parent = findInterface(world, vnet, name);
  if (!parent) return 'SIOCSETVLAN: Device not configured';
  each.tunnel.parent = name;
  each.ether = parent.ether;
  return undefined;
};

/** unrecorded: a device that is not there */
const setDevice: Verb = ({ world, vnet }, name) =>
  findInterface(world, vnet, name) ? undefined : 'VXLAN_CMD_SET_MULTICAST_IF: Device not configured';

/** `addm X untagged 20`: of the member that was just added. */
const setVlans = (target: Target, name: string, words: readonly string[]): number => {
  const member = target.interface.members.find((each) => each.interface.name === name);
  let took = 0;
  for (; ['untagged', 'tagged'].includes(words[took] ?? '') && member; took += 2)
    member[words[took] as 'untagged' | 'tagged'] = words[took + 1] ?? '';
  return took;
};

const VERBS: Readonly<Record<string, Known>> = {
  description: { takes: 1, run: set((each, text) => void (each.description = text)) },
  descr: { takes: 1, run: set((each, text) => void (each.description = text)) },
  '-description': { takes: 0, run: set((each) => void (each.description = undefined)) },
  group: { takes: 1, run: setGroup },
  '-group': { takes: 1, run: unsetGroup },
  up: { takes: 0, run: setUp(true) },
  down: { takes: 0, run: setUp(false) },
  ether: { takes: 1, run: setEther },
  mtu: { takes: 1, run: setMtu },
  name: { takes: 1, run: rename },
  addm: { takes: 1, run: bridgeOnly(addMember) },
  deletem: { takes: 1, run: bridgeOnly(deleteMember) },
  private: { takes: 1, run: bridgeOnly(setPrivate(true)) },
  '-private': { takes: 1, run: bridgeOnly(setPrivate(false)) },
  vlanfilter: { takes: 0, run: bridgeOnly(set((each) => void (each.vlanfilter = true))) },
  '-vlanfilter': { takes: 0, run: bridgeOnly(set((each) => void (each.vlanfilter = false))) },
  vlan: { takes: 1, run: set((each, text) => void (each.tunnel.id = Number(text))) },
  vlandev: { takes: 1, run: setParent },
  vxlanid: { takes: 1, run: set((each, text) => void (each.tunnel.id = Number(text))) },
  vxlanlocal: { takes: 1, run: set((each, text) => void (each.tunnel.local = text)) },
  vxlanremote: { takes: 1, run: set((each, text) => void (each.tunnel.remote = text)) },
  vxlangroup: { takes: 1, run: set((each, text) => void (each.tunnel.group = text)) },
  vxlandev: { takes: 1, run: setDevice },
  vxlanlocalport: { takes: 1, run: set((each, text) => void (each.tunnel.port = text)) },
  vxlanremoteport: { takes: 1, run: set((each, text) => void (each.tunnel.port = text)) },
  // Recorded: a bridge that filters VLANs takes `untagged` in the member form only (FACTS S.18).
  untagged: { takes: 1, run: bridgeOnly(() => 'untagged: bad value') },
};

const dotted = (number: number): string => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.');

const inet4 = (text: string): string | undefined => {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(text);
  if (!match) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, prefix = 0] = match.slice(1).map(Number);
  const address = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  const mask = prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0;
  const broadcast = dotted((address | ~mask) >>> 0);
  return `inet ${dotted(address)} netmask 0x${mask.toString(16).padStart(8, '0')} broadcast ${broadcast}`;
};

const inet6 = (text: string): string | undefined => {
  const match = /^([0-9a-f:]+)\/(\d+)$/i.exec(text);
  return match ? `inet6 ${match[1] ?? ''} prefixlen ${match[2] ?? ''}` : undefined;
};

/** `inet A/P [alias|-alias]`: how many words it took. An address brings its interface up. */
const setAddress = (target: Target, words: readonly string[]): number | string => {
  const [family = '', text = '', modifier] = words;
  const each = target.interface;
  const address = family === 'inet' ? inet4(text) : inet6(text);
  if (address === undefined) throw unknownArgv('ifconfig', words, 'expected an address with a prefix length');
  if (modifier === '-alias') {
    // unrecorded
    if (!each.addresses.includes(address)) return `ioctl (SIOCDIFADDR): Can't assign requested address`;
    each.addresses = each.addresses.filter((one) => one !== address);
    return 3;
  }
  each.addresses = [...each.addresses.filter((one) => one !== address), address];
  each.up = true;
  return modifier === 'alias' ? 3 : 2;
};

/** `ifmaxaddr IF N`, `static IF MAC [vlan V]`: how many words it took. unrecorded: ifconfig(8) shows neither of them. */
const setLearning = ({ interface: bridge }: Target, words: readonly string[]): number | string => {
  const [verb, name = '', , vlan] = words;
  if (!bridge.members.some((each) => each.interface.name === name))
    return `${verb === 'static' ? 'BRDGSADDR' : 'BRDGSIFAMAX'} ${name}: No such file or directory`;
  return verb === 'static' && vlan === 'vlan' ? 5 : 3;
};

/** Those that take several words: how many they took, or the message. */
const LONG: Readonly<Record<string, (target: Target, words: readonly string[]) => number | string>> = {
  inet: setAddress,
  inet6: setAddress,
  static: setLearning,
  ifmaxaddr: setLearning,
};

/** How many words it took, or the message. */
const runVerb = (target: Target, words: readonly string[]): number | string => {
  const [word = '', value] = words;
  const long = LONG[word];
  if (long) return long(target, words);
  const known = VERBS[word];
  if (!known) throw unknownArgv('ifconfig', words, `unknown verb ${word}`);
  if (known.takes === 1 && value === undefined) throw unknownArgv('ifconfig', words, `${word} needs a value`);
  const problem = known.run(target, value ?? '');
  const took = 1 + known.takes;
  return problem ?? (word === 'addm' ? took + setVlans(target, value ?? '', words.slice(took)) : took);
};

/** Runs one verb after the other until one fails; what the earlier ones did stays. Answers the message. */
export const runVerbs = (target: Target, words: readonly string[]): string | undefined => {
  for (let at = 0; at < words.length;) {
    const took = runVerb(target, words.slice(at));
    if (typeof took === 'string') return took;
    at += took;
  }
  return undefined;
};
