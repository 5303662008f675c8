import type { DiskPort } from '../base/host.ts';
import type { Incoming, Piece } from '../platform/images.ts';
import type { VmSpec } from '../spec/vm.ts';
import { chunksOf } from './image-read.ts';
import { isZero } from './receive.ts';

export interface FromVm {
  /** What its builder says of it: name and version at least. */
  readonly about: unknown;
  /** In the words of a manifest. */
  readonly arch: string;
  readonly disks: readonly { readonly bytes: number; open(): Promise<DiskPort> }[];
  readonly spec: VmSpec;
  readonly snapshot: string | undefined;
}

const firmwareOf = ({ firmware }: VmSpec): 'uefi' | 'test' | 'none' =>
  'uefi' in firmware ? 'uefi' : 'builtin' in firmware ? 'test' : 'none';

const piecesOf = async function* (bytes: number, open: () => Promise<DiskPort>): AsyncGenerator<Piece> {
  for await (const chunk of chunksOf(bytes, open)) yield isZero(chunk) ? { zeros: chunk.length } : { data: chunk };
};

/** A VM's own disks as an image that comes in: what it says of itself is the VM's, unless its builder says otherwise. */
export const incomingOf = ({ about, arch, disks, spec, snapshot }: FromVm): Incoming => {
  const { name, cpus, memory, image, cloudInit } = spec;
  const said = {
    arch,
    firmware: firmwareOf(spec),
    cloudInit: cloudInit !== undefined,
    spec: { cpus, memory },
    ...(image?.os === undefined ? {} : { os: image.os }),
  };
  const source = `VM ${name}${snapshot === undefined ? '' : `@${snapshot}`}`;
  return {
    offer: { about: { ...said, ...(about as object) }, provenance: { source, verified: 'built' } },
    disks: async function* () {
      for (const disk of disks) yield await Promise.resolve(piecesOf(disk.bytes, () => disk.open()));
    },
    end: () => Promise.resolve({}),
  };
};
