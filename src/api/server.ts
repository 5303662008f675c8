import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Decision } from '../acl/policy.ts';
import type { Principal } from '../acl/principal.ts';
import { BrigError, toErrorBody } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';
import type { Request } from '../engine/request.ts';
import { parseWith } from '../spec/document.ts';
import { Admittance } from './admittance.ts';
import { lineWriter, onClosed, sendError, sendText } from './answer.ts';
import { bodyReader } from './body.ts';
import { entryOf, type Note } from './ledger.ts';
import type { ApiOptions } from './options.ts';
import { httpStatus, PREFIX, type Line } from './protocol.ts';
import { Repeats } from './repeats.ts';
import { Router, type Call, type Matched, type Route } from './route.ts';
import { routesOf } from './routes/table.ts';
import { Tally } from './tally.ts';
import { Throttle } from './throttle.ts';
import { Traffic } from './traffic.ts';
import { refuseOn } from './upgrade.ts';

/** A request as it comes in. */
interface Came {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly who: Principal;
  readonly body: AsyncIterable<Buffer>;
}

/** A request as it goes through. */
interface Passage {
  readonly call: Call;
  readonly route: Route;
  readonly note: Note;
  readonly verb: string;
}

/** `/v1/vms/web` as segments below /v1, each decoded once. Errors: api.invalid. */
const segmentsOf = (path: string): string[] => {
  if (!path.startsWith(`${PREFIX}/`)) throw noResource(path);
  try {
    return path.slice(PREFIX.length).split('/').map(decodeURIComponent);
  } catch {
    throw new BrigError('api.invalid', 'read request: expected a path in percent-encoding, got something else');
  }
};

const noResource = (path: string, method = ''): BrigError =>
  new BrigError('api.unknown', `${method} ${escapeControls(path.slice(0, 200))}: no such resource`.trim(), {
    hint: 'see brigd(8)',
  });

const KINDS: Readonly<Record<string, string>> = { vms: 'vm', networks: 'network', images: 'image', secrets: 'secret' };

/** What a path names, for the log. */
const objectOf = ({ route, params }: Matched): string => {
  const kind = route.path.split('/')[1] ?? '';
  const name = Object.values(params).join('/');
  return escapeControls(name === '' ? 'node' : `${KINDS[kind] ?? kind}:${name}`.slice(0, 200));
};

/** Its error is told when its turn has come. */
const attempt = <T>(work: () => T): { readonly found: T } | { readonly error: unknown } => {
  try {
    return { found: work() };
  } catch (error) {
    return { error };
  }
};

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';

const isChange = ({ method }: Route): boolean => method !== 'GET';

/** `"..."`, another for another text. */
const etagOf = (text: string): string => `"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"`;

const queryOf = (route: Route, query: URLSearchParams): Record<string, unknown> => {
  const keys = [...query.keys()];
  const seen = new Set<string>();
  const twice = keys.find((key) => seen.size === seen.add(key).size);
  const strange = twice ?? (route.query ? undefined : keys[0]);
  if (strange !== undefined)
    throw new BrigError(
      'api.invalid',
      `read query: expected ${twice === undefined ? 'none' : 'each key once'}, got ${JSON.stringify(strange.slice(0, 60))}`,
    );
  return route.query ? parseWith(route.query, Object.fromEntries(query), 'query', 'api.invalid') : {};
};

/** The rule that an error speaks of, for the log: its caller is not told whether there is such a thing. */
const ruleOf = (error: unknown): string | undefined =>
  error instanceof BrigError ? (error.cause as Decision | undefined)?.rule : undefined;

/** Answers every request of the API: known, in turn, allowed, written down, done. */
export class Api<Seen> {
  readonly #o: ApiOptions<Seen>;
  readonly #router: Router;
  readonly #throttle: Throttle;
  readonly #traffic = new Traffic();
  readonly admittance: Admittance<Seen>;
  readonly #repeats: Repeats;
  readonly #tally: Tally;

