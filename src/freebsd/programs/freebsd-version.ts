import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Version of the installed userland, bhyve included. Shape: `15.1-RELEASE-p4`. Source: freebsd-version(1) "-u". */
export const releaseOf = (): Command => command('/bin/freebsd-version', ['-u']);

/** Versions of the kernel on disk, of the running one and of userland, a line each. Source: freebsd-version(1). */
export const releases = (): Command => command('/bin/freebsd-version', ['-k', '-r', '-u']);

export interface Release {
  readonly major: number;
  readonly minor: number;
  /** Undefined where patches are not numbered: -STABLE, -CURRENT. */
  readonly patch: number | undefined;
}

/** Undefined when the text is no version. */
export const parseRelease = (text: string): Release | undefined => {
  const match = /^(\d+)\.(\d+)-(RELEASE|STABLE|CURRENT|PRERELEASE|RC\d+|BETA\d+)(?:-p(\d+))?/.exec(text.trim());
  if (!match) return undefined;
  const [, major, minor, branch, patch] = match;
  return {
    major: Number(major),
    minor: Number(minor),
    patch: branch === 'RELEASE' ? Number(patch ?? 0) : undefined,
  };
};
