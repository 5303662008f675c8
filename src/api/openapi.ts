import { z } from 'zod';
import { PREFIX } from './protocol.ts';
import type { Media, Route } from './route.ts';
import { ANSWERS, BODIES } from './schemas/index.ts';

type Json = Readonly<Record<string, unknown>>;

/** The version of the document: that of the API, whose resources and keys are added and never changed. */
const VERSION = '1.0.0';

const refTo = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });

/** A schema without what belongs to a document of its own. */
const bare = (schema: object): Json =>
  Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '$id'));

/** Of one direction: a body may leave out what has a default, an answer does not. */
const schemasOf = (schemas: Readonly<Record<string, z.ZodType>>, io: 'input' | 'output'): Record<string, Json> => {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id });
  const made = z.toJSONSchema(registry, {
    ...{ io, uri: (id) => `#/components/schemas/${id}` },
    // A size is a number or a text: what it comes out as is nobody's business here.
    unrepresentable: 'any',
  });
  return Object.fromEntries(Object.entries(made.schemas).map(([id, schema]) => [id, bare(schema)]));
};

/** `GET /vms/{name}/disks/{disk}` as `getVmsNameDisksDisk`. */
const operationIdOf = ({ method, path }: Route): string => {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return method.toLowerCase() + words.map((word) => (word[0] ?? '').toUpperCase() + word.slice(1)).join('');
};

const header = (name: string, description: string, schema: Json = { type: 'string' }): Json => ({
  ...{ name, in: 'header', required: false, description, schema },
});

const pathParameters = ({ path }: Route): Json[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));

const queryParameters = ({ query }: Route): Json[] => {
  if (!query) return [];
  const { properties = {}, required = [] } = z.toJSONSchema(query, { io: 'input' }) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    ...{ name, in: 'query', required: required.includes(name), schema },
  }));
};

/** Whether it may have a key: what is not kept in any form has none. */
const isChange = ({ method, run, isSecret }: Route): boolean =>
  method !== 'GET' && !isSecret && ('json' in run || 'change' in run);

const headerParameters = (route: Route): Json[] => [
  ...(route.tag && route.method !== 'GET'
    ? [header('If-Match', 'the ETag of what was read: refused when it is another by now, or *')]
    : []),
  ...(isChange(route)
    ? [
        header('Idempotency-Key', 'the same request under the same key is done once', {
          ...{ type: 'string', pattern: '^[\\x21-\\x7e]{1,128}$' },
        }),
      ]
    : []),
  ...(route.media?.includes('text/event-stream')
    ? [header('Last-Event-ID', 'a cursor, where the query has none', { type: 'string', pattern: '^\\d{1,12}$' })]
    : []),
  ...('upgrade' in route.run
    ? [header('Upgrade', 'what the connection becomes', { type: 'string', enum: Object.keys(route.run.upgrade) })]
    : []),
];

const answerSchema = (answer: string): Json =>
  answer.endsWith('[]') ? { type: 'array', items: refTo(answer.slice(0, -2)) } : refTo(answer);

/** Lines of an operation, the last of them with this result. */
const lineOf = (answer: string): Json => ({
  allOf: [
    refTo('Line'),
    {
      if: { properties: { type: { const: 'result' } } },
      then: { required: ['result'], properties: { result: answerSchema(answer) } },
    },
  ],
});

/** What an answer of a raw run is, in one of its forms. */
const mediaOf = (media: Media, answer = 'Outcome'): Json => {
  if (media === 'application/octet-stream') return { schema: { description: 'bytes: see brigd(8)' } };
  if (media === 'text/plain') return { schema: { type: 'string' } };
  return { schema: eachLine('of each line', answer.endsWith('[]') ? refTo(answer.slice(0, -2)) : lineOf(answer)) };
};

const eachLine = (description: string, schema: Json): Json => ({ description, ...schema });

