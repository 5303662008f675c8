import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';
import { NODE } from '../../acl/policy.ts';
import type { Principal } from '../../acl/principal.ts';
import { LIMITS } from '../../base/limits.ts';
import type { EventRow } from '../../store/rows.ts';
import { drained, lineWriter, onClosed } from '../answer.ts';
import type { ApiOptions } from '../options.ts';
import type { Line } from '../protocol.ts';
import type { Call, Need, Route } from '../route.ts';
import { flag, grace, text, whole } from './queries.ts';

const viewNode: Need = { verb: 'view', on: 'node' };
const adminNode: Need = { verb: 'admin', on: 'node' };

/** The node itself: what happens on it, how fit it is, what its jails are made of. */
export const nodeRoutes = <Seen>(o: ApiOptions<Seen>): Route[] => {
  const { access, reconciler } = o;
  return [
    {
      ...{ method: 'GET', path: '/findings', summary: 'what is not as brig made it', answer: 'FindingRow[]' },
      needs: { within: 'view of each VM' },
      run: {
        json: ({ who }) => Promise.resolve(reconciler.findings().filter(({ vm }) => access.canSee(who, vm))),
      },
    },
    {
      ...{ method: 'POST', path: '/shutdown', summary: 'stop every VM that runs, in order', answer: 'ShutdownEnd' },
      ...{ needs: adminNode, query: grace, media: ['application/x-ndjson'], run: { raw: (call) => shutdown(o, call) } },
    },
    {
      ...{ method: 'POST', path: '/operations/{id}/cancel', summary: 'cancel what is under way', answer: 'Cancelled' },
      needs: { within: 'power on its VM' },
      run: { json: (call) => Promise.resolve({ cancelled: cancel(o, call) }) },
    },
    {
      ...{ method: 'GET', path: '/events', summary: 'what happened, oldest first: lines, or server-sent events' },
      ...{ needs: { within: 'view of each VM' }, answer: 'EventRow[]', cost: 10 },
      media: ['application/x-ndjson', 'text/event-stream'],
      query: z.strictObject({ after: whole.optional(), vm: text.optional(), follow: flag.optional() }),
      run: { raw: (call) => sendEvents(o, call) },
    },
    {
      ...{ method: 'GET', path: '/audit', summary: 'the sandboxes of running VMs, measured', answer: 'Audit[]' },
      ...{ needs: { within: 'view of each VM' }, cost: 50 },
      run: {
        json: ({ who }) =>
          o.audit(
            access.vms(who).map(({ name }) => name),
            false,
          ),
      },
    },
    {
      ...{ method: 'GET', path: '/doctor', summary: 'how fit this node is', answer: 'Finding[]', cost: 20 },
      ...{ needs: viewNode, run: { json: () => o.doctor() } },
    },
    {
      ...{ method: 'GET', path: '/quotas', summary: 'what owners have, and may have', answer: 'QuotaView[]' },
      needs: { within: 'his own; of all for view on the node' },
      run: {
        json: ({ who }) =>
          Promise.resolve(o.quotas(access.can(who, 'view', NODE) ? 'all' : who.owner === undefined ? [] : [who.owner])),
      },
    },
    ...baseRoutes(o),
  ];
};

/** What jails are made of. */
const baseRoutes = <Seen>({ bases, host, events }: ApiOptions<Seen>): Route[] => [
  {
    ...{ method: 'GET', path: '/base', summary: 'the roots of jails', answer: 'BaseView[]' },
    ...{ needs: viewNode, run: { json: () => bases.list(host) } },
  },
  {
    ...{ method: 'POST', path: '/base', summary: 'build and sign a root from this host', answer: 'BaseView' },
    // `key` is a file of the node.
    ...{ needs: adminNode, query: z.strictObject({ key: text.optional() }) },
    run: {
      json: async ({ query }) => {
        const built = await bases.build(host, (query as { key?: string }).key);
        events.add('base.built', 'operator', undefined, { digest: built.digest, key: built.key });
        return built;
      },
    },
  },
  {
    ...{ method: 'GET', path: '/base/{digest}', summary: 'one root, with its manifest', answer: 'SignedManifest' },
    ...{ needs: viewNode, run: { json: ({ params }) => bases.show(host, params.digest ?? '') } },
  },
  {
    ...{ method: 'POST', path: '/base/{digest}/verify', summary: 'read a root again', answer: 'BaseReport' },
    ...{ needs: adminNode, run: { json: ({ params }) => bases.verify(host, params.digest ?? '') } },
  },
  {
    ...{ method: 'DELETE', path: '/base/{digest}', summary: 'remove a root', answer: 'Removed', needs: adminNode },
    run: {
      json: async ({ params }) => {
        const { removed } = await bases.remove(host, params.digest ?? '');
        events.add('base.removed', 'operator', undefined, { digest: removed });
        return { removed };
      },
    },
  },
];

