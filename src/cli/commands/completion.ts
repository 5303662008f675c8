import { readFile } from 'node:fs/promises';
import { BrigError } from '../../base/errors.ts';
import { print, type CliCommand } from '../command.ts';
import type { Commands } from '../help.ts';

/** Shells that can be taught, and how: what help says. */
export const INSTALL: Readonly<Record<string, string>> = {
  bash: 'eval "$(brig completion bash)"                       in ~/.bashrc',
  zsh: 'eval "$(brig completion zsh)"                        in ~/.zshrc, after compinit',
  fish: 'brig completion fish | source                        in ~/.config/fish/config.fish',
  tcsh: 'brig completion tcsh > ~/.brig.tcsh                  once, and: source ~/.brig.tcsh in ~/.tcshrc',
  sh: "FreeBSD's sh(1) completes programs and files only, and nothing can teach it more",
};

const scriptOf = async (shell: string, commands: Commands): Promise<string> => {
  const text = await readFile(new URL(`../completions/brig.${shell}`, import.meta.url), 'utf8');
  return shell === 'tcsh' ? (await import('../tcsh.ts')).fillRules(text, commands) : text;
};

/** It reads the table that it is in. Errors: host.missing where a shell cannot be taught. */
export const completionCommandOf = (commands: () => Commands): CliCommand => ({
  usage: `brig completion ${Object.keys(INSTALL).join('|')}`,
  summary: 'a script that teaches a shell to complete commands, options and the names of what is there',
  options: {},
  operands: [1, 1],
  complete: [Object.keys(INSTALL)],
  isLocal: () => true,
  examples: ['brig completion bash', 'brig completion zsh', 'brig completion fish', 'brig completion tcsh'],
  notes: ['install:', ...Object.entries(INSTALL).map(([shell, how]) => `  ${shell.padEnd(5)}  ${how}`)],
  run: async (call) => {
    const [shell = ''] = call.operands;
    if (!Object.hasOwn(INSTALL, shell))
      throw new BrigError('usage.invalid', `read arguments: expected ${Object.keys(INSTALL).join(', ')}, got ${shell}`);
    if (shell === 'sh')
      throw new BrigError('host.missing', `complete in sh: ${INSTALL.sh}`, {
        hint: 'brig completion bash|zsh|fish|tcsh',
      });
    print(await scriptOf(shell, commands()));
  },
});
