import { NODE } from '../../acl/policy.ts';
import type { Principal } from '../../acl/principal.ts';
import { stateOnly, type VmState } from '../../engine/views.ts';
import { sendText } from '../answer.ts';
import { renderMetrics } from '../metrics.ts';
import type { ApiOptions } from '../options.ts';
import type { Route } from '../route.ts';
import type { Traffic } from '../traffic.ts';

/** Whoever may see all shares one list with all who do. */
const statesFor = async <Seen>({ engine, access }: ApiOptions<Seen>, who: Principal): Promise<readonly VmState[]> =>
  access.scope(who, 'vm').all ? await engine.states() : (await engine.views(access.vms(who))).map(stateOnly);

/** What Prometheus asks for. */
export const metricsRoutes = <Seen>(o: ApiOptions<Seen>, traffic: Traffic): Route[] => [
  {
    ...{ method: 'GET', path: '/metrics', summary: 'what Prometheus reads, in its text format 0.0.4' },
    ...{ needs: { within: 'view of each VM and network; of the node for what is its own' }, cost: 10 },
    media: ['text/plain'],
    run: {
      raw: async ({ who, response }) => {
        const { access, engine, counters, ledger } = o;
        const isOfNode = access.can(who, 'view', NODE);
        const names = o.networkNames().filter((name) => access.can(who, 'view', { kind: 'network', name }));
        const text = renderMetrics({
          ...{ counters, traffic, auditHead: ledger.head.seq, operations: engine.operations.all() },
          vms: await statesFor(o, who),
          networks: names.map((name) => ({ name, subnets: engine.networks.subnets(name) })),
          ...(isOfNode ? { node: await o.figures() } : {}),
        });
        sendText(response, 200, text, 'text/plain; version=0.0.4; charset=utf-8');
      },
    },
  },
];
