import type { ApiOptions } from '../options.ts';
import type { Route } from '../route.ts';
import type { Traffic } from '../traffic.ts';
import { accessRoutes, auditRoutes, keyRoutes } from './access.ts';
import { consoleRoutes } from './consoles.ts';
import { documentRoutes } from './document.ts';
import { imageRoutes } from './images.ts';
import { metricsRoutes } from './metrics.ts';
import { networkRoutes } from './networks.ts';
import { nodeRoutes } from './node.ts';
import { secretRoutes } from './secrets.ts';
import { vmRoutes } from './vms.ts';

/** All that the API answers. */
export const routesOf = <Seen>(options: ApiOptions<Seen>, traffic: Traffic): readonly Route[] => {
  const routes: Route[] = [
    ...vmRoutes(options),
    ...consoleRoutes(options),
    ...networkRoutes(options),
    ...imageRoutes(options),
    ...nodeRoutes(options),
    ...accessRoutes(options),
    ...keyRoutes(options),
    ...auditRoutes(options),
    ...secretRoutes(options),
    ...metricsRoutes(options, traffic),
  ];
  return [...routes, ...documentRoutes(() => routes)];
};
