import { nameOf, print, printAsRead, printJson, toJson, type CliCommand } from '../command.ts';
import { renderEvent, renderFindings } from '../render.ts';
import { BrigError } from '../../base/errors.ts';

const events: CliCommand = {
  usage: 'brig events [NAME] [-f] [--after N] [--json]',
  summary: 'what happened, oldest first; -f goes on',
  options: {
    follow: { type: 'boolean', short: 'f', about: 'go on with what happens from now' },
    after: { type: 'string', about: 'only what came after the event of this number', value: 'N', is: 'text' },
  },
  operands: [0, 1],
  complete: ['vm'],
  examples: ['brig events', 'brig events web01 -f', 'brig events --after 120 --json'],
  run: async (call) => {
    const after = call.values.after;
    if (typeof after === 'string' && !/^\d{1,12}$/.test(after))
      throw new BrigError('usage.invalid', `read arguments: expected --after and a number, got ${after}`);
    const options = {
      ...(typeof after === 'string' ? { after: Number(after) } : {}),
      ...(call.operands.length === 0 ? {} : { vm: nameOf(call) }),
      follow: call.values.follow === true,
    };
    for await (const event of call.client.events(options))
      await printAsRead(call.json ? toJson(event) : renderEvent(event));
  },
};

const doctor: CliCommand = {
  usage: 'brig doctor [--json]',
  summary: 'what this host lacks, and the command that mends it',
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig doctor', 'brig doctor --json'],
  run: async ({ client, json }) => {
    const findings = await client.doctor();
    if (json) printJson(findings);
    else print(renderFindings(findings));
    if (findings.some((finding) => finding.level === 'problem')) process.exitCode = 69;
  },
};

export const hostCommands = { events, doctor };
