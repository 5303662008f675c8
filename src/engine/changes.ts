import type { Host } from '../base/host.ts';
import type { Action, Step } from '../base/step.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Reveal } from '../base/secret.ts';
import type { Platform, Vm } from '../platform/platform.ts';
import { renderEffect } from '../saga/render.ts';
import { definitionOf, effectsOf, planUndo, runActions, type Progress, type RunOptions } from '../saga/run.ts';
import type { Store } from '../store/store.ts';
import type { Pending, SagaRow, Trouble } from '../store/rows.ts';
import type { EventLog } from './events.ts';
import type { Looks } from './looks.ts';
import type { Operation } from './operation.ts';
import { titleOf } from './request.ts';
import { Shared } from './shared.ts';

/** Who asked: an operator, or brig itself after the guest, a crash, the host or its own restart. */
export type Cause = 'operator' | 'guest' | 'crash' | 'host' | 'brigd';

/** One line of `brig plan`. Shape is stable. */
export interface PlanLine {
  readonly op: 'apply' | 'undo' | 'repair';
  readonly step: string;
  readonly because: string;
  readonly commands: readonly string[];
}

/** Whose change it is: a VM's, or that of something which no VM needs, such as `network/lan`. */
export type Subject = Vm | Holder;

export interface Holder {
  readonly holder: string;
}

const nameOf = (of: Subject): string => ('holder' in of ? of.holder : of.spec.name);

export interface ChangeOptions<Seen> {
  readonly host: Host;
  readonly platform: Platform<Seen>;
  readonly store: Store;
  readonly events: EventLog;
  readonly looks: Looks<Seen>;
  /** Tells a secret to the effect that needs it. */
  readonly reveal: Reveal;
}

/** Runs plans of one subject and takes them back: what every operation of the engine is made of. */
export class Changes<Seen> {
  readonly #o: ChangeOptions<Seen>;
  readonly #shared = new Shared();

  constructor(options: ChangeOptions<Seen>) {
    this.#o = options;
  }

  /** Looks at the host for one subject, after nobody else can take away what it shares. */
  async look(of: Subject, steps: readonly Step[]): Promise<Seen> {
    await this.claim(of, steps);
    return await this.observe(of, steps);
  }

  /** The host, with a closer look at one VM, as deep as the steps need. */
  async observe(of: Subject, steps: readonly Step[]): Promise<Seen> {
    const { platform, host, looks } = this.#o;
    platform.attend(steps);
    if ('holder' in of) return await looks.fresh('run');
    const keeps = steps.some((step) => definitionOf(platform.catalogue, step).keeps);
    const ofSnapshot = steps.some((step) => definitionOf(platform.catalogue, step).ofSnapshot);
    return await platform.look(host, await looks.fresh(keeps ? platform.dataDepth(of) : 'run'), of, ofSnapshot);
  }

