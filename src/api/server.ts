import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { BrigError, toErrorBody } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import type { Audit } from '../platform/audit.ts';
import type { Bases } from '../platform/bases.ts';
import type { Images, ImageView, Trusting } from '../platform/images.ts';
import type { Finding } from '../platform/platform.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Boot } from '../engine/boot.ts';
import type { Consoles } from '../engine/consoles.ts';
import type { Engine } from '../engine/engine.ts';
import type { Request } from '../engine/request.ts';
import type { EventLog } from '../engine/events.ts';
import { explain } from '../engine/explain.ts';
import type { Reconciler } from '../engine/reconcile.ts';
import { sendDisk, takeImage } from './images.ts';
import { networkRoutes, toNetworkCall, type NetworkCall } from './networks.ts';
import { secretRoutes } from './secrets.ts';
import { httpStatus, PREFIX, UPGRADE, type Line } from './protocol.ts';

export interface ApiOptions<Seen> {
  readonly engine: Engine<Seen>;
  readonly events: EventLog;
  readonly consoles: Consoles;
  readonly reconciler: Reconciler<Seen>;
  readonly boot: Boot<Seen>;
  readonly audit: (name?: string) => Promise<readonly Audit[]>;
  readonly doctor: () => Promise<readonly Finding[]>;
  readonly host: Host;
  readonly bases: Bases;
  readonly images: Images;
  readonly trust: Trusting;
  /** Gives an image's data to the one VM that was made of it, and removes it. */
  readonly promoteImage: (ref: string) => Promise<{ readonly removed: string }>;
  /** An image of the disks of a VM, or of its snapshot. */
  readonly imageFrom: (
    vm: string,
    snapshot: string | undefined,
    about: unknown,
    signal: AbortSignal,
  ) => Promise<ImageView>;
  /** A document with what its image and this node say in its place. */
  readonly complete: (document: unknown) => Promise<VmSpec>;
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  /** The VM's name, the operation's id or the base's digest in the path. */
  readonly name: string;
}

type Handler = (call: Call) => Promise<void>;

const sendJson = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
};

const sendText = (response: ServerResponse, json: Buffer): void => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': json.length });
  response.end(json);
};

const readBody = async (request: IncomingMessage): Promise<unknown> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > LIMITS.requestBytes)
      throw new BrigError('api.invalid', `read request: expected at most ${LIMITS.requestBytes} bytes, got more`);
    chunks.push(chunk as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw new BrigError('api.invalid', 'read request: expected JSON, got something else');
  }
};

const numberOf = (query: URLSearchParams, key: string): number | undefined => {
  const text = query.get(key);
  if (text === null) return undefined;
  if (!/^\d{1,12}$/.test(text))
    throw new BrigError('api.invalid', `read query: expected a number for ${key}, got ${text}`);
  return Number(text);
};

/** Answers every request of the API. */
export class Api<Seen> {
  readonly #o: ApiOptions<Seen>;
  readonly #routes: readonly [RegExp, Handler][];

