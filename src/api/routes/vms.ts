import { z } from 'zod';
import { BrigError } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { explain } from '../../engine/explain.ts';
import type { Request } from '../../engine/request.ts';
import { sendText } from '../answer.ts';
import type { ApiOptions } from '../options.ts';
import type { Call, Route } from '../route.ts';
import { force, grace, milliseconds, page, text, whole } from './queries.ts';

const nameOf = ({ params }: Call): string => params.name ?? '';
const graceOf = ({ query }: Call): Partial<Request> =>
  typeof query.graceMs === 'number' ? { graceMs: query.graceMs } : {};

/** The last name of a full page leads to the next. */
const sendPage = (call: Call, names: readonly string[], json: Buffer): void => {
  const { limit } = call.query;
  const last = names.at(-1);
  if (typeof limit === 'number' && last !== undefined && names.length === limit)
    call.response.setHeader('link', `</v1/vms?limit=${limit}&after=${encodeURIComponent(last)}>; rel="next"`);
  sendText(call.response, 200, json);
};

type Tag = NonNullable<Route['tag']>;

/** VMs: what they are, and what is done to them. */
export const vmRoutes = <Seen>(o: ApiOptions<Seen>): Route[] => {
  const { engine, access } = o;
  const tag: Tag = ({ params }) => {
    const row = o.findVm(params.name ?? '');
    return row && JSON.stringify(row.spec);
  };
  return [
    {
      ...{ method: 'GET', path: '/vms', summary: 'the VMs that the caller may view' },
      ...{ needs: { within: 'view of each VM' }, query: z.strictObject(page), answer: 'VmView[]' },
      run: {
        raw: async (call) => {
          const { limit, after } = call.query as { limit?: number; after?: string };
          if (limit === undefined && after === undefined && access.scope(call.who, 'vm').all)
            return sendText(call.response, 200, await engine.listJson());
          if (limit !== undefined && (limit < 1 || limit > LIMITS.pageMost))
            throw new BrigError('api.invalid', `list VMs: expected a limit from 1 to ${LIMITS.pageMost}, got ${limit}`);
          const rows = access.vms(call.who).filter(({ name }) => after === undefined || name > after);
          const some = rows.slice(0, limit ?? rows.length);
          const names = some.map(({ name }) => name);
          sendPage(call, names, Buffer.from(`${JSON.stringify(await engine.views(some))}\n`));
        },
      },
    },
    {
      ...{ method: 'POST', path: '/vms', summary: 'define a VM, and make its disks', answer: 'VmView' },
      ...{ needs: { within: 'create on the node, or on the template that is named; then what its document asks for' } },
      ...{ query: z.strictObject({ template: text.optional() }), body: 'VmDocument', cost: 10 },
      run: {
        holder: async (call) => (await o.specOf(call)).name,
        change: async (call, request) => engine.create(await o.specOf(call), request),
      },
    },
    {
      ...{ method: 'GET', path: '/vms/{name}', summary: 'one VM in full', answer: 'VmView', tag },
      ...{ needs: { verb: 'view', on: 'vm' }, run: { json: (call) => o.showVm(nameOf(call), call.who) } },
    },
    {
      ...{ method: 'DELETE', path: '/vms/{name}', summary: 'remove a VM, its disks and its leases', tag },
      ...{ needs: { verb: 'destroy', on: 'vm' }, query: force, answer: 'Outcome' },
      run: {
        change: (call, request) => engine.destroy(nameOf(call), { ...request, force: call.query.force === true }),
      },
    },
    {
      ...{ method: 'GET', path: '/templates', summary: 'what the caller may create of', answer: 'TemplateView[]' },
      ...{ needs: { within: 'create on the node, or view or create on each template' } },
      run: { json: ({ who }) => o.templates(who) },
    },
    ...powerRoutes(o, tag),
    ...toldRoutes(o),
    ...snapshotRoutes(o, tag),
  ];
};

