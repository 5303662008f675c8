import { SOCKETS, SWTPM } from '../devices.ts';

/** Where swtpm keeps its state, as it sees it. */
const STATE = '/disk/tpm';

/**
 * A TPM 2.0 on a unix socket that waits for bhyve again after each reset of the guest.
 * Source: swtpm(8); bhyve connects once, before capability mode (FACTS 1.2).
 */
export const tpmCommand = (): readonly string[] => [
  SWTPM,
  'socket',
  '--tpm2',
  '--tpmstate',
  `dir=${STATE}`,
  '--server',
  `type=unixio,path=${SOCKETS.tpm}`,
  '--flags',
  'not-need-init,startup-clear',
];
