import type { Duplex } from 'node:stream';
import type { AuditReport } from '../acl/audit-log.ts';
import type { AuditEntry } from '../acl/chain.ts';
import { fromErrorBody, type ErrorBody } from '../base/errors.ts';
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
import type { JailView, LeaseView, NetworkDetail, NetworkView } from '../platform/networks.ts';
import type { SnapshotView } from '../platform/snapshots.ts';
import type { SignedImage } from '../spec/image.ts';
import type { TemplateView } from '../spec/template.ts';
import { Inbox } from '../base/inbox.ts';
import { openConsole, type ConsoleAsk, type ConsoleStream } from './console-client.ts';
import { decodeFrames, type Frame } from './frames.ts';
import { AccessClient } from './access-client.ts';
import { PREFIX, type WhoAmI } from './protocol.ts';
import { LocalTransport, type Transport } from './transport.ts';
import { upgrade, UPGRADE_VNC } from './upgrade.ts';
import { upload } from './upload.ts';
import { SecretClient } from './secrets.ts';
import { readAll, Wire, type OperationListener } from './wire.ts';

/** brigd's API from another process. Errors: those of brigd; daemon.unreachable; host.denied. */
export class Client {
  readonly access = new AccessClient((...asked) => this.#json(...asked));
  readonly secrets = new SecretClient((...asked) => this.#json(...asked));
  readonly #wire: Wire;

  /** Of this node by the path of a socket. */
  constructor(where: string | Transport) {
    this.#wire = new Wire(typeof where === 'string' ? new LocalTransport(where) : where);
  }

  /** Whether it is another node that is asked. */
  get isElsewhere(): boolean {
    return this.#wire.transport.isElsewhere;
  }

  #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.#wire.json(method, path, { body });
  }

  #lines<T>(method: string, path: string, listener: OperationListener, body?: unknown): Promise<T> {
    return this.#wire.lines(method, path, listener, { body });
  }

  list(): Promise<VmView[]> {
    return this.#json('GET', '/vms');
  }

