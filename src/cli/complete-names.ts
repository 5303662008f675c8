import type { Client } from '../api/client.ts';
import { renderAge } from '../base/units.ts';
import type { Live } from './command.ts';
import type { Candidate } from './complete.ts';
import { short } from './render.ts';

type Labelled = { readonly labels: Readonly<Record<string, string>> };

/** Each once. */
const labelsOf = (all: readonly Labelled[]): Candidate[] =>
  [...new Set(all.flatMap(({ labels }) => Object.entries(labels).map(([key, value]) => `${key}=${value}`)))].map(
    (word) => ({ word, about: 'label' }),
  );

const vms = async (client: Client): Promise<Candidate[]> =>
  (await client.list()).map(({ name, state }) => ({ word: name, about: state }));

const snapshots = async (client: Client, vm: string): Promise<Candidate[]> =>
  (await client.snapshots(vm)).map(({ name, createdMs }) => ({
    word: name,
    about: `made ${renderAge(Date.now() - createdMs)} ago`,
  }));

/** A VM, or once there is an @, its snapshots. */
const vmOrSnapshot = async (client: Client, _: readonly string[], typed: string): Promise<Candidate[]> => {
  const at = typed.indexOf('@');
  if (at < 0) return await vms(client);
  const vm = typed.slice(0, at);
  return (await snapshots(client, vm)).map(({ word, about }) => ({ word: `${vm}@${word}`, about }));
};

/** Names alone: what is wrong in a template is for who opens it. */
const templates = async (client: Client): Promise<Candidate[]> => {
  if (client.isElsewhere)
    return (await client.templates()).map(({ name, summary }) => ({ word: name, about: summary }));
  const { listTemplates } = await import('../io/templates.ts');
  const summary = (text: string): string => /^summary: (.*)$/m.exec(text)?.[1] ?? '';
  return [...(await listTemplates())].map(([word, { text }]) => ({ word, about: summary(text) }));
};

const images = async (client: Client): Promise<Candidate[]> =>
  (await client.images()).map(({ name, version, digest, os }) => ({
    word: name === undefined ? short(digest) : `${name}:${version}`,
    about: os ?? short(digest),
  }));

/** Of a file of one's own: no node is asked. */
const contexts = async (): Promise<Candidate[]> => {
  const { contextsPath, readContexts } = await import('./context-files.ts');
  const known = Object.entries((await readContexts(contextsPath()))?.contexts ?? {});
  return [{ word: 'local', about: 'this node' }, ...known.map(([word, { url }]) => ({ word, about: url }))];
};

/** Whoever a rule speaks of; others of the host nobody lists here. */
const principals = async (client: Client): Promise<Candidate[]> =>
  [...new Set((await client.access.grants()).map(({ principal }) => principal))].map((word) => ({
    word,
    about: 'has rules',
  }));

/** What a rule may be about. */
const objects = async (client: Client): Promise<Candidate[]> => {
  const [own, networks, labels] = await Promise.all([client.list(), client.networks(), client.list().then(labelsOf)]);
  return [
    { word: 'node', about: 'this node, and all that is on it' },
    ...own.map(({ name, state }) => ({ word: `vm:${name}`, about: state })),
    ...networks.map(({ name, kind }) => ({ word: `network:${name}`, about: kind })),
    ...labels.map(({ word }) => ({ word: `tag:${word}`, about: 'VMs with this label' })),
  ];
};

type Source = (client: Client, operands: readonly string[], typed: string) => Promise<Candidate[]>;

/** Who knows the names of each kind. What the caller may not see brigd leaves out. */
export const NAMES: Readonly<Record<Live, Source>> = {
  vm: vms,
  context: contexts,
  'access-key': async (client) => (await client.access.keys()).map(({ name, state }) => ({ word: name, about: state })),
  secret: async (client) =>
    (await client.secrets.list()).map(({ name, owner }) => ({ word: name, about: owner || 'of this node' })),
  principal: principals,
  object: objects,
  'vm@snapshot': vmOrSnapshot,
  snapshot: (client, [vm = '']) => snapshots(client, vm),
  network: async (client) => (await client.networks()).map(({ name, kind }) => ({ word: name, about: kind })),
  image: images,
  base: async (client) =>
    (await client.bases()).map(({ digest, release = '' }) => ({ word: short(digest), about: release })),
  key: async (client) => (await client.keys()).map(({ name, id }) => ({ word: name, about: id })),
  label: async (client) => labelsOf(await client.list()),
  'network-label': async (client) => labelsOf(await client.networks()),
  template: templates,
};
