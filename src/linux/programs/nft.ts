import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

export const NFT = '/usr/sbin/nft';

/** One transaction. Source: nft(8) "-f" */
export const nft = (text: string): Command => command(NFT, ['-f', '-'], { stdin: text });

/** Names of all chains of the host. Source: libnftables-json(5) */
export const listChains = (): Command => command(NFT, ['-j', 'list', 'chains']);

/** Shape: `bridge from-7000`, of brig's own table. */
export const parseChains = (text: string): ReadonlySet<string> => {
  const { nftables = [] } = (text.trim() === '' ? {} : JSON.parse(text)) as {
    nftables?: { chain?: { family: string; table: string; name: string } }[];
  };
  return new Set(nftables.flatMap(({ chain }) => (chain?.table === 'brig' ? [`${chain.family} ${chain.name}`] : [])));
};

/** The rules of one: nft(8) 1.0 lists no two chains in one process. Shape: `bridge from-7000` */
export const showChain = (chain: string): Command => {
  const [family = '', name = ''] = chain.split(' ');
  return command(NFT, ['list', 'chain', family, 'brig', name]);
};

/** What brig marked the first rule of a chain with, and how many it has. Shape: `0123456789abcdef 12` */
export const parseStamp = (text: string): string | undefined => {
  const stamp = /comment "([0-9a-f]{16})"/.exec(text)?.[1];
  const rules = text.split('\n').filter((line) => line.startsWith('\t\t'));
  return stamp === undefined ? undefined : `${stamp} ${rules.length}`;
};
