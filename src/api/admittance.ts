import { NODE } from '../acl/policy.ts';
import type { Principal } from '../acl/principal.ts';
import { BrigError } from '../base/errors.ts';
import type { ApiOptions } from './options.ts';
import type { Call, Route } from './route.ts';

/** Whether a request may be, before its handler runs. */
export class Admittance<Seen> {
  readonly #o: ApiOptions<Seen>;

  constructor(options: ApiOptions<Seen>) {
    this.#o = options;
  }

  /** The rule that lets it in. Errors: acl.denied; as of something that is not there, where its caller may not view it. */
  async check({ who, params }: Call, { needs }: Route): Promise<string> {
    const { access } = this.#o;
    if ('within' in needs) return `within ${needs.within}`;
    const { verb, on } = needs;
    if (on === 'vm') return access.checkVm(who, verb, params.name ?? '').rule;
    if (on === 'node') return access.check(who, verb, NODE).rule;
    if (on === 'network') return this.checkNetwork(who, verb, params.name ?? '');
    if (who.isRoot) return 'root';
    return access.check(who, verb, { kind: 'image', name: await this.imageOf(who, params.ref ?? '') }).rule;
  }

  /**
   * The same at the last moment, of whoever the caller is by then, without waiting: nothing comes between this and what
   * follows. Errors: as above.
   */
  checkAgain({ who, params }: Call, { needs }: Route): void {
    const { access, sessions } = this.#o;
    const now = sessions.now(who);
    if (!now) throw new BrigError('acl.denied', `answer ${who.id}: denied: it is nobody any more`);
    if ('within' in needs) return;
    if (needs.on === 'vm') access.checkVm(now, needs.verb, params.name ?? '');
    else if (needs.on === 'network') this.checkNetwork(now, needs.verb, params.name ?? '');
    else if (needs.on === 'node') access.check(now, needs.verb, NODE);
  }

  checkNetwork(who: Principal, verb: Parameters<ApiOptions<Seen>['access']['check']>[1], name: string): string {
    const { access, networkNames } = this.#o;
    if (who.isRoot) return 'root';
    const target = { kind: 'network' as const, name };
    const decision = access.decide(who, 'view', target);
    if (!networkNames().includes(name) || !decision.allow)
      throw new BrigError('network.unknown', `find network ${name}: no such network`, { cause: decision });
    return access.check(who, verb, target).rule;
  }

  /** NAME:VERSION of an image. Errors: image.unknown for one that is not there, or not for this principal. */
  async imageOf(who: Principal, ref: string): Promise<string> {
    const { access, images, host } = this.#o;
    // The same of one that is not there as of one that is not for him, in his log too.
    const asked = access.decide(who, 'view', { kind: 'image', name: ref });
    const cause = asked.allow ? undefined : asked;
    const unknown = (): BrigError => new BrigError('image.unknown', `find image ${ref}: no such image`, { cause });
    const signed = await images.show(host, ref).catch((error: unknown) => {
      throw error instanceof BrigError && /^image\./.test(error.code) ? unknown() : error;
    });
    const name = `${signed.manifest.name}:${signed.manifest.version}`;
    if (!access.decide(who, 'view', { kind: 'image', name }).allow) throw unknown();
    return name;
  }
}
