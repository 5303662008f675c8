import type { Start } from './bhyve.ts';
import { find, normal, openIn, parentOf, put, READ, WRITE } from './files.ts';
import { openTap } from './network.ts';
import { addDevice, removeDevice } from './devices.ts';
import { addSegment } from './vmm.ts';
import { refuse, type PciDevice, type Refusal } from './settings.ts';

type Emulation = (start: Start, device: PciDevice) => Refusal | undefined;

const initError = (reason: string, ...before: readonly string[]): Refusal =>
  refuse(4, [...before, `Device emulation initialization error: ${reason}`].join('\n'));

/** unrecorded: what these say when a key is missing; bhyve ends with 4 for all of them. */
const missingKey = (key: string): Refusal => initError('No such file or directory', `model: ${key} is not set`);

const none: Emulation = () => undefined;

/** Opened for writing if possible; a device that may only be read becomes a read-only disk without a word (FACTS 1.2). */
const openDisk = ({ world, jail, process }: Start, path: string): Refusal | undefined => {
  const writable = openIn(world, jail, path, process, READ | WRITE);
  const node = typeof writable === 'string' ? openIn(world, jail, path, process, READ) : writable;
  if (typeof node === 'string')
    return initError(
      node,
      `bhyve: Could not open backing file: ${path}: ${node}`,
      `Could not open backing file: ${node}`,
    );
  process.opened.add(normal(`${jail.path}${path}`));
  if (node.kind === 'device') process.opened.add(`/dev/${node.device.name}`);
  return undefined;
};

const block: Emulation = (start, { keys }) => {
  const path = keys.get('path');
  return path === undefined ? missingKey('path') : openDisk(start, path);
};

const ahci: Emulation = (start, { keys }) => {
  for (const [key, path] of keys) {
    const refusal = /^port\.\d+\.path$/.test(key) ? openDisk(start, path) : undefined;
    if (refusal) return refusal;
  }
  return undefined;
};

const network: Emulation = ({ world, jail, process }, { keys }) => {
  const backend = keys.get('backend');
  if (backend === undefined) return missingKey('backend');
  const isTap = (keys.get('type') ?? 'tap') === 'tap' && /^tap\d+$/.test(backend);
  if (!isTap) return refuse(4, `model: unknown network backend ${backend}`);
  const node = openIn(world, jail, `/dev/${backend}`, process, READ | WRITE);
  const reason = typeof node === 'string' ? node : openTap(world, backend, process.pid);
  if (reason !== undefined) return initError(reason, `open of tap device /dev/${backend} failed`);
  process.opened.add(normal(`${jail.path}/dev/${backend}`));
  return undefined;
};

/** An assertion, not an answer (FACTS 1.2). unrecorded: its text */
const entropy: Emulation = ({ world, jail, process }) => {
  const node = openIn(world, jail, '/dev/random', process, READ);
  process.opened.add(normal(`${jail.path}/dev/random`));
  return typeof node === 'string'
    ? refuse(134, 'Assertion failed: (sc->vrsc_fd != -1), function pci_vtrnd_init, file pci_virtio_rnd.c.')
    : undefined;
};

const scsi: Emulation = () =>
  refuse(
    4,
    'Device emulation initialization error: No such file or directory\n' +
      'virtio-scsi: cannot open /dev/cam/ctl: No such file or directory',
  );

/** A socket that stays after the exit; the line on stdout lands on the console (FACTS S.25). */
const frameBuffer: Emulation = ({ world, jail, process, stdio, settings }, { keys }) => {
  const path = /^unix:(\/.*)$/.exec(keys.get('rfb') ?? keys.get('tcp') ?? '')?.[1];
  if (path === undefined) return refuse(4, 'model: fbuf is known on unix sockets only');
  const full = normal(`${jail.path}${path}`);
  // The group is that of the directory, as everywhere on BSD.
  const gid = find(world, parentOf(full))?.gid ?? 0;
  const reason = put(world, full, { kind: 'socket', mode: 0o755, uid: process.uid, gid });
  if (reason !== undefined) return initError(reason);
  addSegment(world, settings.name, 'framebuffer', jail.jid);
  stdio.out('fbuf frame buffer base: 0x1b6800000000 [sz 33554432]\n');
  return undefined;
};

