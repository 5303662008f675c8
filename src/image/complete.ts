import { BrigError } from '../base/errors.ts';
import { renderBytes } from '../base/units.ts';
import type { ImageDisks } from '../platform/images.ts';
import type { ImageManifest } from '../spec/image.ts';
import { parseVm, parseVmDocument, type DocumentDisk, type VmDocument, type VmSpec } from '../spec/vm.ts';
import { volumeBytes } from './file-disks.ts';

/** What a node says in a document's place. */
export interface NodeDefaults {
  readonly disks: ImageDisks;
  readonly uefi: { readonly code: string; readonly vars: string };
  /** In the words of a manifest. */
  readonly arch: string;
}

/** The image that a document names. */
export interface Used {
  readonly digest: string;
  readonly manifest: ImageManifest;
}

const wrong = (path: string, expected: string, got: string): BrigError =>
  new BrigError('spec.invalid', `check document: 1 problem\n  ${path}: expected ${expected}, got ${got}`, {
    details: { problems: [{ path, expected, got }] },
  });

const sizeOf = (disk: DocumentDisk): number | undefined =>
  'zvol' in disk ? disk.zvol.size : 'file' in disk ? disk.file.size : 'image' in disk ? undefined : disk.size;

/** A disk of a kind that this node keeps. */
const newDisk = (disk: DocumentDisk, path: string, { disks }: NodeDefaults): unknown => {
  if ('zvol' in disk || 'file' in disk || 'image' in disk) return disk;
  if (disk.size === undefined) throw wrong(`${path}.size`, 'a size, for no image has a disk for this one', 'nothing');
  const { size, device } = disk;
  return disks.kind === 'zfs' ? { zvol: { size: volumeBytes(size) }, device } : { file: { size }, device };
};

/** A disk that begins as one of an image's, grown to what the document says. */
const imageDisk = (disk: DocumentDisk, index: number, used: Used, { disks }: NodeDefaults): unknown => {
  const path = `disks[${index}]`;
  const { bytes } = used.manifest.disks[index] ?? { bytes: 0 };
  const { name } = used.manifest;
  const from = disks.origin(used.digest, index);
  if ('image' in disk)
    throw wrong(path, `a disk to write to, for image ${name} has ${used.manifest.disks.length}`, 'a read-only one');
  const kind = 'zvol' in from ? 'zvol' : 'file';
  const asked = 'zvol' in disk ? 'zvol' : 'file' in disk ? 'file' : kind;
  if (asked !== kind) throw wrong(path, `${kind}, as this node keeps images`, asked);
  const source = 'zvol' in disk ? disk.zvol.from : 'file' in disk ? disk.file.from : undefined;
  if (source !== undefined) throw wrong(`${path}.from`, `nothing, for image ${name} says it`, source);
  const size = sizeOf(disk) ?? Math.max(bytes, LEAST_BYTES);
  if (size < bytes)
    throw wrong(`${path}.size`, `at least ${renderBytes(bytes)}, the size in image ${name}`, renderBytes(size));
  return 'zvol' in from
    ? { zvol: { size: volumeBytes(size), from: from.zvol }, device: disk.device }
    : { file: { size, from: from.file }, device: disk.device };
};

const LEAST_BYTES = 2 ** 20;

const firmwareOf = (document: VmDocument, merged: VmDocument, used: Used | undefined, node: NodeDefaults): unknown => {
  const firmware = document.firmware ?? merged.firmware ?? used?.manifest.firmware;
  if (firmware === 'uefi') return { uefi: node.uefi };
  return firmware === 'test' ? { builtin: 'test' } : firmware === 'none' ? undefined : firmware;
};

const imageOf = ({ digest, manifest: { name, version, os } }: Used): VmSpec['image'] => ({
  ...{ name, version, digest },
  ...(os === undefined ? {} : { os }),
});

/**
 * A document with what its image and this node say where it is silent: the document counts before the image, the
 * image before the node. Errors: spec.invalid.
 */
export const completeDocument = (value: unknown, used: Used | undefined, node: NodeDefaults): VmSpec => {
  const document = parseVmDocument(value);
  if (used && used.manifest.arch !== node.arch)
    throw wrong('image', `one for ${node.arch}, as this host is`, `${used.manifest.name} for ${used.manifest.arch}`);
  const fragment = used?.manifest.spec ?? {};
  const stated = value as Record<string, unknown>;
  const all = { ...fragment, ...stated };
  const merged = parseVmDocument(all, used ? `document with image ${used.manifest.name}` : 'document');
  const disks = Array.from({ length: Math.max(merged.disks.length, used?.manifest.disks.length ?? 0) }, (_, i) => {
    const disk = merged.disks[i] ?? { device: 'virtio-blk' as const };
    return used && i < used.manifest.disks.length ? imageDisk(disk, i, used, node) : newDisk(disk, `disks[${i}]`, node);
  });
  const firmware = firmwareOf(document, merged, used, node);
  const image = used && imageOf(used);
  const cloudInit = document.cloudInit ?? (used?.manifest.cloudInit ? {} : undefined);
  return parseVm({ ...all, image, firmware, disks, cloudInit: cloudInit === false ? undefined : cloudInit });
};