const powerRoutes = <Seen>({ engine }: ApiOptions<Seen>, tag: Tag): Route[] => {
  const change = (
    verb: string,
    summary: string,
    run: (call: Call, request: Request) => Promise<unknown>,
    query = z.strictObject({}),
  ): Route => ({
    ...{ method: 'POST', path: `/vms/{name}/${verb}`, summary, needs: { verb: 'power', on: 'vm' } },
    ...{ query, answer: 'Outcome', tag, run: { change: run } },
  });
  return [
    change('start', 'start a VM in its jail', (call, request) => engine.start(nameOf(call), request)),
    change(
      'stop',
      'ask the guest to shut down, then force it',
      (call, request) => engine.stop(nameOf(call), { ...request, ...graceOf(call) }),
      grace,
    ),
    change('kill', 'end a VM at once', (call, request) => engine.stop(nameOf(call), { ...request, graceMs: 0 })),
    change(
      'restart',
      'stop, then start',
      (call, request) => engine.restart(nameOf(call), { ...request, ...graceOf(call) }),
      grace,
    ),
    change(
      'resolve',
      'go on with what got stuck',
      (call, request) => engine.resolve(nameOf(call), { ...request, ...graceOf(call) }),
      grace,
    ),
  ];
};

/** What is told of a VM. */
const toldRoutes = <Seen>(o: ApiOptions<Seen>): Route[] => {
  const { engine } = o;
  return [
    {
      ...{ method: 'GET', path: '/vms/{name}/plan', summary: 'every step and command of a change; runs none' },
      ...{ needs: { verb: 'view', on: 'vm' }, answer: 'PlanLine[]', cost: 10 },
      query: z.strictObject({
        verb: z.enum(['start', 'stop', 'destroy'], { error: 'expected start, stop or destroy' }),
        graceMs: milliseconds,
      }),
      run: {
        json: (call) => {
          const { verb, graceMs } = call.query as { verb: 'start' | 'stop' | 'destroy'; graceMs?: number };
          return engine.plan(verb, nameOf(call), graceMs ?? LIMITS.stopTimeoutMs);
        },
      },
    },
    {
      ...{ method: 'GET', path: '/vms/{name}/explain', summary: 'why a VM is as it is', answer: 'Explanation' },
      ...{ needs: { verb: 'view', on: 'vm' }, cost: 10 },
      run: { json: (call) => explain(engine, o.reconciler, o.events, nameOf(call)) },
    },
    {
      ...{ method: 'GET', path: '/vms/{name}/audit', summary: 'the sandbox of a running VM, measured' },
      ...{ needs: { verb: 'view', on: 'vm' }, answer: 'Audit[]', cost: 20 },
      run: { json: (call) => o.audit([nameOf(call)], true) },
    },
  ];
};

const snapshotRoutes = <Seen>({ engine: { snapshots } }: ApiOptions<Seen>, tag: Tag): Route[] => [
  {
    ...{ method: 'GET', path: '/vms/{name}/snapshots', summary: 'snapshots of a VM', answer: 'SnapshotView[]' },
    ...{ needs: { verb: 'view', on: 'vm' }, cost: 10, run: { json: (call) => snapshots.list(nameOf(call)) } },
  },
  {
    ...{ method: 'POST', path: '/vms/{name}/snapshots', summary: 'all disks at one moment', answer: 'SnapshotView' },
    ...{ needs: { verb: 'snapshot', on: 'vm' }, query: z.strictObject({ name: text.optional() }) },
    run: {
      change: (call, request) => snapshots.make(nameOf(call), (call.query as { name?: string }).name, request),
    },
  },
  {
    ...{ method: 'POST', path: '/vms/{name}/snapshots/{snapshot}/rollback', summary: 'back to a snapshot' },
    ...{ needs: { verb: 'snapshot', on: 'vm' }, query: force, answer: 'Outcome', tag },
    run: {
      change: (call, request) =>
        snapshots.rollback(nameOf(call), call.params.snapshot ?? '', call.query.force === true, request),
    },
  },
  {
    ...{ method: 'DELETE', path: '/vms/{name}/snapshots/{snapshot}', summary: 'remove a snapshot', answer: 'Outcome' },
    ...{ needs: { verb: 'snapshot', on: 'vm' } },
    run: { change: (call, request) => snapshots.remove(nameOf(call), call.params.snapshot ?? '', request) },
  },
  {
    ...{ method: 'POST', path: '/vms/{name}/disks/{disk}/resize', summary: 'make a disk larger', answer: 'Outcome' },
    ...{ needs: { verb: 'edit', on: 'vm' }, query: z.strictObject({ bytes: whole }), tag },
    run: {
      change: (call, request) => {
        const { bytes } = call.query as { bytes: number };
        return snapshots.resize(nameOf(call), diskOf(call), bytes, request);
      },
    },
  },
];

/** Errors: api.invalid. */
export const diskOf = ({ params: { disk = '' } }: Call): number => {
  if (/^\d{1,3}$/.test(disk)) return Number(disk);
  throw new BrigError('api.invalid', 'find disk: expected its number, got something else');
};
