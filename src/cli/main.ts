import { Client } from '../api/client.ts';
import { BrigError, exitStatusOf, messageOf, toErrorBody } from '../base/errors.ts';
import { parseCall, print, printJson, type CliCommand } from './command.ts';
import { vmCommands } from './commands/vms.ts';
import { connectTo, takeGlobals } from './globals.ts';
import { renderError } from './render.ts';

/** EX_SOFTWARE and EX_IOERR of sysexits(3). */
const BUG = 70;
const NOT_WRITTEN = 74;

const version = async (): Promise<string> => {
  const { readFile } = await import('node:fs/promises');
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
};

const HELP = ['--help', '-h'];

/** Of a command, or of its verb where one is named. */
const printHelp = async (words: readonly string[]): Promise<void> => {
  const [{ COMMANDS, GROUPS }, { renderHelp }] = await Promise.all([import('./table.ts'), import('./help.ts')]);
  const [name = '', verb] = words.filter((word) => !word.startsWith('-'));
  const hasVerb = Object.hasOwn(COMMANDS[name]?.verbs ?? {}, verb ?? '');
  print(renderHelp(GROUPS, [...(name === '' ? [] : [name]), ...(hasVerb && verb !== undefined ? [verb] : [])]));
};

/** Those of VMs are what scripts call again and again: they wait for no other to be loaded. */
const commandOf = async (name: string): Promise<CliCommand> => {
  const own: Readonly<Record<string, CliCommand>> = vmCommands;
  if (Object.hasOwn(own, name)) return own[name] as CliCommand;
  const [{ COMMANDS }, { findCommand }] = await Promise.all([import('./table.ts'), import('./help.ts')]);
  return findCommand(COMMANDS, name);
};

const main = async (args: readonly string[]): Promise<void> => {
  if (args[0] === '__complete') {
    const [{ complete }, { COMMANDS }] = await Promise.all([import('./complete.ts'), import('./table.ts')]);
    return await complete(args.slice(1), COMMANDS);
  }
  const { given, rest } = takeGlobals(args);
  const [name, ...more] = rest;
  if (name === undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected a command, got none', {
      hint: 'brig --help lists them',
    });
  if (HELP.includes(name)) return await printHelp([]);
  if (name === '--version')
    return given.json ? printJson({ version: await version() }) : print(`brig ${await version()}`);
  const command = await commandOf(name);
  if (more.some((word) => HELP.includes(word))) return await printHelp(rest);
  const call = parseCall(command, [...(given.json ? ['--json'] : []), ...more]);
  const asksNobody = command.isLocal?.(call.operands) === true;
  const client = asksNobody ? new Client('/nowhere') : await connectTo(given);
  await command.run({ client, ...call });
};

/** One line and a hint; with --json the error's body on stdout too. */
const fail = (error: unknown): void => {
  if (process.argv.includes('--json')) printJson({ error: toErrorBody(error) });
  process.stderr.write(`brig: ${renderError(error)}\n`);
  process.exitCode = exitStatusOf(error);
};

let isOver = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  isOver = true;
  // A reader that went away (brig list | head) is no error; a disk that is full is one.
  if (error.code === 'EPIPE') process.exit();
  process.stderr.write(`brig: write the standard output: ${messageOf(error).split(', ')[0]}\n`);
  process.exit(NOT_WRITTEN);
});
// Nobody is left who could be told.
process.stderr.on('error', () => undefined);
process.once('exit', (status) => {
  // Nothing was left to wait for, and nobody answered: never a success.
  if (status !== 0 || isOver) return;
  process.stderr.write('brig: ended without an answer: this is a bug of brig\n');
  process.exitCode = BUG;
});
const args = process.argv.slice(2);
main(args)
  .catch(fail)
  .finally(() => {
    isOver = true;
    // brigd may still be asked for names that came too late.
    if (args[0] === '__complete') process.exit(0);
  });
