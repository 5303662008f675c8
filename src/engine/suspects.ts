import { escapeControls } from '../base/units.ts';

/** A process of the host, as a listing shows it. */
export interface Running {
  readonly pid: number;
  readonly command: string;
}

/** Daemons that change interfaces and rules of their own accord. */
const MANAGERS =
  /(^|\/)(NetworkManager|systemd-networkd|dhclient|dhcpcd|devd|connmand|firewalld|dockerd|libvirtd|cbsd|vm-bhyve)\b/;

/** What brig itself started names the same interfaces. */
const OWN = /supervise\.sh|qemu-system|\bbwrap\b|^bhyve|swtpm/;

const MOST = 3;
const QUOTED = 80;

/** Names that a step's resource has on the host, whoever speaks of it. */
const wordsOf = (args: unknown): string[] => {
  const text = JSON.stringify(args);
  const names = [...text.matchAll(/"([a-z][a-zA-Z0-9_.\/-]*\d)"/g)].map(([, name = '']) => name);
  const units = [...text.matchAll(/"unit":(\d+)/g)].map(([, unit = '']) => unit);
  return [...names, ...units.flatMap((unit) => ['epair', 'tap', 'bridge', 'brigv'].map((kind) => `${kind}${unit}`))];
};

/** Who may be undoing what brig mends: processes that name it; else daemons that are known to. */
export const suspects = (processes: readonly Running[], args: unknown): string => {
  const words = wordsOf(args);
  const others = processes.filter(({ command }) => !OWN.test(command));
  const naming = others.filter(({ command }) => words.some((word) => command.includes(word)));
  const found = naming.length > 0 ? naming : others.filter(({ command }) => MANAGERS.test(command));
  if (found.length === 0) return 'no process that runs now names it';
  const told = found
    .slice(0, MOST)
    .map(({ pid, command }) => `pid ${pid} (${escapeControls(command).slice(0, QUOTED)})`);
  return `it may be ${told.join(', ')}`;
};
