import { z } from 'zod';
import { BrigError } from '../../base/errors.ts';
import { sendDisk, takeImage } from '../images.ts';
import { sendJson } from '../answer.ts';
import type { ApiOptions } from '../options.ts';
import type { Call, Need, Route } from '../route.ts';
import { flag, text } from './queries.ts';
import { diskOf } from './vms.ts';

const refOf = ({ params }: Call): string => params.ref ?? '';
/** Names of images are everybody's: the newest of a name is what others' documents mean by it. */
const ofNode: Need = { verb: 'admin', on: 'node' };
const keyQuery = z.strictObject({ key: text.optional() });

/** Images, and who may sign them. */
export const imageRoutes = <Seen>(o: ApiOptions<Seen>): Route[] => {
  const { images, host, access } = o;
  const nameOf = ({ name = '', version = '' }: { name?: string; version?: string }): string => `${name}:${version}`;
  return [
    {
      ...{ method: 'GET', path: '/images', summary: 'the images that the caller may view', answer: 'ImageView[]' },
      ...{ needs: { within: 'view of each image' }, cost: 10 },
      run: {
        json: async ({ who }) =>
          (await images.list(host)).filter((view) => access.can(who, 'view', { kind: 'image', name: nameOf(view) })),
      },
    },
    {
      ...{ method: 'POST', path: '/images', summary: 'bring an image in: frames', answer: 'ImageView' },
      ...{ needs: ofNode, takes: 'application/octet-stream' },
      run: { raw: ({ request, response }) => takeImage(images, host, request, response) },
    },
    {
      ...{ method: 'POST', path: '/images/from/{name}', summary: 'an image of the disks of a VM', answer: 'ImageView' },
      ...{ needs: ofNode, query: z.strictObject({ snapshot: text.optional() }), body: 'ImageAbout' },
      run: {
        raw: (call) => imageFrom(o, call),
      },
    },
    {
      ...{ method: 'POST', path: '/images/gc', summary: 'remove images that nobody uses', needs: ofNode },
      ...{ query: z.strictObject({ dry: flag.optional() }), answer: 'GcLine[]' },
      run: { json: ({ query }) => images.gc(host, query.dry === true) },
    },
    {
      ...{ method: 'GET', path: '/images/{ref}', summary: 'one image, with its manifest', answer: 'SignedImage' },
      ...{ needs: { verb: 'view', on: 'image' }, run: { json: (call) => images.show(host, refOf(call)) } },
    },
    {
      ...{ method: 'DELETE', path: '/images/{ref}', summary: 'remove an image', answer: 'Removed' },
      ...{ needs: { verb: 'destroy', on: 'image' }, query: z.strictObject({ promote: flag.optional() }) },
      run: {
        json: (call) =>
          call.query.promote === true ? o.promoteImage(refOf(call), call.who) : images.remove(host, refOf(call)),
      },
    },
    {
      ...{ method: 'POST', path: '/images/{ref}/verify', summary: 'read an image again', answer: 'ImageReport' },
      ...{ needs: { verb: 'image', on: 'image' }, cost: 50 },
      run: { json: (call) => images.verify(host, refOf(call)) },
    },
    {
      ...{ method: 'POST', path: '/images/{ref}/sign', summary: 'sign an image', answer: 'ImageView' },
      // `key` is a file of the node.
      ...{ needs: { verb: 'admin', on: 'node' }, query: keyQuery },
      run: { json: (call) => images.sign(host, refOf(call), (call.query as { key?: string }).key) },
    },
    {
      ...{ method: 'GET', path: '/images/{ref}/disks/{disk}', summary: 'the disk of an image: frames' },
      ...{ needs: { verb: 'image', on: 'image' }, cost: 20, media: ['application/octet-stream'] },
      run: {
        raw: async (call) => {
          const disk = diskOf(call);
          // What is not there is told before anything is sent.
          await images.show(host, refOf(call));
          await sendDisk(images.read(host, refOf(call), disk), call.response);
        },
      },
    },
    ...signerRoutes(o),
  ];
};

/** Who may sign. */
const signerRoutes = <Seen>({ trust, host }: ApiOptions<Seen>): Route[] => [
  {
    ...{ method: 'GET', path: '/keys', summary: 'who may sign here', answer: 'KeyView[]' },
    ...{ needs: { verb: 'view', on: 'node' }, run: { json: () => trust.list(host) } },
  },
  {
    ...{ method: 'PUT', path: '/keys/{name}', summary: 'trust who signs with a key', answer: 'KeyView' },
    ...{ needs: { verb: 'admin', on: 'node' }, body: 'KeyLine' },
    run: { json: async (call) => trust.add(host, call.params.name ?? '', await call.body()) },
  },
  {
    ...{ method: 'DELETE', path: '/keys/{name}', summary: 'trust a signing key no more', answer: 'KeyView' },
    ...{ needs: { verb: 'admin', on: 'node' }, run: { json: (call) => trust.revoke(host, call.params.name ?? '') } },
  },
];

/** An image of a VM's disks; who goes away before its end gets none. */
const imageFrom = async <Seen>(o: ApiOptions<Seen>, call: Call): Promise<void> => {
  const { response, params, query } = call;
  const gone = new AbortController();
  const about = await call.body();
  const name = params.name ?? '';
  response.once('close', () =>
    gone.abort(new BrigError('saga.cancelled', `build image of ${name}: its sender went away`)),
  );
  const { snapshot } = query as { snapshot?: string };
  sendJson(response, 200, await o.imageFrom(name, snapshot, about, gone.signal));
};