  claim(of: Subject, steps: readonly Step[]): Promise<void> {
    this.#o.platform.attend(steps);
    const keys = steps.flatMap((step) => definitionOf(this.#o.platform.catalogue, step).shared?.(step.args) ?? []);
    return this.#shared.claim(nameOf(of), keys);
  }

  /** It uses nothing shared any more. */
  letGo(of: Subject): void {
    this.#shared.release(nameOf(of));
  }

  isShared(step: Step): boolean {
    return definitionOf(this.#o.platform.catalogue, step).shared !== undefined;
  }

  /** The intent, durable before the first effect. */
  journal(
    operation: Pick<Operation, 'id' | 'verb'>,
    of: Subject,
    steps: readonly Step[],
    run: string,
    pending?: Pending,
  ): SagaRow {
    const { store, host } = this.#o;
    const { id, verb } = operation;
    const saga = { id, vm: nameOf(of), verb, run, steps, startedMs: host.now(), ...(pending ? { pending } : {}) };
    store.beginSaga(saga);
    return { ...saga, epoch: store.epoch };
  }

  #progress(of: Subject, cause: Cause): Progress {
    const tell = (kind: string, action: Action, more: Record<string, unknown> = {}): void =>
      this.#o.events.add(kind, cause, nameOf(of), { op: action.op, step: action.step.kind, ...more });
    return {
      started: (action) => tell('step.started', action, { because: this.#because(action.step) }),
      done: (action) => tell('step.done', action),
      stage: (action, stage) => tell('step.stage', action, { stage }),
      failed: (action, error) => tell('step.failed', action, { code: error.code, message: error.message }),
    };
  }

  #because(step: Step): string {
    return definitionOf(this.#o.platform.catalogue, step).because(step.args);
  }

  /** Errors: the first step that fails; saga.cancelled. */
  run(
    actions: readonly Action[],
    of: Subject,
    seen: Seen,
    cause: Cause,
    ends: Pick<RunOptions<Seen>, 'signal' | 'hurry'> = {},
  ): Promise<void> {
    const { host, platform, reveal } = this.#o;
    const options = {
      host,
      reveal,
      catalogue: platform.catalogue,
      seen,
      progress: this.#progress(of, cause),
      shared: this.#shared.for(nameOf(of)),
    };
    return runActions(actions, { ...options, ...ends });
  }

  /**
   * Takes back whatever of the steps is there, asks the host again, and says what is left: undefined when nothing is.
   * It stops at the first undo that fails: what comes after may be unsafe (a tap that bhyve still has open).
   */
  async undo(
    of: Subject,
    steps: readonly Step[],
    cause: Cause,
    look?: Seen,
    hurry?: AbortSignal,
  ): Promise<Trouble | undefined> {
    const left = await this.takeBack(of, steps, cause, look, hurry);
    if (!left) this.letGo(of);
    return left;
  }

  /** The same of a VM that may run on, and goes on using what it shares. */
  async takeBack(
    of: Subject,
    steps: readonly Step[],
    cause: Cause,
    look?: Seen,
    hurry?: AbortSignal,
  ): Promise<Trouble | undefined> {
    const { platform, host } = this.#o;
    let seen = look;
    try {
      seen ??= await this.observe(of, steps);
      await this.run(planUndo(platform.catalogue, steps, seen), of, seen, cause, { hurry });
      seen = await this.observe(of, steps);
      // What a dying jail held comes to light when it is gone: once more for that.
      const more = this.#own(planUndo(platform.catalogue, steps, seen));
      if (more.length > 0) {
        await this.run(more, of, seen, cause);
        seen = await this.observe(of, steps);
      }
    } catch (error) {
      const left = await this.#left(of, steps, seen);
      return { kind: 'stuck', reason: `could not clean up: ${messageOf(error)}`, left, atMs: host.now() };
    }
    const left = this.#lines(this.#own(planUndo(platform.catalogue, steps, seen)), seen);
    if (left.length > 0)
      return {
        kind: 'stuck',
        reason: `still there after cleaning up: ${left.map((line) => line.step).join(', ')}`,
        left,
        atMs: host.now(),
      };
    return undefined;
  }

  /** Actions on what is its alone. */
  #own(actions: readonly Action[]): Action[] {
    return actions.filter((action) => !this.isShared(action.step));
  }

  async #left(of: Subject, steps: readonly Step[], before: Seen | undefined): Promise<NonNullable<Trouble['left']>> {
    const { platform } = this.#o;
    const seen = await this.observe(of, steps).catch(() => before);
    return seen === undefined ? [] : this.#lines(planUndo(platform.catalogue, steps, seen), seen);
  }

  #lines(actions: readonly Action[], seen: Seen): PlanLine[] {
    return actions.map((action) => this.line(action, seen));
  }

  /** What an action does and why, for people. */
  line(action: Action, seen: Seen): PlanLine {
    const commands = effectsOf(this.#o.platform.catalogue, action, seen).flatMap(renderEffect);
    return { op: action.op, step: action.step.kind, because: this.#because(action.step), commands };
  }

  /** Remembers and tells why a VM is not what was asked for. */
  trouble(vm: Vm, verb: string, trouble: Trouble, cause: Cause): void {
    this.#o.store.setTrouble(vm.spec.name, { ...trouble, verb });
    this.#o.events.add(`vm.${trouble.kind}`, cause, vm.spec.name, {
      verb,
      reason: trouble.reason.slice(0, LIMITS.quotedBytes),
    });
  }

  /** Errors: vm.blocked with every reason. */
  refuse(
    of: Subject,
    verb: string,
    findings: readonly { level: string; what: string; got: string; mend?: string }[],
  ): void {
    const problems = findings.filter((finding) => finding.level === 'problem');
    const [first] = problems;
    if (!first) return;
    const text = problems.map((finding) => `expected ${finding.what}, got ${finding.got}`).join('; ');
    throw new BrigError('vm.blocked', `${verb} ${titleOf(nameOf(of))}: blocked: ${text}`, {
      retry: 'operator',
      details: { findings: problems },
      ...(first.mend === undefined ? {} : { hint: first.mend }),
    });
  }
}
