import { escapeControls, renderAge, renderBytes } from '../base/units.ts';
import type { GcLine, ImageReport, ImageView } from '../platform/images.ts';
import type { SignedImage } from '../spec/image.ts';
import { firstLine, paint, renderRows, renderTable, short } from './render.ts';

const VERIFIED = { sha256: 'digest', signature: 'signature', built: 'built here', none: 'INSECURE' } as const;

const rowOf = (image: ImageView, nowMs: number): string[] => [
  image.name === undefined ? '-' : `${image.name}:${image.version ?? ''}`,
  short(image.digest),
  image.arch ?? '-',
  image.disks?.map(renderBytes).join('+') ?? '-',
  image.verified === undefined ? '-' : VERIFIED[image.verified],
  image.key ?? '-',
  image.importedMs === undefined ? '-' : `${renderAge(nowMs - image.importedMs)} ago`,
  String(image.users),
];

const HEAD = ['IMAGE', 'DIGEST', 'ARCH', 'DISKS', 'VERIFIED', 'KEY', 'CAME', 'VMS'];

/** One line for each image, then why some may not be used. Units: milliseconds in. */
export const renderImages = (images: readonly ImageView[], nowMs: number): string => {
  const reasons = images.flatMap(({ digest, problem }) =>
    problem === undefined ? [] : [paint('red', `${short(digest)}: ${firstLine(problem)}`)],
  );
  const rows = images.map((image) => rowOf(image, nowMs));
  return [renderTable(HEAD, rows), ...reasons].join('\n');
};

export const renderImage = ({ manifest, signature }: SignedImage, digest: string): string => {
  const { provenance } = manifest;
  const words: [string, string | undefined][] = [
    ['image', `${manifest.name}:${manifest.version}`],
    ['digest', digest],
    ['os', manifest.os],
    ['arch', manifest.arch],
    ['firmware', manifest.firmware],
    ['cloud-init', manifest.cloudInit ? 'yes' : 'no'],
    ...manifest.disks.map(({ bytes, sha256 }, i): [string, string] => [
      `disk ${i}`,
      `${renderBytes(bytes)}, sha-256 ${sha256}`,
    ]),
    ['source', provenance.source],
    ['sha-256 of it', provenance.sha256],
    ['verified', provenance.verified === 'none' ? 'by nobody: it was taken --insecure' : VERIFIED[provenance.verified]],
    ['signed by', signature ? `${signature.algorithm} key ${signature.key}` : 'nobody'],
    ['says of a VM', Object.keys(manifest.spec).length === 0 ? undefined : JSON.stringify(manifest.spec)],
  ];
  const width = Math.max(...words.map(([key]) => key.length));
  return words
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key.padEnd(width)}  ${escapeControls(value)}`]))
    .join('\n');
};

export const renderImageReport = ({ digest, bytes, problems }: ImageReport): string =>
  problems.length === 0
    ? `${short(digest)}: ${renderBytes(bytes)} read, all as signed`
    : problems.map((problem) => paint('red', `${short(digest)}: ${escapeControls(problem)}`)).join('\n');

export const renderGc = (lines: readonly GcLine[], isDry: boolean): string => {
  const free = isDry ? 'would go' : 'gone';
  const rows = lines.map(({ digest, name, bytes, keep, why }) => [
    keep ? 'kept' : free,
    name === '-' ? short(digest) : name,
    bytes === 0 ? '-' : renderBytes(bytes),
    firstLine(why),
  ]);
  return rows.length === 0 ? 'there are no images' : renderRows(rows).join('\n');
};
