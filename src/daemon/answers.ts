import { NODE } from '../acl/policy.ts';
import { admit } from '../engine/admission.ts';
import type { Access } from '../engine/access.ts';
import { auditVms } from '../engine/audit.ts';
import type { Engine } from '../engine/engine.ts';
import { quotaOf } from '../engine/quota.ts';
import { Admittance } from '../api/admittance.ts';
import type { ApiOptions } from '../api/options.ts';
import type { Call } from '../api/route.ts';
import { BrigError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { incomingOf } from '../image/from-vm.ts';
import { listTemplates } from '../io/templates.ts';
import type { ImageStore } from '../image/image-store.ts';
import type { ImageView } from '../platform/images.ts';
import type { Platform } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';
import {
  parseFromTemplate,
  parseTemplate,
  renderChoice,
  renderParameter,
  type TemplateView,
} from '../spec/template.ts';
import { parseVmDocument, type VmSpec } from '../spec/vm.ts';
import type { Store } from '../store/store.ts';
import type { Principal } from '../acl/principal.ts';
import type { VmView } from '../engine/view.ts';

/** What answers are put together from. */
export interface Parts<Seen> {
  readonly engine: Engine<Seen>;
  readonly access: Access;
  readonly images: ImageStore;
  readonly host: Host;
  readonly platform: Platform<Seen>;
  readonly store: Store;
  readonly config: Config;
}

/** Its disks are others than before. Errors: acl.denied, which names no VM that he may not view. */
const checkPromotion = (access: Access, who: Principal, ref: string, vm: string): void => {
  if (access.canSeeVm(who, vm)) return void access.checkVm(who, 'edit', vm);
  throw new BrigError('acl.denied', `promote ${ref}: denied: a VM that you may not view was made of it`, {
    retry: 'operator',
    hint: 'whoever may edit that VM can do it',
  });
};

const promoteImage =
  <Seen>({ engine, access, images, host, store }: Parts<Seen>): ApiOptions<Seen>['promoteImage'] =>
  async (ref, who) => {
    const digest = await images.digestOf(host, ref);
    const users = store.listVms().filter(({ spec }) => spec.image?.digest === digest);
    const [user, ...more] = users;
    if (user && more.length === 0) {
      const onBegin = (): void => checkPromotion(access, who, ref, user.name);
      onBegin();
      await engine.snapshots.promote(user.name, { cause: 'operator', onBegin });
    }
    return await images.remove(host, digest);
  };

const imageFrom =
  <Seen>({ engine, images, host, platform }: Parts<Seen>) =>
  async (vm: string, snapshot: string | undefined, about: unknown, signal: AbortSignal): Promise<ImageView> => {
    const arch = await platform.arch(host);
    return await engine.snapshots.read(vm, snapshot, { cause: 'operator' }, (disks, spec) =>
      images.take(host, incomingOf({ about, arch, disks, spec, snapshot }), signal),
    );
  };

/** A VM in full, with what its owner has and may have. */
const showVm =
  <Seen>({ engine, access, store, config }: Parts<Seen>) =>
  async (name: string, who: Principal): Promise<VmView> => {
    // Whoever asks over and over again does not make the host look at itself every time.
    const view = who.isRoot ? await engine.show(name) : (await engine.views([engine.row(name)]))[0];
    if (!view) throw new BrigError('vm.unknown', `find ${name}: no such VM`);
    const { owner } = view;
    // What else its owner has is nothing of whoever may view this one.
    const isTold = owner !== undefined && (owner === who.owner || access.can(who, 'view', NODE));
    return isTold ? { ...view, quota: quotaOf(owner, store, config) } : view;
  };

const quotas =
  <Seen>({ store, config }: Parts<Seen>): ApiOptions<Seen>['quotas'] =>
  (owners) => {
    const all = new Set([...store.owners(), ...Object.keys(config.quotas).filter((owner) => owner !== '*')]);
    return (owners === 'all' ? [...all].sort() : owners).map((owner) => quotaOf(owner, store, config));
  };

/** A document as its caller says it, or as he chose of a template: whoever may create of that alone chooses no more. */
const statedBy = async <Seen>({ access }: Parts<Seen>, call: Call): Promise<unknown> => {
  const { template: name } = call.query as { template?: string };
  if (name === undefined) {
    access.check(call.who, 'create', NODE, 'create VM');
    return await call.body();
  }
  if (!access.can(call.who, 'create', NODE)) access.check(call.who, 'create', { kind: 'template', name }, 'create VM');
  const file = (await listTemplates()).get(name);
  if (!file)
    throw new BrigError('spec.invalid', `find template: expected one of this node, got another`, {
      hint: 'brig template list',
    });
  return renderChoice(parseTemplate(file.text, `template ${name}`), parseFromTemplate(await call.body(), 'request'));
};

/** Templates of this node that a caller may create of, or look at. */
const templatesFor =
  <Seen>({ access }: Parts<Seen>) =>
  async (who: Principal): Promise<TemplateView[]> => {
    const all = [...(await listTemplates())].filter(
      ([name]) =>
        access.can(who, 'create', NODE) ||
        access.can(who, 'view', { kind: 'template', name }) ||
        access.can(who, 'create', { kind: 'template', name }),
    );
    return all.map(([name, { text }]) => {
      const { summary, parameters } = parseTemplate(text, `template ${name}`);
      const told = Object.entries(parameters).map(([key, each]) => [key, renderParameter(each)]);
      return { name, summary, parameters: Object.fromEntries(told) as Record<string, string> };
    });
  };

/** What a request to create a VM asks for: what its caller may not have is refused before its image is looked at. */
const specOf = <Seen>(parts: Parts<Seen>, admittance: () => Admittance<Seen>): ((call: Call) => Promise<VmSpec>) => {
  const { access, images, host, platform } = parts;
  const known = new WeakMap<Call, Promise<VmSpec>>();
  const make = async (call: Call): Promise<VmSpec> => {
    const { who } = call;
    const stated = await statedBy(parts, call);
    const document = parseVmDocument(stated);
    const admission = {
      access,
      imageOf: (by: Principal, ref: string) => admittance().imageOf(by, ref),
      checkNetwork: (by: Principal, name: string) => void admittance().checkNetwork(by, 'network', name),
    };
    const { owner, image } = await admit(admission, who, document);
    const asked = owner === undefined ? stated : { ...(stated as object), owner };
    const spec = await images.complete(host, asked, { uefi: platform.uefi, arch: await platform.arch(host) });
    if (image !== undefined && image !== `${spec.image?.name}:${spec.image?.version}`)
      throw new BrigError('image.unknown', `find image ${document.image}: another came meanwhile`, { retry: 'later' });
    return spec;
  };
  return (call) => {
    const spec = known.get(call) ?? make(call);
    known.set(call, spec);
    return spec;
  };
};

/** What the API asks of the rest of brigd, beside its parts. */
export const answersOf = <Seen>(parts: Parts<Seen>, admittance: () => Admittance<Seen>) => {
  const { engine, platform, host, store } = parts;
  return {
    findVm: (name: string) => store.findVm(name),
    findNetwork: (name: string) => store.networks.find(name)?.spec,
    networkNames: () => engine.networks.names(),
    showVm: showVm(parts),
    audit: (names: readonly string[], exactly: boolean) => auditVms(engine, platform, host, names, exactly),
    doctor: () => platform.doctor(host),
    quotas: quotas(parts),
    promoteImage: promoteImage(parts),
    imageFrom: imageFrom(parts),
    specOf: specOf(parts, admittance),
    templates: templatesFor(parts),
  };
};
