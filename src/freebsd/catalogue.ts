import { seed } from '../platform/seed.ts';
import { fileGrow } from '../platform/grow.ts';
import { keepFiles, restoreFiles } from '../platform/snapshots.ts';
import { firmwareVars } from '../platform/vars.ts';
import type { Step, StepDef } from '../base/step.ts';
import type { Seen } from './observe.ts';
import { fileDisk, runDir, stateDir } from './steps/files.ts';
import { dev, filesystem, jail, limits, ruleset } from './steps/jail.ts';
import { bridge, forward, uplink, vlan, vxlan } from './steps/bridge.ts';
import { move } from './steps/move.ts';
import { jailEpair, jailJoin } from './steps/attach.ts';
import { anchor, filtering } from './steps/firewall.ts';
import { link } from './steps/link.ts';
import { epair, epairMember, inside, tap, tapMember } from './steps/network.ts';
import { bhyve, vmm } from './steps/process.ts';
import { tpm } from './steps/tpm.ts';
import { dataset, volume, volumeGrow, volumePromote, volumeRollback, volumeSnapshot } from './steps/storage.ts';

/** Every kind of step on FreeBSD. */
export const catalogue = {
  'run-dir.create': runDir,
  'seed.make': seed,
  'state-dir.create': stateDir,
  'disk.create': fileDisk,
  'vars.copy': firmwareVars,
  'dataset.create': dataset,
  'zvol.create': volume,
  'zvol.grow': volumeGrow,
  'zvol.promote': volumePromote,
  'disk.grow': fileGrow,
  'files.keep': keepFiles,
  'files.restore': restoreFiles,
  'zvol.snapshot': volumeSnapshot,
  'zvol.rollback': volumeRollback,
  'limits.add': limits,
  'devfs.load': ruleset,
  'vlan.create': vlan,
  'vxlan.create': vxlan,
  'bridge.create': bridge,
  'uplink.add': uplink,
  'uplink.move': move,
  'forward.enable': forward,
  'link.address': link,
  'firewall.create': filtering,
  'firewall.load': anchor,
  'epair.create': epair,
  'epair.add': epairMember,
  'tap.create': tap,
  'tap.add': tapMember,
  'jail.epair': jailEpair,
  'jail.join': jailJoin,
  'fs.mount': filesystem,
  'dev.mount': dev,
  'jail.create': jail,
  'vnet.join': inside,
  'tpm.start': tpm,
  'vmm.create': vmm,
  'bhyve.start': bhyve,
} satisfies Record<string, StepDef<never, Seen>>;

type Kind = keyof typeof catalogue;
type ArgsOf<K extends Kind> = (typeof catalogue)[K] extends StepDef<infer Args, Seen> ? Args : never;

export const step = <K extends Kind>(kind: K, args: ArgsOf<K>): Step => ({ kind, args });
