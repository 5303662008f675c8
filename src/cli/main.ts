import { Client } from '../api/client.ts';
import { BrigError, exitStatusOf, messageOf, toErrorBody } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';
import { parseCall, print, type CliCommand } from './command.ts';
import { auditCommand } from './commands/audit.ts';
import { baseCommand } from './commands/base.ts';
import { consoleCommand } from './commands/console.ts';
import { createCommand } from './commands/create.ts';
import { imageCommand } from './commands/image.ts';
import { networkCommand } from './commands/network.ts';
import { secretCommand } from './commands/secret.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { templateCommand } from './commands/template.ts';
import { hostCommands } from './commands/host.ts';
import { vmCommands } from './commands/vms.ts';
import { nearest } from '../engine/nearest.ts';

const COMMANDS: Readonly<Record<string, CliCommand>> = {
  create: createCommand,
  ...vmCommands,
  console: consoleCommand,
  audit: auditCommand,
  ...hostCommands,
  base: baseCommand,
  image: imageCommand,
  template: templateCommand,
  snapshot: snapshotCommand,
  network: networkCommand,
  secret: secretCommand,
};

/** EX_SOFTWARE of sysexits(3). */
const BUG = 70;

const SOCKET = '/var/run/brig/brigd.sock';

const help = (): string => {
  const lines = Object.entries(COMMANDS).map(([name, command]) => `  ${name.padEnd(8)}  ${command.summary}`);
  return [
    'usage: brig [--socket PATH] [--json] COMMAND ...',
    '',
    ...lines,
    '',
    'brig COMMAND --help says more; so does brig(8).',
  ].join('\n');
};

const findCommand = (name: string): CliCommand => {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) return command;
  const near = nearest(name, Object.keys(COMMANDS));
  throw new BrigError('usage.invalid', `read arguments: no command ${escapeControls(name)}`, {
    hint: near === undefined ? 'brig --help lists them' : `did you mean brig ${near}?`,
  });
};

/** --json may stand before the command too. */
const moveJson = (args: string[]): string[] => (args[0] === '--json' ? [...args.slice(1), '--json'] : args);

/** --socket comes before the command; otherwise $BRIG_SOCKET, otherwise brigd's own place. */
const takeSocket = (args: string[]): string => {
  if (args[0] !== '--socket') return process.env.BRIG_SOCKET ?? SOCKET;
  const path = args[1];
  if (path === undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected a path after --socket, got nothing');
  args.splice(0, 2);
  return path;
};

const main = async (args: string[]): Promise<void> => {
  const socket = takeSocket(args);
  const [name, ...rest] = moveJson(args);
  if (name === undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected a command, got none', {
      hint: 'brig --help lists them',
    });
  if (name === '--help' || name === '-h' || name === 'help') return print(help());
  const command = findCommand(name);
  if (rest.includes('--help') || rest.includes('-h')) return print(`usage: ${command.usage}\n${command.summary}`);
  await command.run({ client: new Client(socket), ...parseCall(command, rest) });
};

/** One line and a hint; with --json the error's body on stdout too. */
const fail = (error: unknown): void => {
  if (process.argv.includes('--json')) print(JSON.stringify({ error: toErrorBody(error) }, null, 2));
  const hint = error instanceof BrigError && error.hint !== undefined ? ` (${error.hint})` : '';
  process.stderr.write(`brig: ${messageOf(error)}${hint}\n`);
  process.exitCode = exitStatusOf(error);
};

// A reader that went away (brig list | head) is no error.
process.stdout.on('error', () => process.exit(0));
let isOver = false;
process.once('exit', (status) => {
  // Nothing was left to wait for, and nobody answered: never a success.
  if (status !== 0 || isOver) return;
  process.stderr.write('brig: ended without an answer: this is a bug of brig\n');
  process.exitCode = BUG;
});
main(process.argv.slice(2))
  .catch(fail)
  .finally(() => (isOver = true));
