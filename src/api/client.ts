import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { BrigError, fromErrorBody, type ErrorBody } from '../base/errors.ts';
import type { ShutdownEnd } from '../engine/boot.ts';
import type { Explanation } from '../engine/explain.ts';
import type { PlanLine } from '../engine/changes.ts';
import type { Outcome } from '../engine/request.ts';
import type { VmView } from '../engine/view.ts';
import type { Audit } from '../platform/audit.ts';
import type { BaseReport, BaseView } from '../platform/bases.ts';
import type { Finding } from '../platform/platform.ts';
import type { SignedManifest } from '../spec/manifest.ts';
import type { EventRow, FindingRow } from '../store/rows.ts';
import type { GcLine, ImageReport, ImageView, KeyView, Piece } from '../platform/images.ts';
import type { JailView, LeaseView, NetworkView } from '../platform/networks.ts';
import type { SnapshotView } from '../platform/snapshots.ts';
import type { SignedImage } from '../spec/image.ts';
import { Inbox } from '../base/inbox.ts';
import { decodeFrames, type Frame } from './frames.ts';
import type { NetworkDetail } from './networks.ts';
import { PREFIX, UPGRADE, type Line } from './protocol.ts';
import { SecretClient } from './secrets.ts';
import { explainConnect, upload } from './upload.ts';

/** Told while an operation goes on. */
export interface OperationListener {
  begin?(id: string): void;
  event?(event: EventRow): void;
}

/** More connect at once than the kernel queues: EAGAIN on Linux; FreeBSD says what it says of a dead brigd's socket. */
const isQueueFull = ({ code, syscall }: NodeJS.ErrnoException): boolean =>
  syscall === 'connect' && (code === 'EAGAIN' || code === 'ECONNREFUSED');
const CONNECT_AGAIN_MS = [20, 40, 80, 160, 200];

const readAll = async (response: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
};

