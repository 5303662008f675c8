import type { NetworkView } from '../../platform/networks.ts';
import type { Access } from '../../engine/access.ts';
import type { Request } from '../../engine/request.ts';
import type { Principal } from '../../acl/principal.ts';
import { NODE } from '../../acl/policy.ts';
import type { ApiOptions } from '../options.ts';
import type { Call, Route } from '../route.ts';

const nameOf = ({ params }: Call): string => params.name ?? '';
const jailOf = ({ params }: Call): string => params.jail ?? '';

const bodyOf = async (call: Call): Promise<object> => {
  const body = await call.body();
  return typeof body === 'object' && body !== null ? body : {};
};

/** What a document that nobody has checked calls itself. */
const namedBy = (body: { readonly name?: unknown }): string => (typeof body.name === 'string' ? body.name : '');

/** Without what its caller may not know: others' VMs, and what is on the host. */
const forCaller = <V extends NetworkView>(access: Access, who: Principal, view: V): V =>
  access.can(who, 'view', NODE)
    ? view
    : { ...view, vms: view.vms.filter((vm) => access.canSeeVm(who, vm)), jails: [], faults: [] };

/** Networks that documents say, and jails on them. */
export const networkRoutes = <Seen>({ engine, access, findNetwork }: ApiOptions<Seen>): Route[] => {
  const { networks } = engine;
  const tag: Route['tag'] = ({ params }) => {
    const spec = findNetwork(params.name ?? '');
    return spec && JSON.stringify(spec);
  };
  const holder = (call: Call): string => `network/${nameOf(call)}`;
  /** Whose caller is told of others' VMs how many they are. */
  const of = ({ who }: Call, request: Request): Request => ({ ...request, sees: (each) => access.canSee(who, each) });
  return [
    {
      ...{ method: 'GET', path: '/networks', summary: 'the networks that the caller may view' },
      ...{ needs: { within: 'view of each network' }, answer: 'NetworkView[]', cost: 10 },
      run: {
        json: async ({ who }) =>
          (await networks.list())
            .filter(({ name }) => access.can(who, 'view', { kind: 'network', name }))
            .map((view) => forCaller(access, who, view)),
      },
    },
    {
      ...{ method: 'POST', path: '/networks', summary: 'define a network', answer: 'NetworkDetail' },
      // Interfaces, addresses and routes of the host are in it; `network` on the node puts VMs on those that are there.
      ...{ needs: { verb: 'admin', on: 'node' }, body: 'NetworkDocument' },
      run: {
        holder: async (call) => `network/${namedBy(await bodyOf(call))}`,
        change: async (call, request) => networks.create(await call.body(), request),
      },
    },
    {
      ...{ method: 'GET', path: '/networks/{name}', summary: 'one network, with its document', tag },
      ...{ needs: { verb: 'view', on: 'network' }, answer: 'NetworkDetail', cost: 10 },
      run: { json: async (call) => forCaller(access, call.who, await networks.show(nameOf(call))) },
    },
    {
      ...{ method: 'PUT', path: '/networks/{name}', summary: 'another document for a network', tag },
      ...{ needs: { verb: 'admin', on: 'network' }, body: 'NetworkDocument', answer: 'NetworkDetail' },
      run: {
        holder,
        change: async (call, request) =>
          forCaller(access, call.who, await networks.edit(nameOf(call), await call.body(), of(call, request))),
      },
    },
    {
      ...{ method: 'DELETE', path: '/networks/{name}', summary: 'remove a network', tag },
      ...{ needs: { verb: 'destroy', on: 'network' }, answer: 'Outcome' },
      run: { holder, change: (call, request) => networks.destroy(nameOf(call), of(call, request)) },
    },
    {
      ...{ method: 'GET', path: '/networks/{name}/leases', summary: 'who has which address of a network' },
      ...{ needs: { verb: 'view', on: 'network' }, answer: 'LeaseView[]' },
      run: {
        json: (call) => {
          const { who } = call;
          const all = access.can(who, 'view', NODE);
          const leases = networks.leases(nameOf(call));
          return Promise.resolve(leases.filter(({ holder: vm }) => all || access.canSeeVm(who, vm)));
        },
      },
    },
    ...jailRoutes(engine.networks),
  ];
};

const jailRoutes = <Seen>(networks: ApiOptions<Seen>['engine']['networks']): Route[] => {
  const holder = (call: Call): string => `jail/${jailOf(call)}@${nameOf(call)}`;
  return [
    {
      ...{ method: 'PUT', path: '/networks/{name}/jails/{jail}', summary: 'put a jail on a network' },
      ...{ needs: { verb: 'admin', on: 'node' }, body: 'Attachment', answer: 'JailView' },
      run: {
        holder,
        change: async (call, request) =>
          networks.attach(nameOf(call), { ...(await bodyOf(call)), jail: jailOf(call) }, request),
      },
    },
    {
      ...{ method: 'DELETE', path: '/networks/{name}/jails/{jail}', summary: 'take a jail off a network' },
      ...{ needs: { verb: 'admin', on: 'node' }, answer: 'Outcome' },
      run: {
        holder,
        change: (call, request) => networks.jails.detach(nameOf(call), jailOf(call), request),
      },
    },
  ];
};