/** Opening a name in /dev makes an nmdm where the module is loaded, whatever the ruleset hides (FACTS S.22). */
const openNmdm = ({ world, jail, process }: Start, path: string): boolean => {
  const name = /^\/dev\/(nmdm.+)A$/.exec(path)?.[1];
  if (name === undefined || !world.modules.has('nmdm')) return false;
  const ends = [`${name}A`, `${name}B`];
  if (ends.some((end) => world.devices.has(end))) return false;
  for (const end of ends) addDevice(world, { name: end, mode: 0o620, uid: process.uid, gid: 4, jid: jail.jid });
  process.onExit.unshift(() => {
    if (!jail.pinned) for (const end of ends) removeDevice(world, end);
  });
  return true;
};

const lpc: Emulation = (start) => {
  for (const port of ['com1', 'com2', 'com3', 'com4']) {
    const path = start.settings.values.get(`lpc.${port}.path`);
    if (path === undefined || path === 'stdio' || openNmdm(start, path)) continue;
    return initError('No such file or directory', `Unable to initialize backend '${path}' for LPC device ${port}`);
  }
  return undefined;
};

/** A directory, opened before capability mode; files in it are opened with bhyve's uid. */
const share: Emulation = ({ world, jail, process }, { keys }) => {
  const path = keys.get('path');
  if (path === undefined || !keys.has('sharename')) return missingKey('path or sharename');
  const node = openIn(world, jail, path, process, READ);
  if (typeof node === 'string' || node.kind !== 'directory')
    return initError(typeof node === 'string' ? node : 'Not a directory');
  process.opened.add(normal(`${jail.path}${path}`));
  return undefined;
};

/** Sockets that bhyve makes and never unlinks: an old one is in the way (FACTS 1.2). */
const ports: Emulation = ({ world, jail, process }, { keys }) => {
  for (const [key, path] of keys) {
    if (!/^port\.\d+\.path$/.test(key)) continue;
    const full = normal(`${jail.path}${path}`);
    const reason = find(world, full)
      ? 'Address already in use'
      : put(world, full, { kind: 'socket', mode: 0o755, uid: process.uid, gid: 0 });
    if (reason !== undefined) return initError(reason);
  }
  return undefined;
};

const opens =
  (keys: readonly string[]): Emulation =>
  ({ world, jail, process }, device) => {
    for (const path of keys.flatMap((key) => device.keys.get(key) ?? [])) {
      const node = openIn(world, jail, path, process, READ | WRITE);
      if (typeof node === 'string') return initError(node);
      process.opened.add(normal(`${jail.path}${path}`));
    }
    return undefined;
  };

/** Root of a jail that may, and wired memory (FACTS 1.7). unrecorded: the texts */
const passthru: Emulation = ({ world, jail, process, settings }, { keys }) => {
  if (settings.values.get('memory.wired') !== 'true') return initError('Invalid argument');
  const pci = openIn(world, jail, '/dev/pci', process, READ | WRITE);
  if (typeof pci === 'string') return initError(pci);
  process.opened.add(normal(`${jail.path}/dev/pci`));
  const may = process.uid === 0 && jail.parameters.get('allow.vmm_ppt') === true;
  return may && world.devices.has(keys.get('pptdev') ?? '') ? undefined : initError('Operation not permitted');
};

const EMULATIONS: Readonly<Record<string, Emulation>> = {
  hostbridge: none,
  lpc,
  'virtio-blk': block,
  nvme: block,
  ahci,
  'virtio-net': network,
  e1000: network,
  'virtio-rnd': entropy,
  'virtio-9p': share,
  'virtio-console': ports,
  'virtio-scsi': (start, device) =>
    find(start.world, device.keys.get('dev') ?? '/dev/cam/ctl') ? opens(['dev'])(start, device) : scsi(start, device),
  hda: opens(['play', 'rec']),
  passthru,
  fbuf: frameBuffer,
  xhci: none,
};

/** Makes one device of the guest, with all that it opens. */
export const emulateDevice: Emulation = (start, device) => {
  const kind = device.keys.get('device');
  if (kind === undefined) return missingKey(`pci.${device.address.join('.')}.device`);
  const emulation = EMULATIONS[kind];
  return emulation
    ? emulation(start, device)
    : initError('No such file or directory', `pci slot ${device.address.join(':')}: unknown device "${kind}"`);
};