const contentOf = ({ run, answer, media }: Route): Json => {
  if (media) return Object.fromEntries(media.map((each) => [each, mediaOf(each, answer)]));
  if (!('change' in run)) return { 'application/json': answer === undefined ? {} : { schema: answerSchema(answer) } };
  const line = lineOf(answer ?? 'Outcome');
  return {
    'application/x-ndjson': { schema: eachLine('of each line', line) },
    // The last line of the first time.
    'application/json': { schema: eachLine('of a repeated request', line) },
  };
};

const answered = (route: Route): Json => {
  if ('upgrade' in route.run) return { 101: { description: 'bytes both ways' } };
  const isTagged = route.tag !== undefined && route.method === 'GET';
  const headers = {
    ...(isTagged ? { ETag: { schema: { type: 'string' } } } : {}),
    ...(isChange(route)
      ? { 'Idempotent-Replayed': { schema: { const: 'true' }, description: 'it was done before under this key' } }
      : {}),
  };
  return {
    200: {
      description: 'change' in route.run ? 'what happens, line by line; an error may be the last' : route.summary,
      ...(Object.keys(headers).length === 0 ? {} : { headers }),
      content: contentOf(route),
    },
  };
};

const ERRORS = {
  400: 'the request is wrong',
  401: 'from elsewhere: not signed by a key that is known here',
  403: 'nobody allows it, and the hint says who may',
  404: 'there is no such thing, or none that the caller may view',
  409: 'what is there, or under way, is against it',
  412: 'If-Match: it was changed meanwhile',
  429: 'too many requests at once, or the same one is under way: come again after Retry-After',
  500: 'it failed; the body says what was attempted and why',
} as const;

const failures = (route: Route): Json => {
  const mayClash = route.tag !== undefined && route.method !== 'GET';
  const statuses = Object.keys(ERRORS).filter((status) => status !== '412' || mayClash);
  return Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/E${status}` }]));
};

const requestBody = ({ body, takes }: Route): Json => {
  if (takes) return { requestBody: { required: true, content: { [takes]: {} } } };
  if (body === undefined) return {};
  return { requestBody: { required: true, content: { 'application/json': { schema: refTo(body) } } } };
};

const operationOf = (route: Route): Json => {
  const parameters = [...pathParameters(route), ...queryParameters(route), ...headerParameters(route)];
  return {
    ...{ operationId: operationIdOf(route), summary: route.summary, tags: [route.path.split('/')[1] ?? ''] },
    ...(parameters.length === 0 ? {} : { parameters }),
    ...requestBody(route),
    responses: { ...answered(route), ...failures(route) },
    'x-brig-needs': route.needs,
    ...(route.cost === undefined ? {} : { 'x-brig-cost': route.cost }),
  };
};

const pathsOf = (routes: readonly Route[]): Json => {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method.toLowerCase()] = operationOf(route);
  return paths;
};

const failureSchema = { type: 'object', required: ['error'], properties: { error: refTo('Error') } };
const responses = Object.fromEntries(
  Object.entries(ERRORS).map(([status, description]) => [
    `E${status}`,
    { description, content: { 'application/json': { schema: { ...failureSchema, additionalProperties: false } } } },
  ]),
);

/** The API as an OpenAPI 3.1 document. */
export const openapiOf = (routes: readonly Route[]): Json => ({
  openapi: '3.1.1',
  info: {
    ...{ title: 'brigd', version: VERSION, license: { name: 'BSD-2-Clause', identifier: 'BSD-2-Clause' } },
    summary: 'VMs, each in a jail of its own',
    description:
      'Over a unix socket the kernel says who calls; from elsewhere requests are signed (RFC 9421). Keys are added to answers, never changed. Sizes are bytes, times milliseconds since the epoch. See brigd(8).',
  },
  servers: [{ url: PREFIX }],
  paths: pathsOf(routes),
  components: { schemas: { ...schemasOf(BODIES, 'input'), ...schemasOf(ANSWERS, 'output') }, responses },
});
