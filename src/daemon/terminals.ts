import type { AuditLog } from '../acl/audit-log.ts';
import { ROOT, type Principal } from '../acl/principal.ts';
import { Screens } from '../api/vnc.ts';
import { BrigError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import type { Access } from '../engine/access.ts';
import type { SessionView } from '../engine/console.ts';
import type { Consoles } from '../engine/consoles.ts';
import type { Engine } from '../engine/engine.ts';
import { connectScreen } from '../io/screen.ts';
import type { Layout } from '../platform/layout.ts';
import type { Platform } from '../platform/platform.ts';
import type { Accounts } from './accounts.ts';
import { ConsoleSockets } from './console-sockets.ts';
import { NOBODY, type Refusals } from './refusals.ts';

export interface TerminalsOptions<Seen> {
  readonly engine: Engine<Seen>;
  readonly platform: Platform<Seen>;
  readonly host: Host;
  readonly places: Layout;
  readonly consoles: Consoles;
  readonly access: Access;
  readonly accounts: Accounts;
  readonly ledger: Pick<AuditLog, 'append'>;
  /** Told of what is refused at a socket. */
  readonly refused: Refusals['tell'];
}

/** Sockets of consoles for other tools, and screens. */
export interface Terminals {
  readonly sockets: ConsoleSockets;
  readonly screens: Screens;
  consoleSocket(who: Principal, vm: string): Promise<string>;
}

/** Who was at a console or a screen, when and how much; never what was said. */
export const recorder =
  (ledger: Pick<AuditLog, 'append'>, now: () => number, verb: 'console' | 'vnc') =>
  (change: string, { vm, who, sinceMs, bytesIn, bytesOut, ...rest }: Session): void => {
    const data = { bytesIn, bytesOut, seconds: Math.round((now() - sinceMs) / 1000), ...rest };
    const told = { who, from: rest.via ?? 'api', verb: `${verb} ${change}`, object: `vm:${vm}`, rule: 'session' };
    void ledger.append({ ...told, phase: 'told', decision: 'allow', data }).catch(() => 0);
  };
type Session = Pick<SessionView, 'vm' | 'who' | 'sinceMs' | 'bytesIn' | 'bytesOut'> & { via?: string; mode?: string };

export const terminalsOf = <Seen>(options: TerminalsOptions<Seen>): Terminals => {
  const { engine, platform, host, places, consoles, access, accounts, ledger } = options;
  const screens = new Screens({
    find: (vm) => platform.screen(engine.vm(vm)),
    connect: connectScreen,
    now: () => host.now(),
    onSession: recorder(ledger, () => host.now(), 'vnc'),
  });
  const principalOf = (uid: number): Principal | undefined => {
    const account = accounts.all().find((each) => each.uid === uid);
    return account && access.principal(`user:${account.name}`);
  };
  const mayStill = (uid: number, vm: string) => {
    if (uid === 0) return { who: 'root', mayWrite: true };
    const who = principalOf(uid);
    if (!who || !access.canSeeVm(who, vm)) return undefined;
    return { who: who.id, mayWrite: access.canDoVm(who, 'console', vm) };
  };
  const sockets = new ConsoleSockets({
    ...{ dir: places.consolesDir, consoles, mayStill },
    refused: (uid, vm, error) =>
      options.refused(uid === 0 ? ROOT : (principalOf(uid) ?? NOBODY), error, 'console socket', `vm:${vm}`),
  });
  const uidOf = ({ id, isRoot }: Principal): number => {
    const uid = isRoot ? 0 : accounts.find(id.replace(/^user:/, ''))?.uid;
    if (uid !== undefined && (isRoot || id.startsWith('user:'))) return uid;
    throw new BrigError('acl.denied', 'open console socket: expected a user of this host, got a key of elsewhere');
  };
  return { sockets, screens, consoleSocket: (who, vm) => sockets.open(vm, uidOf(who)) };
};
