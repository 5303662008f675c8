import { mkdirSync } from 'node:fs';
import { LIMITS } from '../base/limits.ts';
import { BoundedLog } from './bounded-log.ts';

/** Who is recorded, at which console. */
export interface Recorded {
  readonly id: number;
  readonly vm: string;
  readonly who: string;
  readonly sinceMs: number;
}

/** Shape: `web-2026-11-28T09-30-00.000Z-user:alice-7.cast` */
const nameOf = ({ id, vm, who, sinceMs }: Recorded): string =>
  `${vm}-${new Date(sinceMs).toISOString().replaceAll(':', '-')}-${who}-${id}.cast`;

/**
 * Keeps what is said in a session of a console: a file of root's alone in the form that terminal players read, bounded,
 * the newest in it. Source: asciicast v2
 */
export const recordingIn =
  (dir: string, now: () => number) =>
  (session: Recorded): { said(by: 'guest' | 'client', chunk: Buffer): void; end(): void } => {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const log = new BoundedLog(`${dir}/${nameOf(session)}`, LIMITS.recordingBytes);
    const line = (value: unknown): void => log.append(Buffer.from(`${JSON.stringify(value)}\n`));
    const at = (): number => Math.round(now() - session.sinceMs) / 1000;
    line({ version: 2, width: 80, height: 24, timestamp: Math.floor(session.sinceMs / 1000), title: session.who });
    return {
      said: (by, chunk) => line([at(), by === 'guest' ? 'o' : 'i', chunk.toString('utf8')]),
      end: () => void log.flush(),
    };
  };