  constructor(options: ApiOptions<Seen>) {
    this.#o = options;
    const { engine, bases, host } = options;
    this.#routes = [
      [/^GET \/vms$/, async (call) => sendText(call.response, await engine.listJson())],
      [/^POST \/vms$/, (call) => this.#create(call)],
      [/^GET \/vms\/([^/]+)$/, async (call) => sendJson(call.response, 200, await engine.show(call.name))],
      [
        /^DELETE \/vms\/([^/]+)$/,
        (call) =>
          this.#operate(call, (request) =>
            engine.destroy(call.name, { ...request, force: call.query.get('force') === '1' }),
          ),
      ],
      [/^POST \/vms\/([^/]+)\/start$/, (call) => this.#operate(call, (request) => engine.start(call.name, request))],
      [/^POST \/vms\/([^/]+)\/stop$/, (call) => this.#operate(call, (request) => engine.stop(call.name, request))],
      [
        /^POST \/vms\/([^/]+)\/kill$/,
        (call) => this.#operate(call, (request) => engine.stop(call.name, { ...request, graceMs: 0 })),
      ],
      [
        /^POST \/vms\/([^/]+)\/restart$/,
        (call) => this.#operate(call, (request) => engine.restart(call.name, request)),
      ],
      [
        /^POST \/vms\/([^/]+)\/resolve$/,
        (call) => this.#operate(call, (request) => engine.resolve(call.name, request)),
      ],
      ...this.#snapshotRoutes(options),
      [/^GET \/vms\/([^/]+)\/plan$/, (call) => this.#plan(call)],
      [
        /^GET \/vms\/([^/]+)\/explain$/,
        async (call) =>
          sendJson(call.response, 200, await explain(engine, this.#o.reconciler, this.#o.events, call.name)),
      ],
      [
        /^GET \/findings$/,
        async (call) => Promise.resolve(sendJson(call.response, 200, this.#o.reconciler.findings())),
      ],
      [/^POST \/shutdown$/, (call) => this.#shutdown(call)],
      [/^POST \/operations\/([^/]+)\/cancel$/, (call) => this.#cancel(call)],
      [/^GET \/events$/, (call) => this.#events(call)],
      [/^GET \/audit$/, async (call) => sendJson(call.response, 200, await this.#o.audit())],
      [/^GET \/vms\/([^/]+)\/audit$/, async (call) => sendJson(call.response, 200, await this.#o.audit(call.name))],
      [/^GET \/doctor$/, async (call) => sendJson(call.response, 200, await this.#o.doctor())],
      [/^GET \/base$/, async (call) => sendJson(call.response, 200, await bases.list(host))],
      [/^POST \/base$/, (call) => this.#buildBase(call)],
      [/^GET \/base\/([^/]+)$/, async (call) => sendJson(call.response, 200, await bases.show(host, call.name))],
      [
        /^POST \/base\/([^/]+)\/verify$/,
        async (call) => sendJson(call.response, 200, await bases.verify(host, call.name)),
      ],
      [/^DELETE \/base\/([^/]+)$/, (call) => this.#removeBase(call)],
      ...this.#imageRoutes(options),
      ...this.#networkRoutes(options),
    ];
  }

  #snapshotRoutes({ engine: { snapshots } }: ApiOptions<Seen>): [RegExp, Handler][] {
    const of = (call: Call): string =>
      decodeURIComponent(/\/snapshots\/([^/?]+)/.exec(call.request.url ?? '')?.[1] ?? '');
    const operate =
      (work: (call: Call, request: Request) => Promise<unknown>): Handler =>
      (call) =>
        this.#operate(call, (request) => work(call, request));
    return [
      [
        /^GET \/vms\/([^/]+)\/snapshots$/,
        async ({ name, response }) => sendJson(response, 200, await snapshots.list(name)),
      ],
      [
        /^POST \/vms\/([^/]+)\/snapshots$/,
        operate(({ name, query }, request) => snapshots.make(name, query.get('name') ?? undefined, request)),
      ],
      [
        /^POST \/vms\/([^/]+)\/snapshots\/[^/]+\/rollback$/,
        operate((call, request) => snapshots.rollback(call.name, of(call), call.query.get('force') === '1', request)),
      ],
      [
        /^DELETE \/vms\/([^/]+)\/snapshots\/[^/]+$/,
        operate((call, request) => snapshots.remove(call.name, of(call), request)),
      ],
      [
        /^POST \/vms\/([^/]+)\/disks\/\d+\/resize$/,
        operate(({ name, query, request: { url = '' } }, request) => {
          const disk = Number(/\/disks\/(\d+)\//.exec(url)?.[1]);
          return snapshots.resize(name, disk, numberOf(query, 'bytes') ?? 0, request);
        }),
      ],
    ];
  }

  #networkRoutes({ engine: { networks, secrets } }: ApiOptions<Seen>): [RegExp, Handler][] {
    const callOf = ({ name, request }: Call): NetworkCall =>
      toNetworkCall(name, request.url ?? '', () => readBody(request));
    const { asks, changes } = networkRoutes<Seen, NetworkCall>(networks);
    return [
      ...[...asks, ...secretRoutes(secrets)].map(([pattern, work]): [RegExp, Handler] => [
        pattern,
        async (call) => sendJson(call.response, 200, await work({ ...callOf(call), query: call.query })),
      ]),
      ...changes.map(([pattern, work]): [RegExp, Handler] => [
        pattern,
        (call) => this.#operate({ ...call, name: callOf(call).holder }, (request) => work(callOf(call), request)),
      ]),
    ];
  }

  #imageRoutes({ images, host, trust, promoteImage }: ApiOptions<Seen>): [RegExp, Handler][] {
    const json =
      (work: (call: Call) => Promise<unknown>): Handler =>
      async (call) =>
        sendJson(call.response, 200, await work(call));
    return [
      [/^GET \/images$/, json(() => images.list(host))],
      [/^POST \/images$/, ({ request, response }) => takeImage(images, host, request, response)],
      [/^POST \/images\/from\/([^/]+)$/, (call) => this.#imageFrom(call)],
      [/^POST \/images\/gc$/, json(({ query }) => images.gc(host, query.get('dry') === '1'))],
      [/^GET \/images\/([^/]+)$/, json(({ name }) => images.show(host, name))],
      [
        /^DELETE \/images\/([^/]+)$/,
        json(({ name, query }) => (query.get('promote') === '1' ? promoteImage(name) : images.remove(host, name))),
      ],
      [/^POST \/images\/([^/]+)\/verify$/, json(({ name }) => images.verify(host, name))],
      [
        /^POST \/images\/([^/]+)\/sign$/,
        json(({ name, query }) => images.sign(host, name, query.get('key') ?? undefined)),
      ],
      [
        /^GET \/images\/([^/]+)\/disks\/\d+$/,
        async ({ name, response, request }) => {
          const disk = Number(/(\d+)$/.exec(request.url ?? '')?.[1]);
          // What is not there is told before anything is sent.
          await images.show(host, name);
          await sendDisk(images.read(host, name, disk), response);
        },
      ],
      [/^GET \/keys$/, json(() => trust.list(host))],
      [/^PUT \/keys\/([^/]+)$/, json(async ({ name, request }) => trust.add(host, name, await readBody(request)))],
      [/^DELETE \/keys\/([^/]+)$/, json(({ name }) => trust.revoke(host, name))],
    ];
  }

  readonly handle = (request: IncomingMessage, response: ServerResponse): void => {
    void this.#answer(request, response).catch((error: unknown) => {
      const body = toErrorBody(error);
      if (response.headersSent) response.end(`${JSON.stringify({ type: 'error', error: body } satisfies Line)}\n`);
      else sendJson(response, httpStatus(body), { error: body });
    });
  };

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://brigd');
    const target = `${request.method} ${url.pathname.startsWith(PREFIX) ? url.pathname.slice(PREFIX.length) : ''}`;
    for (const [pattern, handler] of this.#routes) {
      const match = pattern.exec(target);
      if (match)
        return await handler({ request, response, query: url.searchParams, name: decodeURIComponent(match[1] ?? '') });
    }
    throw new BrigError('api.invalid', `${request.method} ${url.pathname}: no such resource`, { hint: 'see brigd(8)' });
  }

  async #create(call: Call): Promise<void> {
    const spec = await this.#o.complete(await readBody(call.request));
    await this.#operate({ ...call, name: spec.name }, (request) => this.#o.engine.create(spec, request));
  }

  /** An image of a VM's disks; who goes away before its end gets none. */
  async #imageFrom({ request, response, query, name }: Call): Promise<void> {
    const gone = new AbortController();
    const about = await readBody(request);
    response.once('close', () =>
      gone.abort(new BrigError('saga.cancelled', `build image of ${name}: its sender went away`)),
    );
    const view = await this.#o.imageFrom(name, query.get('snapshot') ?? undefined, about, gone.signal);
    sendJson(response, 200, view);
  }

  /** Streams the events of one operation; it goes on when the client goes away. */
  async #operate(call: Call, work: (request: Request) => Promise<unknown>): Promise<void> {
    const { response, name, query } = call;
    const graceMs = numberOf(query, 'graceMs');
    let stop: (() => void) | undefined;
    const send = (line: Line): void => {
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(`${JSON.stringify(line)}\n`);
    };
    const request: Request = {
      cause: 'operator',
      ...(graceMs === undefined ? {} : { graceMs }),
      onBegin: (operation) => {
        send({ type: 'begin', id: operation.id });
        stop = this.#o.events.listen((event) => send({ type: 'event', event }), name);
      },
    };
    try {
      const result = await work(request);
      send({ type: 'result', result });
      response.end();
    } finally {
      stop?.();
    }
  }

  /** Streams what happens to all VMs; it goes on when the client goes away. */
  async #shutdown({ response, query }: Call): Promise<void> {
    const forMs = numberOf(query, 'graceMs') ?? LIMITS.shutdownTimeoutMs;
    const send = (line: Line): boolean => response.write(`${JSON.stringify(line)}\n`);
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    send({ type: 'begin', id: 'shutdown' });
    const stop = this.#o.events.listen((event) => void send({ type: 'event', event }));
    try {
      send({ type: 'result', result: await this.#o.boot.shutdown(forMs) });
      response.end();
    } finally {
      stop();
    }
  }

  async #plan(call: Call): Promise<void> {
    const verb = call.query.get('verb');
    if (verb !== 'start' && verb !== 'stop' && verb !== 'destroy')
      throw new BrigError(
        'api.invalid',
        `plan ${call.name}: expected verb start, stop or destroy, got ${verb ?? 'none'}`,
      );
    sendJson(
      call.response,
      200,
      await this.#o.engine.plan(verb, call.name, numberOf(call.query, 'graceMs') ?? LIMITS.stopTimeoutMs),
    );
  }

  #cancel(call: Call): Promise<void> {
    const operation = this.#o.engine.operations.all().find((each) => each.id === call.name);
    operation?.abort.abort();
    sendJson(call.response, 200, { cancelled: operation !== undefined });
    return Promise.resolve();
  }

  async #buildBase(call: Call): Promise<void> {
    const built = await this.#o.bases.build(this.#o.host, call.query.get('key') ?? undefined);
    this.#o.events.add('base.built', 'operator', undefined, { digest: built.digest, key: built.key });
    sendJson(call.response, 200, built);
  }

  async #removeBase(call: Call): Promise<void> {
    const { removed } = await this.#o.bases.remove(this.#o.host, call.name);
    this.#o.events.add('base.removed', 'operator', undefined, { digest: removed });
    sendJson(call.response, 200, { removed });
  }

  #events(call: Call): Promise<void> {
    const { response, query } = call;
    const { events } = this.#o;
    const vm = query.get('vm') ?? undefined;
    const write = (event: unknown): boolean => response.write(`${JSON.stringify(event)}\n`);
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    let after = numberOf(query, 'after') ?? 0;
    for (let page = events.list(after, 1000, vm); page.length > 0; page = events.list(after, 1000, vm)) {
      for (const event of page) write(event);
      after = page.at(-1)?.seq ?? after;
    }
    if (query.get('follow') !== '1') response.end();
    else {
      response.flushHeaders();
      const stop = events.listen(write, vm);
      response.on('close', stop);
    }
    return Promise.resolve();
  }

  /** A console: 101, history, then raw bytes both ways. A reader that cannot keep up is let go. */
  readonly upgrade = (request: IncomingMessage, socket: Duplex): void => {
    socket.on('error', () => socket.destroy());
    void this.#attach(request, socket).catch((error: unknown) => {
      const body = toErrorBody(error);
      const text = JSON.stringify({ error: body });
      socket.end(
        `HTTP/1.1 ${httpStatus(body)} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
      );
    });
  };

  async #attach(request: IncomingMessage, socket: Duplex): Promise<void> {
    const match = /^\/v1\/vms\/([^/?]+)\/console$/.exec(request.url ?? '');
    if (!match || request.headers.upgrade !== UPGRADE)
      throw new BrigError(
        'api.invalid',
        `upgrade ${request.url}: expected /v1/vms/NAME/console with Upgrade: ${UPGRADE}`,
      );
    const name = this.#o.engine.row(decodeURIComponent(match[1] ?? '')).name;
    const read = (chunk: Buffer): void => {
      if (socket.writableLength > LIMITS.consoleLagBytes) socket.destroy();
      else socket.write(chunk);
    };
    const console = await this.#o.consoles.attach(name, read, () => socket.end());
    socket.on('close', () => console.close());
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${UPGRADE}\r\n\r\n`);
    socket.write(console.history);
    socket.on('data', (chunk: Buffer) => console.write(chunk));
  }
}
