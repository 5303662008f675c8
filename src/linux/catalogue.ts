import { seed } from '../platform/seed.ts';
import { jailJoin } from './steps/attach.ts';
import { move } from './steps/move.ts';
import { fileGrow } from '../platform/grow.ts';
import { keepFiles, restoreFiles } from '../platform/snapshots.ts';
import { firmwareVars } from '../platform/vars.ts';
import type { Step, StepDef } from '../base/step.ts';
import type { Seen } from './observe.ts';
import { cgroup } from './steps/cgroup.ts';
import { diskDir, fileDisk, overlayFlatten, overlayGrow, runDir } from './steps/files.ts';
import { bridge, forward, uplink, vlan, vxlan } from './steps/bridge.ts';
import { network, nics, table } from './steps/firewall.ts';
import { link } from './steps/link.ts';
import { inside, netns, tap, veth, vethMember } from './steps/network.ts';
import { qemu } from './steps/process.ts';
import { sockets, tpmDir } from './steps/sockets.ts';

/** Every kind of step on Linux. */
export const catalogue = {
  'run-dir.create': runDir,
  'seed.make': seed,
  'disk-dir.create': diskDir,
  'disk.create': fileDisk,
  'disk.grow': fileGrow,
  'overlay.grow': overlayGrow,
  'overlay.flatten': overlayFlatten,
  'files.keep': keepFiles,
  'files.restore': restoreFiles,
  'vars.copy': firmwareVars,
  'tpm-dir.create': tpmDir,
  'cgroup.create': cgroup,
  'netns.create': netns,
  'vlan.create': vlan,
  'vxlan.create': vxlan,
  'bridge.create': bridge,
  'uplink.add': uplink,
  'uplink.move': move,
  'forward.enable': forward,
  'firewall.create': table,
  'firewall.network': network,
  'firewall.nics': nics,
  'link.address': link,
  'jail.join': jailJoin,
  'veth.create': veth,
  'veth.add': vethMember,
  'tap.create': tap,
  'netns.join': inside,
  'sockets.mount': sockets,
  'qemu.start': qemu,
} satisfies Record<string, StepDef<never, Seen>>;

type Kind = keyof typeof catalogue;
type ArgsOf<K extends Kind> = (typeof catalogue)[K] extends StepDef<infer Args, Seen> ? Args : never;

export const step = <K extends Kind>(kind: K, args: ArgsOf<K>): Step => ({ kind, args });
