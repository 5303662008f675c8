import { BrigError, messageOf } from '../base/errors.ts';
import type { Step } from '../base/step.ts';
import type { JailView } from '../platform/networks.ts';
import { parseAttachment } from '../spec/attachment.ts';
import type { AttachmentRow } from '../store/attachments.ts';
import type { SagaRow } from '../store/rows.ts';
import { tellLeases } from './leases.ts';
import type { NetworksOptions } from './networks.ts';
import type { Operation } from './operation.ts';
import { placeAttachment } from './place.ts';
import type { Outcome, Request } from './request.ts';

export const JAIL = 'jail/';

/** Whose changes, events and claims they are. */
const holderOf = (network: string, jail: string): string => `${JAIL}${jail}@${network}`;
const keyOf = ({ network, spec }: AttachmentRow): string => holderOf(network, spec.jail);

/** Jails of somebody else's on brig's networks: there while the jail is, and given back when it goes. */
export class Attachments<Seen> {
  readonly #o: NetworksOptions<Seen>;
  /** Why one has nothing on the host. */
  readonly #waits = new Map<string, string>();
  #work: Promise<void> = Promise.resolve();

  constructor(options: NetworksOptions<Seen>) {
    this.#o = options;
  }

  #steps(row: AttachmentRow): readonly Step[] {
    return this.#o.platform.attachSteps(placeAttachment(row, this.#o.places));
  }

  /** Those of a network. */
  on(network: string): JailView[] {
    const rows = this.#o.store.attachments.list().filter((each) => each.network === network);
    return rows.map((row) => {
      const { nic } = placeAttachment(row, this.#o.places);
      const waits = this.#waits.get(keyOf(row));
      const faults = this.#o.upkeep.faults(keyOf(row)).map(({ because, reason }) => `${because}: ${reason}`);
      const reason = [...(waits === undefined ? [] : [waits]), ...faults].join('; ');
      const { unit, mac, guest } = nic;
      return {
        ...{ jail: row.spec.jail, state: waits === undefined ? 'attached' : 'waiting' },
        ...{ unit, mac, addresses: guest.addresses, labels: row.spec.labels },
        ...(reason === '' ? {} : { reason }),
      };
    });
  }

  /** Errors: spec.invalid; network.exists; network.blocked for what is no vnet jail; as a lease's; the step that failed. */
  async attach(network: string, document: unknown, request: Request): Promise<JailView> {
    const spec = parseAttachment(document);
    const { store, host, upkeep, events, looks, platform } = this.#o;
    const { jail } = spec;
    const holder = holderOf(network, jail);
    return await this.#o.operate(holder, 'attach', request, async (operation) => {
      const state = platform.jailOf(await looks.fresh('run'), jail);
      if (state !== 'there') throw noJail(network, jail, state);
      const row = store.attach(network, spec, host.now());
      try {
        await this.#refuseHost(holder, row);
        await upkeep.up(holder, this.#steps(row), operation, request.cause);
      } catch (error) {
        store.detach(network, jail);
        throw error;
      }
      events.add('jail.attached', request.cause, holder);
      tellLeases(events, 'lease.acquired', request.cause, holder, row.addresses);
      return this.on(network).find((each) => each.jail === jail) as JailView;
    });
  }

  async #refuseHost(holder: string, row: AttachmentRow): Promise<void> {
    const { changes, platform, looks } = this.#o;
    const attached = placeAttachment(row, this.#o.places);
    platform.attend(this.#steps(row));
    changes.refuse({ holder }, 'attach', platform.checkAttached(await looks.fresh('run'), attached));
  }

  /** Errors: network.unknown when it is not on it; saga.stuck. */
  async detach(network: string, jail: string, request: Request): Promise<Outcome> {
    const holder = holderOf(network, jail);
    return await this.#o.operate(holder, 'detach', request, async (operation) => {
      const { store, upkeep, events } = this.#o;
      const row = store.attachments.find(network, jail);
      if (!row)
        throw new BrigError('network.unknown', `detach jail ${jail}@${network}: it is not on that network`, {
          hint: `brig network show ${network}`,
        });
      await upkeep.down(holder, this.#steps(row), operation, request.cause);
      store.detach(network, jail);
      this.#waits.delete(holder);
      events.add('jail.detached', request.cause, holder);
      tellLeases(events, 'lease.released', request.cause, holder, row.addresses);
      return { changed: true };
    });
  }

  /** Whose jail has gone gives all back but its leases, and has it again when the jail returns. */
  pass(seen: Seen): void {
    const { operations, platform, store } = this.#o;
    const rows = store.attachments.list();
    // What an unfinished change left is taken back first.
    const unfinished = new Set(rows.length === 0 ? [] : store.listSagas().map(({ vm }) => vm));
    for (const row of rows) {
      const holder = keyOf(row);
      if (operations.find(holder) || unfinished.has(holder)) continue;
      const isThere = platform.jailOf(seen, row.spec.jail) === 'there';
      if (isThere && !this.#o.upkeep.has(holder)) this.#later(() => this.#return(row));
      if (isThere || (this.#waits.has(holder) && !this.#o.upkeep.has(holder))) continue;
      this.#o.upkeep.leave(holder);
      this.#later(() => this.#lose(row));
    }
  }

  /** Resolves when what passes began is over. */
  settled(): Promise<void> {
    return this.#work;
  }

  #later(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#o.events.add('brigd.failed', 'brigd', undefined, { reason: messageOf(error) });
    });
  }

  #own(row: AttachmentRow, work: (operation: Operation) => Promise<void>): Promise<void> {
    if (this.#o.store.attachments.find(row.network, row.spec.jail) !== row) return Promise.resolve();
    return this.#o.operate(keyOf(row), 'repair', { cause: 'host' }, work);
  }

  async #lose(row: AttachmentRow): Promise<void> {
    const holder = keyOf(row);
    await this.#own(row, async (operation) => {
      await this.#o.upkeep.down(holder, this.#steps(row), operation, 'host');
      this.#wait(holder, `jail ${row.spec.jail} is gone`, 'jail.gone');
    });
  }

  async #return(row: AttachmentRow): Promise<void> {
    const holder = keyOf(row);
    await this.#own(row, async (operation) => {
      try {
        await this.#refuseHost(holder, row);
        await this.#o.upkeep.up(holder, this.#steps(row), operation, 'host');
      } catch (error) {
        this.#wait(holder, messageOf(error), 'jail.failed');
        return;
      }
      if (this.#waits.delete(holder)) this.#o.events.add('jail.attached', 'host', holder);
    });
  }

  #wait(holder: string, reason: string, kind: 'jail.gone' | 'jail.failed'): void {
    if (this.#waits.get(holder) === reason) return;
    this.#waits.set(holder, reason);
    this.#o.events.add(kind, 'host', holder, { reason });
  }

  /** What an earlier brigd did not finish is taken back: of an attach all of it, else until the next pass. */
  async recover({ id, vm: holder, verb, steps }: SagaRow): Promise<void> {
    await this.#o.operate(holder, 'clean', { cause: 'brigd' }, async () => {
      this.#o.upkeep.leave(holder);
      await this.#o.upkeep.takeBack(holder, steps, id);
      const row = this.#o.store.attachments.list().find((each) => keyOf(each) === holder);
      if (row && (verb === 'attach' || verb === 'detach')) this.#o.store.detach(row.network, row.spec.jail);
    });
  }
}

const noJail = (network: string, jail: string, state: 'gone' | 'no vnet'): BrigError =>
  new BrigError(
    'network.blocked',
    `attach jail ${jail}@${network}: expected a running jail with a vnet of its own, got ${state === 'gone' ? 'no such jail' : "one in the host's network"}`,
    { retry: 'operator', hint: `jls name vnet; then brig network attach ${network} --jail ${jail}` },
  );
