import type { CliCommand } from './command.ts';
import { accessCommands } from './commands/access.ts';
import { auditLogCommand } from './commands/audit-log.ts';
import { auditCommand } from './commands/audit.ts';
import { baseCommand } from './commands/base.ts';
import { completionCommandOf } from './commands/completion.ts';
import { consoleCommand } from './commands/console.ts';
import { contextCommand } from './commands/context.ts';
import { createCommand } from './commands/create.ts';
import { helpCommandOf } from './commands/help.ts';
import { hostCommands } from './commands/host.ts';
import { imageCommand } from './commands/image.ts';
import { keyCommand, whoamiCommand } from './commands/key.ts';
import { loginCommand } from './commands/login.ts';
import { networkCommand } from './commands/network.ts';
import { secretCommand } from './commands/secret.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { templateCommand } from './commands/template.ts';
import { vmCommands } from './commands/vms.ts';
import { vncCommand } from './commands/vnc.ts';
import type { Groups } from './help.ts';

const { list, show, start, stop, restart, kill, destroy, resize, plan, explain, resolve, shutdown } = vmCommands;

/** Every command of brig(8), in the order in which help tells them. */
export const GROUPS: Groups = {
  'virtual machines': {
    ...{ create: createCommand, list, show, start, stop, restart, kill, console: consoleCommand, vnc: vncCommand },
    ...{ snapshot: snapshotCommand, resize, destroy },
  },
  'why, and whether': {
    ...{ plan, explain, resolve, events: hostCommands.events },
    ...{ audit: auditCommand, doctor: hostCommands.doctor },
  },
  'what they are made of': {
    ...{ network: networkCommand, image: imageCommand, template: templateCommand, base: baseCommand },
  },
  'who may do what': {
    ...{
      ...accessCommands,
      key: keyCommand,
      secret: secretCommand,
      whoami: whoamiCommand,
      'audit-log': auditLogCommand,
    },
  },
  'nodes elsewhere': { login: loginCommand, context: contextCommand },
  'this node': { shutdown },
  'brig itself': { help: helpCommandOf(() => GROUPS), completion: completionCommandOf(() => COMMANDS) },
};

export const COMMANDS = Object.assign({}, ...Object.values(GROUPS)) as Readonly<Record<string, CliCommand>>;