/** Ends when brigd goes away, too: whoever waits for an answer tells it by its absence. */
const linesOf = async function* (response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  response.setEncoding('utf8');
  try {
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
};

/** brigd's API from another process. Errors: those of brigd; daemon.unreachable; host.denied. */
export class Client {
  readonly #socket: string;
  readonly secrets = new SecretClient((...asked) => this.#json(...asked));

  constructor(socket: string) {
    this.#socket = socket;
  }

  async #send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    for (const waitMs of CONNECT_AGAIN_MS)
      try {
        return await this.#request(method, path, body);
      } catch (error) {
        if (!isQueueFull(error as NodeJS.ErrnoException)) throw explainConnect(this.#socket, error as Error);
        await sleep(waitMs);
      }
    return await this.#request(method, path, body).catch((error: unknown) => {
      throw explainConnect(this.#socket, error as Error);
    });
  }

  #request(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        // A connection kept for later may be closed by brigd in the moment in which it is used again.
        { socketPath: this.#socket, method, path: `${PREFIX}${path}`, headers: { host: 'brigd' }, agent: false },
        resolve,
      );
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#send(method, path, body);
    const value = JSON.parse(await readAll(response)) as T & { error?: ErrorBody };
    if (response.statusCode !== 200 && value.error) throw fromErrorBody(value.error);
    return value;
  }

  async #lines<T>(method: string, path: string, listener: OperationListener, body?: unknown): Promise<T> {
    const response = await this.#send(method, path, body);
    for await (const text of linesOf(response)) {
      const line = JSON.parse(text) as Line & { error?: ErrorBody };
      if (line.error) throw fromErrorBody(line.error);
      if (line.type === 'begin') listener.begin?.(line.id);
      else if (line.type === 'event') listener.event?.(line.event);
      else if (line.type === 'result') return line.result as T;
    }
    throw new BrigError('daemon.unreachable', `${method} ${path}: brigd went away`, {
      hint: 'when it is back it finishes or undoes what it was doing; see brig list',
    });
  }

  list(): Promise<VmView[]> {
    return this.#json('GET', '/vms');
  }

  show(name: string): Promise<VmView> {
    return this.#json('GET', `/vms/${encodeURIComponent(name)}`);
  }

  explain(name: string): Promise<Explanation> {
    return this.#json('GET', `/vms/${encodeURIComponent(name)}/explain`);
  }

  /** What is not as brig made it, of all VMs. */
  findings(): Promise<FindingRow[]> {
    return this.#json('GET', '/findings');
  }

  plan(verb: string, name: string, graceMs?: number): Promise<PlanLine[]> {
    return this.#json(
      'GET',
      `/vms/${encodeURIComponent(name)}/plan?verb=${verb}${graceMs === undefined ? '' : `&graceMs=${graceMs}`}`,
    );
  }

  audit(name?: string): Promise<Audit[]> {
    return this.#json('GET', name === undefined ? '/audit' : `/vms/${encodeURIComponent(name)}/audit`);
  }

  doctor(): Promise<Finding[]> {
    return this.#json('GET', '/doctor');
  }

  /** `keyPath` is a file on the node. */
  buildBase(keyPath?: string): Promise<BaseView> {
    return this.#json('POST', `/base${keyPath === undefined ? '' : `?key=${encodeURIComponent(keyPath)}`}`);
  }

  bases(): Promise<BaseView[]> {
    return this.#json('GET', '/base');
  }

  showBase(name: string): Promise<SignedManifest> {
    return this.#json('GET', `/base/${encodeURIComponent(name)}`);
  }

  verifyBase(name: string): Promise<BaseReport> {
    return this.#json('POST', `/base/${encodeURIComponent(name)}/verify`);
  }

  removeBase(name: string): Promise<{ removed: string }> {
    return this.#json('DELETE', `/base/${encodeURIComponent(name)}`);
  }

  images(): Promise<ImageView[]> {
    return this.#json('GET', '/images');
  }

  showImage(ref: string): Promise<SignedImage> {
    return this.#json('GET', `/images/${encodeURIComponent(ref)}`);
  }

  verifyImage(ref: string): Promise<ImageReport> {
    return this.#json('POST', `/images/${encodeURIComponent(ref)}/verify`);
  }

  /** `keyPath` is a file on the node. */
  signImage(ref: string, keyPath?: string): Promise<ImageView> {
    const query = keyPath === undefined ? '' : `?key=${encodeURIComponent(keyPath)}`;
    return this.#json('POST', `/images/${encodeURIComponent(ref)}/sign${query}`);
  }

  /** `promote` gives its data to the one VM that was made of it. */
  removeImage(ref: string, promote = false): Promise<{ removed: string }> {
    return this.#json('DELETE', `/images/${encodeURIComponent(ref)}${promote ? '?promote=1' : ''}`);
  }

  collectImages(isDry: boolean): Promise<GcLine[]> {
    return this.#json('POST', `/images/gc${isDry ? '?dry=1' : ''}`);
  }

  keys(): Promise<KeyView[]> {
    return this.#json('GET', '/keys');
  }

  trustKey(name: string, line: string): Promise<KeyView> {
    return this.#json('PUT', `/keys/${encodeURIComponent(name)}`, line);
  }

  revokeKey(name: string): Promise<KeyView> {
    return this.#json('DELETE', `/keys/${encodeURIComponent(name)}`);
  }

  /** Sends an image: its offer, its disks, what is known at the end; whatever fails here leaves nothing there. */
  async takeImage(frames: AsyncIterable<Frame>, signal?: AbortSignal): Promise<ImageView> {
    const response = await upload(this.#socket, `${PREFIX}/images`, frames, signal);
    const value = JSON.parse(await readAll(response)) as ImageView & { error?: ErrorBody };
    if (value.error) throw fromErrorBody(value.error);
    return value;
  }

  /** The pieces of an image's disk. */
  async *readDisk(ref: string, disk: number): AsyncGenerator<Piece> {
    const response = await this.#send('GET', `/images/${encodeURIComponent(ref)}/disks/${disk}`);
    if (response.statusCode !== 200)
      throw fromErrorBody((JSON.parse(await readAll(response)) as { error: ErrorBody }).error);
    for await (const frame of decodeFrames(new Inbox(response))) {
      if ('json' in frame) throw fromErrorBody((frame.json as { error: ErrorBody }).error);
      if (!('end' in frame)) yield frame;
    }
  }

  create(document: unknown, listener: OperationListener = {}): Promise<VmView> {
    return this.#lines('POST', '/vms', listener, document);
  }

  operate(
    verb: 'start' | 'stop' | 'kill' | 'restart' | 'resolve',
    name: string,
    listener: OperationListener = {},
    graceMs?: number,
  ): Promise<Outcome> {
    return this.#lines(
      'POST',
      `/vms/${encodeURIComponent(name)}/${verb}${graceMs === undefined ? '' : `?graceMs=${graceMs}`}`,
      listener,
    );
  }

  destroy(name: string, force: boolean, listener: OperationListener = {}): Promise<Outcome> {
    return this.#lines('DELETE', `/vms/${encodeURIComponent(name)}${force ? '?force=1' : ''}`, listener);
  }

  snapshots(vm: string): Promise<SnapshotView[]> {
    return this.#json('GET', `/vms/${encodeURIComponent(vm)}/snapshots`);
  }

  /** Without a name it is called by the time. */
  snapshot(vm: string, name?: string, listener: OperationListener = {}): Promise<SnapshotView> {
    const query = name === undefined ? '' : `?name=${encodeURIComponent(name)}`;
    return this.#lines('POST', `/vms/${encodeURIComponent(vm)}/snapshots${query}`, listener);
  }

  /** `force` removes those that were made after it. */
  rollback(vm: string, name: string, force: boolean, listener: OperationListener = {}): Promise<Outcome> {
    const path = `/vms/${encodeURIComponent(vm)}/snapshots/${encodeURIComponent(name)}/rollback`;
    return this.#lines('POST', `${path}${force ? '?force=1' : ''}`, listener);
  }

  removeSnapshot(vm: string, name: string, listener: OperationListener = {}): Promise<Outcome> {
    const path = `/vms/${encodeURIComponent(vm)}/snapshots/${encodeURIComponent(name)}`;
    return this.#lines('DELETE', path, listener);
  }

  /** Only larger. Units: bytes. */
  resize(vm: string, disk: number, bytes: number, listener: OperationListener = {}): Promise<Outcome> {
    return this.#lines('POST', `/vms/${encodeURIComponent(vm)}/disks/${disk}/resize?bytes=${bytes}`, listener);
  }

  /** Of a stopped VM, or of a snapshot; `about`: name and version at least. */
  imageFrom(vm: string, snapshot: string | undefined, about: Record<string, unknown>): Promise<ImageView> {
    const query = snapshot === undefined ? '' : `?snapshot=${encodeURIComponent(snapshot)}`;
    return this.#json('POST', `/images/from/${encodeURIComponent(vm)}${query}`, about);
  }

  networks(): Promise<NetworkView[]> {
    return this.#json('GET', '/networks');
  }

  network(name: string): Promise<NetworkDetail> {
    return this.#json('GET', `/networks/${encodeURIComponent(name)}`);
  }

  leases(network: string): Promise<LeaseView[]> {
    return this.#json('GET', `/networks/${encodeURIComponent(network)}/leases`);
  }

  createNetwork(document: unknown, listener: OperationListener = {}): Promise<NetworkView> {
    return this.#lines('POST', '/networks', listener, document);
  }

  editNetwork(name: string, document: unknown, listener: OperationListener = {}): Promise<NetworkView> {
    return this.#lines('PUT', `/networks/${encodeURIComponent(name)}`, listener, document);
  }

  destroyNetwork(name: string, listener: OperationListener = {}): Promise<Outcome> {
    return this.#lines('DELETE', `/networks/${encodeURIComponent(name)}`, listener);
  }

  /** A vnet jail of somebody else's on a network; `about`: addresses, owner and the like. */
  attachJail(network: string, jail: string, about: object, listener: OperationListener = {}): Promise<JailView> {
    return this.#lines(
      'PUT',
      `/networks/${encodeURIComponent(network)}/jails/${encodeURIComponent(jail)}`,
      listener,
      about,
    );
  }

  detachJail(network: string, jail: string, listener: OperationListener = {}): Promise<Outcome> {
    return this.#lines(
      'DELETE',
      `/networks/${encodeURIComponent(network)}/jails/${encodeURIComponent(jail)}`,
      listener,
    );
  }

  /** Every VM that runs, in order. */
  shutdown(listener: OperationListener = {}, graceMs?: number): Promise<ShutdownEnd> {
    return this.#lines('POST', `/shutdown${graceMs === undefined ? '' : `?graceMs=${graceMs}`}`, listener);
  }

  cancel(id: string): Promise<{ cancelled: boolean }> {
    return this.#json('POST', `/operations/${encodeURIComponent(id)}/cancel`);
  }

  /** Events after a cursor; with `follow` it ends only when the connection does. */
  async *events(options: { after?: number; vm?: string; follow?: boolean }): AsyncGenerator<EventRow> {
    const query = new URLSearchParams({
      after: String(options.after ?? 0),
      ...(options.vm === undefined ? {} : { vm: options.vm }),
      ...(options.follow ? { follow: '1' } : {}),
    });
    const response = await this.#send('GET', `/events?${query.toString()}`);
    for await (const text of linesOf(response)) yield JSON.parse(text) as EventRow;
  }

  /** The console's raw bytes, history first. */
  console(name: string): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const path = `${PREFIX}/vms/${encodeURIComponent(name)}/console`;
      const request = httpRequest({
        socketPath: this.#socket,
        path,
        headers: { host: 'brigd', connection: 'upgrade', upgrade: UPGRADE },
      });
      request.on('error', (error: NodeJS.ErrnoException) => reject(explainConnect(this.#socket, error)));
      request.on('upgrade', (_, socket, head) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      request.on('response', (response) => {
        void readAll(response).then((text) => reject(fromErrorBody((JSON.parse(text) as { error: ErrorBody }).error)));
      });
      request.end();
    });
  }
}