  constructor(options: ApiOptions<Seen>) {
    this.#o = options;
    this.#router = new Router(routesOf(options, this.#traffic));
    this.#throttle = new Throttle();
    this.#tally = new Tally(options.ledger);
    this.admittance = new Admittance(options);
    this.#repeats = new Repeats(options.store, () => options.host.now());
  }

  /** `body`: what is known to be the request's; by default as it comes. */
  readonly handle = (
    request: IncomingMessage,
    response: ServerResponse,
    who: Principal,
    body: AsyncIterable<Buffer> = request,
  ): void => {
    response.once('close', () => this.#traffic.count(request.method, response.headersSent ? response.statusCode : 0));
    void this.#answer({ request, response, who, body }).catch((error: unknown) => {
      if (response.headersSent)
        response.end(`${JSON.stringify({ type: 'error', error: toErrorBody(error) } satisfies Line)}\n`);
      else sendError(response, error);
    });
  };

  #find(request: IncomingMessage): Matched & { readonly query: Record<string, unknown> } {
    const url = request.url ?? '/';
    const at = url.indexOf('?');
    const path = at < 0 ? url : url.slice(0, at);
    const found = this.#router.find(request.method ?? '', segmentsOf(path));
    if (!found) throw noResource(path, request.method);
    return { ...found, query: queryOf(found.route, new URLSearchParams(at < 0 ? '' : url.slice(at + 1))) };
  }

  async #answer(came: Came): Promise<void> {
    const [passage, end] = await this.#begin(came);
    try {
      await this.#through(passage, () => this.#run(passage));
    } finally {
      // Who goes away has what he began under way still, and who stays has what he is sent.
      onClosed(came.response, end);
    }
  }

  /** Found, and in turn; with how to end that. What was no request of ours costs its turn, and is written down, too. */
  async #begin({ request, response, who, body }: Came): Promise<[Passage, () => void]> {
    let end = (): void => undefined;
    try {
      const sought = attempt(() => this.#find(request));
      if (!who.isRoot) end = await this.#throttle.enter(who.id, 'found' in sought ? sought.found.route.cost : 1);
      if ('error' in sought) throw sought.error;
      const { found } = sought;
      const { route, params, query } = found;
      const call: Call = { who, params, query, ...bodyReader(body), request, response };
      const note: Note = { object: objectOf(found), rule: '' };
      return [{ call, route, note, verb: `${route.method} ${route.path}` }, end];
    } catch (error) {
      end();
      const verb = `${request.method ?? ''} ${escapeControls((request.url ?? '').split('?')[0]?.slice(0, 100) ?? '')}`;
      const result = toErrorBody(error).code;
      const note: Note = { object: 'node', rule: 'not understood' };
      const entry = entryOf(who, verb, note, { phase: 'told', decision: 'deny', result });
      if (result === 'api.busy') this.#tally.add(who.id, entry);
      else void this.#o.ledger.append(entry).catch(() => 0);
      throw error;
    }
  }

  /** Asks whether it may be, and writes down that it was, and how it ended. */
  async #through({ call, route, note, verb }: Passage, work: () => Promise<void>): Promise<void> {
    const { ledger } = this.#o;
    const write = (rest: Parameters<typeof entryOf>[3], durable = false): Promise<number> =>
      ledger.append(entryOf(call.who, verb, note, rest), { durable });
    // An answer need not wait for what says that it was given.
    const tell = (decision: 'allow' | 'deny', result: string): void =>
      void write({ phase: note.of === undefined ? 'told' : 'end', decision, result }).catch(() => 0);
    try {
      note.rule = await this.admittance.check(call, route);
      if (isChange(route)) note.of = await write({ phase: 'begin', decision: 'allow' }, true).catch(forgiveRoot(call));
      await work();
      tell('allow', 'ok');
    } catch (error) {
      const { code } = toErrorBody(error);
      const rule = ruleOf(error);
      if (rule !== undefined) note.rule = rule;
      const decision = rule !== undefined || code === 'acl.denied' ? 'deny' : 'allow';
      tell(decision, code);
      throw error;
    }
  }

  async #run({ call, route, note }: Passage): Promise<void> {
    const { run } = route;
    // A body may take its time, and what its sender may do be less by then; nor is one that nobody asked for left unread.
    if (route.takes === undefined && hasBody(call.request)) await call.bytes();
    if ('raw' in run) return await run.raw(call);
    if ('upgrade' in run)
      throw new BrigError('api.invalid', `${note.object}: expected Upgrade: ${Object.keys(run.upgrade).join(' or ')}`);
    const tag = route.method === 'GET' ? route.tag?.(call) : undefined;
    if (tag !== undefined) call.response.setHeader('etag', etagOf(tag));
    await this.#repeats.once(call, route, async (remember) => {
      if ('change' in run) return await this.#operate(call, route, note, remember);
      this.admittance.checkAgain(call, route);
      this.#checkTag(call, route);
      const text = `${JSON.stringify(await run.json(call))}\n`;
      remember(200, text);
      sendText(call.response, 200, text);
    });
  }

  /** Errors: api.changed when somebody else changed it since its caller read it. */
  #checkTag(call: Call, route: Route): void {
    const wanted = call.request.headers['if-match'];
    if (wanted === undefined || route.method === 'GET') return;
    const tag = route.tag?.(call);
    if (tag !== undefined && (wanted === '*' || wanted === etagOf(tag))) return;
    throw new BrigError(
      'api.changed',
      `change: expected If-Match of what is there, got ${tag === undefined ? 'none' : 'another'}`,
      {
        retry: 'operator',
        hint: 'read it again: somebody changed it meanwhile',
      },
    );
  }

  /** Streams the events of one operation; it goes on when the client goes away. */
  async #operate(call: Call, route: Route, note: Note, remember: Remember): Promise<void> {
    const { run } = route;
    if (!('change' in run)) return;
    const holder = run.holder ? await run.holder(call) : (call.params.name ?? '');
    if (note.object === 'node') note.object = escapeControls(holder.includes('/') ? holder : `vm:${holder}`);
    let stop: (() => void) | undefined;
    const lines = lineWriter(call.response);
    const send = (line: Line): void => lines.send(`${JSON.stringify(line)}\n`);
    const request: Request = {
      cause: 'operator',
      onBegin: (operation) => {
        // From here on nobody else changes it; before, it may have become another's.
        this.admittance.checkAgain(call, route);
        this.#checkTag(call, route);
        note.saga = operation.id;
        send({ type: 'begin', id: operation.id });
        stop = this.#o.events.listen((event) => send({ type: 'event', event }), holder);
      },
    };
    try {
      const result: Line = { type: 'result', result: await run.change(call, request) };
      remember(200, `${JSON.stringify(result)}\n`);
      send(result);
      call.response.end();
    } finally {
      stop?.();
    }
  }

  /** Bytes both ways: a console, a screen. */
  readonly upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer, who: Principal): void => {
    socket.on('error', () => socket.destroy());
    void this.#attach(request, socket, head, who).catch((error: unknown) => {
      this.#traffic.count(request.method, httpStatus(toErrorBody(error)));
      refuseOn(socket, error);
    });
  };

  async #attach(request: IncomingMessage, socket: Duplex, head: Buffer, who: Principal): Promise<void> {
    // There is no answer to write to: what goes on is the socket's.
    const came = { request, response: undefined as never, who, body: request };
    const [passage, end] = await this.#begin(came);
    onClosed(socket, end);
    const { route, call } = passage;
    await this.#through(passage, async () => {
      const protocol = String(request.headers.upgrade).toLowerCase();
      const handlers = 'upgrade' in route.run ? route.run.upgrade : {};
      const handler = Object.hasOwn(handlers, protocol) ? handlers[protocol] : undefined;
      if (!handler)
        throw new BrigError('api.invalid', `upgrade ${passage.note.object}: expected a resource that can be upgraded`);
      await handler(call, socket, head);
      this.#traffic.count(request.method, 101);
    });
  }
}

export type Remember = (status: number, text: string) => void;

/** A full disk must not keep root from mending it; everybody else waits for a log that can be written. */
const forgiveRoot =
  ({ who }: Call) =>
  (error: unknown): number => {
    if (who.isRoot) return 0;
    throw error;
  };
