import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { openapiOf } from '../../../src/api/openapi.ts';
import type { Route } from '../../../src/api/route.ts';
import { ANSWERS, BODIES } from '../../../src/api/schemas/index.ts';

const change = { change: () => Promise.resolve({}) };
const json = { json: () => Promise.resolve({}) };
const raw = { raw: () => Promise.resolve() };

const routes: Route[] = [
  {
    ...{ method: 'GET', path: '/vms/{name}', summary: 'one VM', answer: 'VmView', tag: () => 'x', run: json },
    needs: { verb: 'view', on: 'vm' },
  },
  {
    ...{ method: 'POST', path: '/vms', summary: 'define a VM', body: 'VmDocument', answer: 'VmView', run: change },
    ...{ needs: { within: 'create' }, query: z.strictObject({ template: z.string().optional(), graceMs: z.string() }) },
  },
  {
    ...{ method: 'DELETE', path: '/vms/{name}', summary: 'remove', answer: 'Outcome', tag: () => 'x', run: change },
    needs: { verb: 'destroy', on: 'vm' },
  },
  {
    ...{ method: 'GET', path: '/events', summary: 'events', answer: 'EventRow[]', run: raw, needs: { within: 'x' } },
    media: ['application/x-ndjson', 'text/event-stream'],
  },
  {
    ...{ method: 'GET', path: '/vms/{name}/console', summary: 'console', needs: { verb: 'console', on: 'vm' } },
    run: { upgrade: { 'brig-console': () => Promise.resolve() } },
  },
];

type Operation = {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
};
const document = openapiOf(routes);
const { paths } = document as unknown as { paths: Record<string, Record<string, Operation>> };
const operation = (method: string, path: string): Operation => {
  const found = paths[path]?.[method];
  if (!found) throw new Error(`${method} ${path} is not there`);
  return found;
};
const namesOf = ({ parameters = [] }: Operation): string[] => parameters.map((each) => `${each.in} ${each.name}`);

const validate = async (what: Readonly<Record<string, unknown>>): Promise<unknown> => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(structuredClone(what));
  expect(validator.version).toBe('3.1');
  return valid ? 'valid' : errors;
};

test('the document is OpenAPI 3.1', async () => {
  expect(await validate(document)).toBe('valid');
});

test('the validator finds what is wrong', async () => {
  const { info, ...rest } = document;
  expect(info).toBeDefined();
  expect(await validate(rest)).not.toBe('valid');
});

test('every $ref leads somewhere', () => {
  const text = JSON.stringify(document);
  const refs = new Set(
    [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)].map(([, kind, name]) => [kind, name]),
  );
  const { components } = document as { components: Record<string, Record<string, unknown>> };
  expect(refs.size).toBeGreaterThan(10);
  for (const [kind = '', name = ''] of refs) expect(components[kind]?.[name], `${kind} ${name}`).toBeDefined();
  expect([...text.matchAll(/"\$ref":"(?!#\/components\/)[^"]*/g)].map(([all]) => all)).toEqual([]);
});

test('every schema is in it under its name', () => {
  const { components } = document as { components: { schemas: object } };
  expect(Object.keys(components.schemas).sort()).toEqual([...Object.keys(ANSWERS), ...Object.keys(BODIES)].sort());
});

test('a size of a document goes in as text or number, and defaults need not be said', () => {
  const { components } = document as { components: { schemas: Record<string, { required?: string[] }> } };
  expect(components.schemas.VmDocument?.required).toEqual(['name']);
  expect(components.schemas.VmView?.required).toContain('labels');
});

test('what is read has a tag, and a change may ask for it and have a key', () => {
  expect(namesOf(operation('get', '/vms/{name}'))).toEqual(['path name']);
  expect(namesOf(operation('delete', '/vms/{name}'))).toEqual([
    ...['path name', 'header If-Match', 'header Idempotency-Key'],
  ]);
  expect(operation('get', '/vms/{name}').responses['200']).toHaveProperty('headers.ETag');
  expect(Object.keys(operation('delete', '/vms/{name}').responses)).toContain('412');
  expect(Object.keys(operation('post', '/vms').responses)).not.toContain('412');
});

test('values of a query are told with whether they must be there', () => {
  expect(operation('post', '/vms').parameters?.filter((each) => each.in === 'query')).toMatchObject([
    { name: 'template', required: false },
    { name: 'graceMs', required: true },
  ]);
});

test('operations answer lines, events two ways, consoles bytes', () => {
  const typesOf = (method: string, path: string): string[] =>
    Object.keys(operation(method, path).responses['200']?.content ?? {});
  expect(typesOf('post', '/vms')).toEqual(['application/x-ndjson', 'application/json']);
  expect(typesOf('get', '/events')).toEqual(['application/x-ndjson', 'text/event-stream']);
  expect(Object.keys(operation('get', '/vms/{name}/console').responses)[0]).toBe('101');
});

test('no two operations have one id', () => {
  const ids = Object.values(paths).flatMap((each) => Object.values(each).map(({ operationId }) => operationId));
  expect(new Set(ids).size).toBe(routes.length);
  expect(ids).toContain('getVmsNameConsole');
});