/** What was before the VM that has the name now was another's. */
const isOfOther = <Seen>({ access, findVm }: ApiOptions<Seen>, who: Principal, { vm, atMs }: EventRow): boolean =>
  vm !== undefined && atMs < (findVm(vm)?.createdMs ?? 0) && !access.can(who, 'view', NODE);

/** Of what somebody could see, its end is his to hear, too: it is not there any more by then. */
const hearing = <Seen>(o: ApiOptions<Seen>, who: Principal): ((event: EventRow) => boolean) => {
  const seen = new Set<string>();
  return (event) => {
    const { vm, kind } = event;
    // It is about the reader's own cursor: what he may have missed, he must know.
    if (kind === 'events.gap') return true;
    if (isOfOther(o, who, event)) return false;
    const may = o.access.canSee(who, vm) || (vm !== undefined && kind === 'vm.destroyed' && seen.has(vm));
    if (may && vm !== undefined && !who.isRoot) seen.add(vm);
    if (kind === 'vm.destroyed' && vm !== undefined) seen.delete(vm);
    return may;
  };
};

const cancel = <Seen>({ engine, access, findVm }: ApiOptions<Seen>, { who, params }: Call): boolean => {
  const operation = engine.operations.all().find(({ id }) => id === params.id);
  if (!operation) return false;
  const row = findVm(operation.vm);
  const target = row ? access.targetOf(row) : NODE;
  if (!access.can(who, row ? 'power' : 'admin', target)) return false;
  return engine.operations.cancel(operation);
};

/** Streams what happens to all VMs; it goes on when its caller goes away. */
const shutdown = async <Seen>({ events, boot }: ApiOptions<Seen>, { response, query }: Call): Promise<void> => {
  const forMs = typeof query.graceMs === 'number' ? query.graceMs : LIMITS.shutdownTimeoutMs;
  const lines = lineWriter(response);
  const send = (line: Line): void => lines.send(`${JSON.stringify(line)}\n`);
  send({ type: 'begin', id: 'shutdown' });
  const stop = events.listen((event) => send({ type: 'event', event }));
  try {
    send({ type: 'result', result: await boot.shutdown(forMs) });
    response.end();
  } finally {
    stop();
  }
};

const PAGE = 1_000;

/** A cursor of the query, or of a browser that comes back. */
const cursorOf = ({ query, request }: Call): number => {
  if (typeof query.after === 'number') return query.after;
  const last = request.headers['last-event-id'];
  return typeof last === 'string' && /^\d{1,12}$/.test(last) ? Number(last) : 0;
};

/** No faster than they are read: who is slow is no reason to cut him off. */
const sendPage = async (
  response: Call['response'],
  page: readonly EventRow[],
  write: (event: EventRow) => void,
): Promise<void> => {
  for (const event of page) {
    if (response.destroyed) return;
    write(event);
    await drained(response);
  }
};

/** One that is not in the log is no cursor: whoever comes back goes on after the last that is. */
const sentEvent = ({ seq, kind }: EventRow, text: string): string =>
  `${seq === 0 ? '' : `id: ${seq}\n`}event: ${kind}\ndata: ${text}\n\n`;

const sendEvents = async <Seen>(o: ApiOptions<Seen>, call: Call): Promise<void> => {
  const { response, query, who, request } = call;
  const { events, sessions } = o;
  const isStream = (request.headers.accept ?? '').includes('text/event-stream');
  const { vm, follow = isStream } = query as { vm?: string; follow?: boolean };
  const lines = lineWriter(response, isStream ? 'text/event-stream' : undefined);
  const may = hearing(o, who);
  const write = (event: EventRow): void => {
    if (!may(event)) return;
    const text = JSON.stringify(event);
    lines.send(
      isStream
        ? sentEvent(event, text)
        : `${text}
`,
    );
  };
  lines.begin();
  let after = cursorOf(call);
  for (let page = events.list(after, PAGE, vm); page.length > 0; page = events.list(after, PAGE, vm)) {
    await sendPage(response, page, write);
    after = page.at(-1)?.seq ?? after;
    // Others have their turn between two pages.
    await nextTurn();
    if (response.destroyed) return;
  }
  if (!follow) return void response.end();
  response.flushHeaders();
  const stop = events.listen(write, vm);
  const over = sessions.add(
    who,
    // Whoever is in other groups hears others' VMs: he comes again.
    ({ subjects }) => subjects.join() === who.subjects.join(),
    () => response.destroy(),
  );
  onClosed(response, () => {
    stop();
    over();
  });
};
