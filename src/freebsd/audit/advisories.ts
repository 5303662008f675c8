import type { Exposure } from '../../platform/audit.ts';
import { ADVISORIES, type Wall } from '../advisories.ts';
import { partsOf } from '../devices.ts';
import { runsAsRoot, whereOf } from '../node.ts';
import { parseRelease } from '../programs/freebsd-version.ts';
import type { Measured } from './measure.ts';

/** Whether a release has a fix that came with another one; patch levels do not matter between releases. */
const isFixed = (release: string, fixedIn: string): boolean | 'unknown' => {
  const have = parseRelease(release);
  const match = /^(\d+)\.(\d+)$/.exec(fixedIn);
  if (!have || !match) return 'unknown';
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return have.major > major || (have.major === major && have.minor >= minor);
};

/** The walls that stand on this VM, as measured. */
const standing = (m: Measured): ReadonlySet<Wall> => {
  const cred = m.host.credentials.get(m.process?.pid ?? 0);
  const walls: Wall[] = [];
  if (m.process && m.process.jid > 0) walls.push('jail');
  if (cred && !runsAsRoot(m.node, m.vm) && cred.uids.every((uid) => uid === m.vm.place.uid)) walls.push('uid');
  if (cred?.capsicum) walls.push('capsicum');
  return new Set(walls);
};

/** Advisories that this VM's devices expose, and what holds them. */
export const exposures = (m: Measured): Exposure[] => {
  const devices = new Set(partsOf(m.vm, whereOf(m.node, m.vm)).map((part) => part.device));
  const walls = standing(m);
  return ADVISORIES.flatMap(({ id, what, devices: concerned, fixedIn, containedBy }): Exposure[] => {
    const device = concerned === 'any' ? 'vmm' : concerned.find((each) => devices.has(each));
    if (device === undefined) return [];
    const fixed = isFixed(m.host.release, fixedIn);
    const holding = containedBy.filter((wall) => walls.has(wall));
    const verdict = fixed === true || holding.length > 0 ? 'holds' : 'broken';
    return [{ id, what, device, fixedIn, fixed, containedBy: holding, verdict }];
  });
};