  /** All VMs by name, so many at a time. */
  async *listPages(limit: number): AsyncGenerator<VmView[]> {
    for (let path: string | undefined = `/vms?limit=${limit}`; path !== undefined;) {
      const page: { readonly value: unknown; readonly next?: string } = await this.#wire.tagged('GET', path);
      yield page.value as VmView[];
      path = page.next;
    }
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
    const response = await upload(this.#wire.transport, `${PREFIX}/images`, frames, signal);
    const value = JSON.parse(await readAll(response)) as ImageView & { error?: ErrorBody };
    if (value.error) throw fromErrorBody(value.error);
    return value;
  }

  /** The pieces of an image's disk. */
  async *readDisk(ref: string, disk: number): AsyncGenerator<Piece> {
    const response = await this.#wire.send('GET', `/images/${encodeURIComponent(ref)}/disks/${disk}`);
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

  /** What the caller may create of. */
  templates(): Promise<TemplateView[]> {
    return this.#json('GET', '/templates');
  }

  /** Of a template of the node: its name, values of parameters, labels and cloud-init. */
  createOf(template: string, chosen: object, listener: OperationListener = {}): Promise<VmView> {
    return this.#lines('POST', `/vms?template=${encodeURIComponent(template)}`, listener, chosen);
  }

  operate(
    verb: 'start' | 'stop' | 'kill' | 'restart' | 'resolve',
    name: string,
    listener: OperationListener = {},
    graceMs?: number,
  ): Promise<Outcome> {
    const query = graceMs === undefined ? '' : `?graceMs=${graceMs}`;
    const isRepeatable = verb !== 'restart';
    return this.#wire.lines('POST', `/vms/${encodeURIComponent(name)}/${verb}${query}`, listener, { isRepeatable });
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

  createNetwork(document: unknown, listener: OperationListener = {}): Promise<NetworkDetail> {
    return this.#lines('POST', '/networks', listener, document);
  }

  /** What `editNetwork` refuses to write over when it is another by then. */
  async networkTag(name: string): Promise<string | undefined> {
    return (await this.#wire.tagged('GET', `/networks/${encodeURIComponent(name)}`)).etag;
  }

  /** Errors: api.changed when it is not what has the tag. */
  editNetwork(
    name: string,
    document: unknown,
    listener: OperationListener = {},
    ifMatch?: string,
  ): Promise<NetworkDetail> {
    return this.#wire.lines('PUT', `/networks/${encodeURIComponent(name)}`, listener, { body: document, ifMatch });
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

  whoami(): Promise<WhoAmI> {
    return this.#json('GET', '/whoami');
  }

  /** Every VM that runs, in order. */
  shutdown(listener: OperationListener = {}, graceMs?: number): Promise<ShutdownEnd> {
    return this.#lines('POST', `/shutdown${graceMs === undefined ? '' : `?graceMs=${graceMs}`}`, listener);
  }

  cancel(id: string): Promise<{ cancelled: boolean }> {
    return this.#json('POST', `/operations/${encodeURIComponent(id)}/cancel`);
  }

  /**
   * Events after a cursor; with `follow` it ends only when the connection does.
   * Errors: daemon.unreachable when that was not the end of the answer.
   */
  async *events(options: { after?: number; vm?: string; follow?: boolean }): AsyncGenerator<EventRow> {
    const query = new URLSearchParams({
      after: String(options.after ?? 0),
      ...(options.vm === undefined ? {} : { vm: options.vm }),
      ...(options.follow ? { follow: '1' } : {}),
    });
    yield* this.#wire.rows<EventRow>(`/events?${query.toString()}`);
  }

  /** Entries of the audit log; ends as `events` does. */
  async *auditLog(options: {
    after?: number;
    who?: string;
    object?: string;
    limit?: number;
    follow?: boolean;
  }): AsyncGenerator<AuditEntry> {
    const { follow, ...rest } = options;
    const query = new URLSearchParams(follow ? { follow: '1' } : {});
    for (const [name, value] of Object.entries(rest)) query.set(name, String(value));
    yield* this.#wire.rows<AuditEntry>(`/audit-log?${query.toString()}`);
  }

  /** `head`: the hash of an entry that must be there. */
  verifyAuditLog(head?: string): Promise<AuditReport> {
    return this.#json('POST', `/audit-log/verify${head === undefined ? '' : `?head=${encodeURIComponent(head)}`}`);
  }

  /** The console's raw bytes, history first. */
  console(name: string, how: ConsoleAsk = {}): Promise<ConsoleStream> {
    return openConsole(this.#wire.transport, name, how);
  }

  /** What is kept of a console, the newest bytes. */
  async consoleHistory(name: string, bytes?: number): Promise<Buffer> {
    const query = bytes === undefined ? '' : `?bytes=${bytes}`;
    const response = await this.#wire.send('GET', `/vms/${encodeURIComponent(name)}/console/history${query}`);
    if (response.statusCode !== 200)
      throw fromErrorBody((JSON.parse(await readAll(response)) as { error: ErrorBody }).error);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  /** A unix socket on the node that is the caller's alone, for other tools. */
  consoleSocket(name: string): Promise<{ path: string }> {
    return this.#json('PUT', `/vms/${encodeURIComponent(name)}/console/socket`);
  }

  /** The screen's raw bytes: VNC. */
  async vnc(name: string): Promise<Duplex> {
    return (await upgrade(this.#wire.transport, `${PREFIX}/vms/${encodeURIComponent(name)}/vnc`, UPGRADE_VNC)).socket;
  }

  /** The API as an OpenAPI 3.1 document. */
  openapi(): Promise<Record<string, unknown>> {
    return this.#json('GET', '/openapi.json');
  }

  /** What Prometheus reads. */
  async metrics(): Promise<string> {
    const response = await this.#wire.send('GET', '/metrics');
    const text = await readAll(response);
    if (response.statusCode !== 200) throw fromErrorBody((JSON.parse(text) as { error: ErrorBody }).error);
    return text;
  }
}
