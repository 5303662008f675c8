import { BrigError } from '../../base/errors.ts';
import { escapeControls, parseBytes } from '../../base/units.ts';
import { Attached } from '../attached.ts';
import { nameOf, print, show, type Call, type CliCommand } from '../command.ts';
import { withRawTerminal } from '../terminal.ts';

const attach = async (call: Call): Promise<void> => {
  const name = nameOf(call);
  const { stdin, stdout, stderr } = process;
  const { steal, view } = call.values;
  const lineEnd = stdin.isTTY ? '\r\n' : '\n';
  const attached = new Attached({
    name,
    open: async (isBack) => {
      const how = { steal: steal === true && !isBack, view: view === true };
      const console = await call.client.console(name, how);
      if (stdin.isTTY && !isBack) {
        const mode = console.mode === 'read' ? ' to read' : '';
        stderr.write(`attached to ${name}${mode}; ~. detaches, ~? helps${lineEnd}`);
      }
      return console;
    },
    input: stdin,
    output: stdout,
    tell: (line) => void stderr.write(`${stdin.isTTY ? '\r\n' : ''}${line}${lineEnd}`),
    size: () => ({ rows: stdout.isTTY ? stdout.rows : 24, columns: stdout.isTTY ? stdout.columns : 80 }),
  });
  try {
    await withRawTerminal(() => attached.run());
  } finally {
    // However it ended: the other end of a pipe, or a terminal, keeps nobody here.
    stdin.destroy();
  }
};

/** `--history` alone is all that is kept; BYTES is the operand after NAME. */
const history = async (call: Call): Promise<void> => {
  const [name = '', size] = call.operands;
  const bytes = size === undefined ? undefined : parseBytes(size);
  if (size !== undefined && bytes === undefined)
    throw new BrigError('usage.invalid', `read arguments: expected a size such as 16K after NAME, got ${size}`, {
      hint: `usage: ${consoleCommand.usage}`,
    });
  const kept = await call.client.consoleHistory(name, bytes);
  if (call.values.raw === true) process.stdout.write(kept);
  else if (kept.length > 0) print(escapeControls(kept.toString('utf8').replaceAll('\r\n', '\n')));
};

const check = ({ operands, values, json }: Call): void => {
  const fail = (reason: string): never => {
    throw new BrigError('usage.invalid', `read arguments: ${reason}`, { hint: `usage: ${consoleCommand.usage}` });
  };
  const chosen = (['steal', 'view', 'history', 'socket'] as const).filter((name) => values[name] === true);
  if (chosen.length > 1) fail(`expected one of --steal, --view, --history and --socket, got ${chosen.length}`);
  if (values.history !== true && operands.length > 1) fail(`expected a size with --history only, got one`);
  if (values.history !== true && values.raw === true) fail('expected --raw with --history only, got it alone');
  // What a guest says is bytes.
  if (json && values.socket !== true) fail('expected --json with --socket only, got it without');
};

export const consoleCommand: CliCommand = {
  usage: 'brig console NAME [--steal | --view | --socket [--json]] | brig console NAME --history [BYTES] [--raw]',
  summary: 'attach to the serial console; ~. at the start of a line detaches, ~? helps',
  options: {
    steal: { type: 'boolean', about: 'take over from whoever writes; he goes on reading' },
    view: { type: 'boolean', about: 'only read' },
    history: { type: 'boolean', about: 'print what is kept, and do not attach' },
    raw: { type: 'boolean', about: 'history as it came, with what a guest may do to a terminal' },
    socket: { type: 'boolean', about: 'print the path of a unix socket of your own, for other tools' },
  },
  operands: [1, 2],
  complete: ['vm', 'text'],
  examples: ['brig console web01', 'brig console web01 --steal', 'brig console web01 --history 16K'],
  run: async (call) => {
    check(call);
    if (call.values.history === true) return await history(call);
    if (call.values.socket === true)
      return show(call, await call.client.consoleSocket(nameOf(call)), ({ path }) => path);
    await attach(call);
  },
};
