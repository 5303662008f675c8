import { parentDataset } from '../storage.ts';
import type { Dataset, World } from '../world.ts';

/** Properties that are nobody's to inherit. */
const OWN = new Set(['volsize', 'volmode', 'canmount']);

/** A user property comes from the nearest dataset above that has it; a snapshot has its dataset's. */
const inherited = (world: World, name: string | undefined, property: string): string | undefined => {
  for (let at = name; at !== undefined; at = parentDataset(at)) {
    const value = world.datasets.get(at)?.properties.get(property);
    if (value !== undefined) return value;
  }
  return undefined;
};

/** unrecorded beyond their presence: how much a dataset uses */
const usedBytes = (dataset: Dataset): number =>
  dataset.type === 'filesystem' ? 25_600 : dataset.type === 'snapshot' ? 0 : 1024;

/** A snapshot of a file system has no size. */
const volumeBytes = (world: World, dataset: Dataset): string => {
  const parent = dataset.type === 'snapshot' ? world.datasets.get(parentDataset(dataset.name) ?? '') : dataset;
  return parent?.type === 'volume' ? String(dataset.volumeBytes) : '-';
};

const ofVolume = (dataset: Dataset, value: string): string => (dataset.type === 'volume' ? value : '-');
const ofFilesystem = (dataset: Dataset, value: string): string => (dataset.type === 'filesystem' ? value : '-');

const PROPERTIES: Readonly<Record<string, (dataset: Dataset, world: World) => string>> = {
  name: (dataset) => dataset.name,
  type: (dataset) => dataset.type,
  origin: (dataset) => dataset.origin ?? '-',
  used: (dataset) => String(usedBytes(dataset)),
  creation: (dataset) => String(Math.floor(dataset.createdMs / 1000)),
  volsize: (dataset, world) => volumeBytes(world, dataset),
  volmode: (dataset) => ofVolume(dataset, dataset.properties.get('volmode') ?? 'default'),
  canmount: (dataset) => ofFilesystem(dataset, dataset.properties.get('canmount') ?? 'on'),
  userrefs: (dataset) => (dataset.type === 'snapshot' ? String(dataset.holds.size) : '-'),
  readonly: (dataset) => dataset.properties.get('readonly') ?? 'off',
  receive_resume_token: () => '-',
  clones: (dataset, world) =>
    [...world.datasets.values()]
      .filter(({ origin }) => origin === dataset.name)
      .map(({ name }) => name)
      .sort()
      .join(','),
};

/** Value of a property as `-Hp` prints it; undefined when zfs(8) knows no such property. */
export const valueOf = (world: World, dataset: Dataset, property: string): string | undefined =>
  property.includes(':') ? (inherited(world, dataset.name, property) ?? '-') : PROPERTIES[property]?.(dataset, world);

/** What was set on the dataset itself: volsize first, as recorded. */
export const localProperties = (dataset: Dataset): readonly (readonly [string, string])[] => [
  ...(dataset.type === 'volume' ? [['volsize', String(dataset.volumeBytes)] as const] : []),
  ...dataset.properties,
];

/** Where a value comes from. */
export const sourceOf = (dataset: Dataset, property: string): string => {
  if (localProperties(dataset).some(([name]) => name === property)) return 'local';
  if (OWN.has(property)) return 'default';
  return '-';
};
