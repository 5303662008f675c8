import { addDevice, removeDevice } from './devices.ts';
import type { Interface, World } from './world.ts';

/** Kinds that `ifconfig KIND create` can make. */
export type Cloner = 'tap' | 'epair' | 'bridge' | 'vlan' | 'vxlan';

const MAX_UNIT = 32_767;
const HOME_GROUPS: Readonly<Record<Interface['kind'], readonly string[]>> = {
  tap: ['tap'],
  epair: ['epair'],
  bridge: ['bridge'],
  vlan: ['vlan'],
  vxlan: ['vxlan'],
  lo: ['lo'],
  ether: [],
  pflog: ['pflog'],
};

/** Where it is not 1500; a vxlan leaves room for its own headers. */
const MTU: Readonly<Partial<Record<Interface['kind'], number>>> = { lo: 16_384, pflog: 33_152, vxlan: 1450 };

export const interfacesOf = (world: World, vnet: number): Interface[] =>
  world.interfaces.filter((each) => each.vnet === vnet);

export const findInterface = (world: World, vnet: number, name: string): Interface | undefined =>
  world.interfaces.find((each) => each.vnet === vnet && each.name === name);

/** The lowest free index: they are shared by all vnets. */
const takeIndex = (world: World): number => {
  const { indices } = world;
  while (indices.used.has(indices.lowest)) indices.lowest++;
  indices.used.add(indices.lowest);
  return indices.lowest;
};

const giveIndex = ({ indices }: World, { index }: Interface): void => {
  indices.used.delete(index);
  indices.lowest = Math.min(indices.lowest, index);
};

/** An address of FreeBSD's own range. */
const newEther = (world: World): string => {
  const bytes = [world.random(256), world.random(256)].map((byte) => byte.toString(16).padStart(2, '0'));
  return `58:9c:fc:10:${bytes.join(':')}`;
};

export const addInterface = (
  world: World,
  kind: Interface['kind'],
  name: string,
  unit: number,
  vnet: number,
): Interface => {
  const hwaddr = kind === 'lo' || kind === 'pflog' ? '' : kind === 'ether' ? '52:54:00:12:34:56' : newEther(world);
  const added: Interface = {
    name,
    kind,
    unit,
    origin: name,
    index: takeIndex(world),
    vnet,
    home: vnet,
    up: false,
    description: undefined,
    groups: [...HOME_GROUPS[kind]],
    ether: hwaddr,
    hwaddr,
    mtu: MTU[kind] ?? 1500,
    addresses: [],
    members: [],
    bridge: undefined,
    vlanfilter: false,
    tunnel: {},
    openedBy: undefined,
  };
  world.interfaces.push(added);
  return added;
};

/** Units of taps count over all vnets, those of the others per vnet. */
const isTaken = (world: World, kind: Cloner, unit: number, vnet: number): boolean =>
  world.interfaces.some(
    (each) =>
      (each.kind === kind && each.unit === unit && (kind === 'tap' || each.home === vnet)) ||
      (each.vnet === vnet && each.name === (kind === 'epair' ? `epair${unit}a` : `${kind}${unit}`)),
  );

/** Makes an interface; without a unit the first free one. Answers undefined when the unit is taken. */
export const createInterface = (
  world: World,
  kind: Cloner,
  unit: number | undefined,
  vnet: number,
): Interface | undefined => {
  let number = unit ?? 0;
  if (unit === undefined) while (number <= MAX_UNIT && isTaken(world, kind, number, vnet)) number++;
  if (number > MAX_UNIT || isTaken(world, kind, number, vnet)) return undefined;
  if (kind === 'epair') return createPair(world, number, vnet);
  const made = addInterface(world, kind, `${kind}${number}`, number, vnet);
  // No credential: a tap that ifconfig(8) made may be unhidden in any jail.
  if (kind === 'tap') addDevice(world, { name: made.origin, mode: 0o600, uid: 66, gid: 68 });
  return made;
};

const createPair = (world: World, unit: number, vnet: number): Interface => {
  const a = addInterface(world, 'epair', `epair${unit}a`, unit, vnet);
  const b = addInterface(world, 'epair', `epair${unit}b`, unit, vnet);
  a.peer = b;
  b.peer = a;
  return a;
};

export const joinBridge = (bridge: Interface, member: Interface): void => {
  bridge.members.unshift({ interface: member, private: false });
  member.bridge = bridge;
};

export const leaveBridge = (member: Interface): void => {
  const { bridge } = member;
  if (bridge) bridge.members = bridge.members.filter((each) => each.interface !== member);
  member.bridge = undefined;
};

/** Destroys without asking whether a tap is open: that is for whoever calls. */
export const destroyInterface = (world: World, gone: Interface): void => {
  for (const each of gone.peer ? [gone, gone.peer] : [gone]) {
    leaveBridge(each);
    for (const member of each.members) leaveBridge(member.interface);
    world.interfaces = world.interfaces.filter((other) => other !== each);
    world.routes = world.routes.filter((route) => route.interface !== each.name);
    giveIndex(world, each);
    if (each.kind === 'tap') removeDevice(world, each.origin);
  }
};

/** Into another vnet: last in its list, down, out of bridges, without addresses, groups of people forgotten. */
export const moveInterface = (world: World, moved: Interface, vnet: number): void => {
  leaveBridge(moved);
  moved.vnet = vnet;
  moved.up = false;
  moved.addresses = [];
  moved.groups = [...HOME_GROUPS[moved.kind]];
  world.interfaces = [...world.interfaces.filter((each) => each !== moved), moved];
};

/** A vnet dies: what others made goes home, what was cloned inside is destroyed. Source: FACTS 3.3. */
export const dissolveVnet = (world: World, jid: number): void => {
  for (const each of interfacesOf(world, jid))
    if (each.home === jid) destroyInterface(world, each);
    else moveInterface(world, each, each.home);
};

/** bhyve opens the tap: it goes up. Answers the errno text when somebody else has it. */
export const openTap = (world: World, origin: string, pid: number): string | undefined => {
  const tap = world.interfaces.find((each) => each.kind === 'tap' && each.origin === origin);
  if (!tap) return 'No such file or directory';
  if (tap.openedBy !== undefined) return 'Device busy';
  tap.openedBy = pid;
  tap.up = true;
  return undefined;
};

/** The last close takes a tap down; it stays in its bridge. Source: tap(4). */
export const closeTaps = (world: World, pid: number): void => {
  for (const tap of world.interfaces)
    if (tap.openedBy === pid) {
      tap.openedBy = undefined;
      tap.up = false;
      tap.addresses = [];
    }
};

/** Holds the host's network lock until the taps are closed: everything that needs it waits. */
export const wedgeHost = (world: World, taps: readonly Interface[], complete: () => void): void => {
  world.wedge = { taps, complete, waiters: new Set() };
  world.log.push(`wedged: destroying ${taps.map((tap) => tap.name).join(' ')}, still open`);
};

/** Somebody closed something: the one in the kernel goes on, then all who wait for it. */
export const releaseWedge = (world: World): void => {
  const { wedge } = world;
  if (!wedge || wedge.taps.some((tap) => tap.openedBy !== undefined)) return;
  world.wedge = undefined;
  wedge.complete();
  for (const resume of [...wedge.waiters]) resume();
};
