import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import type { Principal } from '../acl/principal.ts';
import type { Verb } from '../acl/roles.ts';
import type { Request } from '../engine/request.ts';
import type { AnswerName, BodyName } from './shapes.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** What a request must be given before its handler runs. `on` names the object that the path names. */
export type Need =
  | { readonly verb: Verb; readonly on: 'vm' | 'network' | 'image' | 'node' }
  /** The handler itself decides, for each thing that it shows or changes; in words, how. */
  | { readonly within: string };

export type Media = 'application/x-ndjson' | 'text/event-stream' | 'application/octet-stream' | 'text/plain';

/** One request, after it was matched and let in. */
export interface Call {
  readonly who: Principal;
  /** Of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** As the route's schema made it. */
  readonly query: Readonly<Record<string, unknown>>;
  /** JSON, bounded in size and time. Errors: api.invalid. */
  body(): Promise<unknown>;
  /** The same as it came. */
  bytes(): Promise<Buffer>;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** What comes of it. */
export type Run =
  /** One value. */
  | { readonly json: (call: Call) => Promise<unknown> }
  /** An operation: its events as lines, then its result; it goes on when its caller goes away. */
  | {
      readonly change: (call: Call, request: Request) => Promise<unknown>;
      /** Whose events its caller follows. Absent: the VM's of the path. */
      readonly holder?: (call: Call) => string | Promise<string>;
    }
  /** Whatever its handler writes. */
  | { readonly raw: (call: Call) => Promise<void> }
  /** Bytes both ways, by the name in Upgrade. */
  | { readonly upgrade: Readonly<Record<string, (call: Call, socket: Duplex, head: Buffer) => Promise<void>>> };

/** One resource and method of the API: who may, what goes in, what comes out. */
export interface Route {
  readonly method: Method;
  /** Below /v1. Shape: `/vms/{name}/start` */
  readonly path: string;
  readonly summary: string;
  readonly needs: Need;
  /** Unknown keys are errors; absent: there are none. */
  readonly query?: z.ZodObject;
  readonly body?: BodyName;
  /** A body that is not JSON. */
  readonly takes?: Media;
  /** With [] for a list of them. Absent: not JSON. */
  readonly answer?: AnswerName | `${AnswerName}[]`;
  /** How a raw run writes its answer: a list as lines, too, anything else as the lines of an operation. Absent: JSON. */
  readonly media?: readonly Media[];
  /** Its body is kept nowhere, in no form. */
  readonly isSecret?: true;
  /** What it costs, in requests: for the rate of its caller. Absent: one. */
  readonly cost?: number;
  /** A text that is another whenever the document is another: for ETag and If-Match. What runs is not in it. */
  readonly tag?: (call: Pick<Call, 'params' | 'who'>) => string | undefined;
  readonly run: Run;
}

/** `/vms/web/start` as a route of `/vms/{name}/start` sees it. */
const paramsOf = (pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined => {
  const params: Record<string, string> = {};
  for (const [i, part] of pattern.entries()) {
    const segment = segments[i] ?? '';
    if (part.startsWith('{')) params[part.slice(1, -1)] = segment;
    else if (part !== segment) return undefined;
  }
  return params;
};

export interface Matched {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

/** Finds the route of a request: by method and number of segments first. */
export class Router {
  readonly routes: readonly Route[];
  readonly #table = new Map<string, { readonly route: Route; readonly pattern: readonly string[] }[]>();

  constructor(routes: readonly Route[]) {
    this.routes = routes;
    for (const route of routes) {
      const pattern = route.path.split('/');
      const key = `${route.method} ${pattern.length}`;
      this.#table.set(key, [...(this.#table.get(key) ?? []), { route, pattern }]);
    }
  }

  /** `segments`: of the path below /v1, decoded, with an empty one first. */
  find(method: string, segments: readonly string[]): Matched | undefined {
    for (const { route, pattern } of this.#table.get(`${method} ${segments.length}`) ?? []) {
      const params = paramsOf(pattern, segments);
      if (params) return { route, params };
    }
    return undefined;
  }
}
