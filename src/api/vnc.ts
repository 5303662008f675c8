import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { BrigError } from '../base/errors.ts';
import type { Screen } from '../platform/platform.ts';
import { tie } from './tie.ts';
import { switchTo, UPGRADE_VNC } from './upgrade.ts';

/** A screen for whoever was found to be allowed to have it: he types and looks. */
export interface ScreenCall {
  /** The VM. */
  readonly name: string;
  /** The principal's id. */
  readonly who: string;
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** One session, for the audit log. Nothing of what was seen is in it. */
export interface ScreenSession {
  readonly vm: string;
  readonly who: string;
  readonly sinceMs: number;
  bytesIn: number;
  bytesOut: number;
}

export interface ScreensOptions {
  /** Undefined: the VM has none, or does not run. */
  readonly find: (vm: string) => Screen | undefined;
  readonly connect: (screen: Screen) => Promise<Duplex>;
  readonly now: () => number;
  readonly onSession?: (change: 'begin' | 'end', session: Readonly<ScreenSession>) => void;
}

/** Screens of VMs: raw VNC over the API, or in a websocket for noVNC; one client for each. */
export class Screens {
  readonly #o: ScreensOptions;
  readonly #open = new Map<string, ScreenSession>();

  constructor(options: ScreensOptions) {
    this.#o = options;
  }

  /** Errors: vm.blocked without a screen; console.taken; host.*; saga.cancelled; api.invalid for another protocol. */
  async attach(call: ScreenCall): Promise<void> {
    const { name, who, request, socket, head } = call;
    const protocol = request.headers.upgrade?.toLowerCase();
    if (protocol !== UPGRADE_VNC && protocol !== 'websocket')
      throw new BrigError(
        'api.invalid',
        `attach screen of ${name}: expected Upgrade: ${UPGRADE_VNC} or websocket, got ${protocol ?? 'none'}`,
      );
    const other = this.#open.get(name);
    if (other)
      throw new BrigError('console.taken', `attach screen of ${name}: ${other.who} is there already`, {
        retry: 'later',
      });
    const session = { vm: name, who, sinceMs: this.#o.now(), bytesIn: 0, bytesOut: 0 };
    this.#open.set(name, session);
    const leave = (): void => void this.#open.delete(name);
    try {
      const screen = await this.#connect(name, socket);
      await this.#carry(session, screen, () =>
        protocol === 'websocket' ? this.#acceptWeb(call) : this.#accept(socket, head),
      );
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** A screen takes one client: none is connected to for who went away meanwhile. */
  async #connect(name: string, socket: Duplex): Promise<Duplex> {
    const found = this.#o.find(name);
    if (!found)
      throw new BrigError('vm.blocked', `attach screen of ${name}: blocked: it has none, or does not run`, {
        hint: 'devices.fbuf in its document makes one',
      });
    const screen = await this.#o.connect(found);
    if (!socket.destroyed) return screen;
    screen.on('error', () => undefined).destroy();
    throw new BrigError('saga.cancelled', `attach screen of ${name}: its client went away`);
  }

  /** Loaded only when asked for: few brigds ever are. */
  async #acceptWeb({ request, socket, head }: ScreenCall): Promise<Duplex> {
    const { acceptWebSocket } = await import('./websocket.ts');
    return await acceptWebSocket(request, socket, head);
  }

  #accept(socket: Duplex, head: Buffer): Promise<Duplex> {
    if (head.length > 0) socket.unshift(head);
    socket.write(switchTo(UPGRADE_VNC));
    return Promise.resolve(socket);
  }

  async #carry(session: ScreenSession, screen: Duplex, accept: () => Promise<Duplex>): Promise<void> {
    const { onSession = () => undefined } = this.#o;
    screen.on('error', () => screen.destroy());
    const client = await accept().catch((error: unknown) => {
      screen.destroy();
      throw error;
    });
    onSession('begin', session);
    client.on('data', (chunk: Buffer) => (session.bytesIn += chunk.length));
    screen.on('data', (chunk: Buffer) => (session.bytesOut += chunk.length));
    tie(client, screen);
    const end = (): void => {
      this.#open.delete(session.vm);
      onSession('end', session);
    };
    if (client.destroyed) return end();
    client.once('close', end);
  }
}
