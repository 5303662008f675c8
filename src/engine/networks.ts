import type { Moved, NetworkPlacement } from '../base/placed.ts';
import type { Step } from '../base/step.ts';
import { BrigError } from '../base/errors.ts';
import { renderAddress } from '../net/address.ts';
import { Ipam } from '../net/ipam.ts';
import { renderSubnet } from '../net/subnet.ts';
import type { JailView, LeaseView, NetworkView, SubnetView } from '../platform/networks.ts';
import { holdsOf } from '../saga/run.ts';
import { isRouter, parseNetwork, type NetworkSpec } from '../spec/network.ts';
import type { AddressLease, NetworkRow } from '../store/networks.ts';
import type { SagaRow } from '../store/rows.ts';
import { Attachments, JAIL } from './attachments.ts';
import type { ChangeOptions, Changes } from './changes.ts';
import type { Operation, Operations, Verb } from './operation.ts';
import { renderLease } from './leases.ts';
import { blocked, HOLDER, holderOf, refuseConflict } from './network-conflicts.ts';
import { DEFAULT, namesOf, placeNetwork, unknownNetwork, type Places } from './place.ts';
import { toldTo, type Outcome, type Request } from './request.ts';
import type { Upkeep } from './upkeep.ts';

/** What networks, and jails on them, are changed with. */
export interface NetworksOptions<Seen> extends ChangeOptions<Seen> {
  readonly changes: Changes<Seen>;
  readonly places: Places;
  readonly upkeep: Upkeep<Seen>;
  readonly operations: Operations;
  readonly operate: <T>(
    name: string,
    verb: Verb,
    request: Request,
    work: (operation: Operation) => Promise<T>,
  ) => Promise<T>;
}

/** What would help against the first that is in the way, where who asks may know of it. */
const hintOf = (
  command: (name: string) => string,
  { sees = () => true }: Request,
  [first]: readonly string[],
): string | undefined => (first !== undefined && sees(first) ? command(first.replace(/^.*\//, '')) : undefined);

/** Networks that documents say: made, changed and removed. Each is one operation, done or undone. */
export class Networks<Seen> {
  readonly #o: NetworksOptions<Seen>;
  readonly jails: Attachments<Seen>;

  constructor(options: NetworksOptions<Seen>) {
    this.#o = options;
    this.jails = new Attachments(options);
  }

  #row(name: string): NetworkRow {
    const row = this.#o.store.networks.find(name);
    if (row) return row;
    if (namesOf(this.#o.places).includes(name))
      throw blocked('find', name, 'one that a document made', `${name}, which brig.yaml or brig itself made`);
    throw unknownNetwork(name, this.#o.places);
  }

  #placed(name: string): NetworkPlacement {
    return placeNetwork(name, this.#o.places);
  }

  #steps(name: string): readonly Step[] {
    return this.#o.platform.networkSteps(this.#placed(name));
  }

  /** VMs with a NIC on it, or on a VLAN of it. */
  #users(name: string): string[] {
    const { store } = this.#o;
    return store
      .listVms()
      .filter(({ spec }) => spec.nics.some((nic) => nic.network === name))
      .map((row) => row.name);
  }

  names(): string[] {
    return namesOf(this.#o.places);
  }

  async list(): Promise<NetworkView[]> {
    const seen = await this.#o.looks.fresh('run');
    const users = new Map<string, Set<string>>();
    for (const { name, spec } of this.#o.store.listVms())
      for (const { network } of spec.nics) users.set(network, (users.get(network) ?? new Set()).add(name));
    return namesOf(this.#o.places)
      .sort()
      .map((name) => this.#view(name, seen, [...(users.get(name) ?? [])]));
  }

  /** Errors: network.unknown with the nearest name. */
  async show(name: string): Promise<NetworkView & { readonly spec?: NetworkSpec }> {
    this.#placed(name);
    const view = this.#view(name, await this.#o.looks.fresh('run'), this.#users(name));
    const spec = this.#o.store.networks.find(name)?.spec;
    return { ...view, ...(spec ? { spec } : {}) };
  }

  #view(name: string, seen: Seen, vms: readonly string[]): NetworkView {
    const { store, upkeep } = this.#o;
    const spec = store.networks.find(name)?.spec;
    const { kind, bridge, mtu } = this.#placed(name);
    return {
      ...{ name, kind, group: spec?.group ?? DEFAULT, labels: spec?.labels ?? {} },
      state: this.#state(name, seen),
      ...(bridge ? { interface: bridge.name } : {}),
      ...(mtu === undefined ? {} : { mtu }),
      ...{ persistent: spec?.persistent ?? false, isolation: spec?.isolation ?? 'vm' },
      ...{
        subnets: this.subnets(name),
        vms,
        jails: this.jails.on(name),
        faults: upkeep.faults(holderOf(name)),
        builtin: spec === undefined,
      },
    };
  }

  /** Without bridge there is nothing that could be missing. */
  #state(name: string, seen: Seen): NetworkView['state'] {
    const { platform } = this.#o;
    const own = this.#steps(name).filter(({ kind }) => !['forward.enable', 'firewall.create'].includes(kind));
    const held = own.map((step) => holdsOf(platform.catalogue, step, seen));
    if (held.every((each) => each === 'yes')) return 'up';
    return held.every((each) => each === 'no') ? 'down' : 'partly';
  }

  /** Its subnets, and how full they are: by the books, without a look at the host. */
  subnets(name: string): SubnetView[] {
    const ipam = this.#o.store.networks.ipam(name);
    return (ipam?.fill() ?? []).map(({ cidr, size, free }, i) => {
      const gateway = ipam?.gateways[i]?.gateway;
      return { cidr, ...(gateway ? { gateway: renderAddress(gateway) } : {}), size: String(size), free: String(free) };
    });
  }

  /** Who has which address of it. */
  leases(name: string): LeaseView[] {
    this.#placed(name);
    return this.#o.store.networks.leases(name).map((lease) => this.#lease(lease));
  }

  #lease(lease: AddressLease): LeaseView {
    const { network, holder, index, kind, sinceMs } = lease;
    const { store } = this.#o;
    const jail = store.attachments.list().find((each) => `jail/${each.spec.jail}` === holder && each.index === index);
    const mac = store.findVm(holder)?.nics[index]?.mac ?? jail?.mac;
    return {
      network,
      address: renderLease(lease),
      holder,
      nic: index,
      ...(mac === undefined ? {} : { mac }),
      kind,
      sinceMs,
    };
  }

  /** With what its uplink has now, or had before the network took it. */
  async #withMoved(spec: NetworkSpec, old?: NetworkSpec): Promise<NetworkSpec> {
    if (spec.kind !== 'bridge') return spec;
    const plain = { ...spec };
    delete plain.moved;
    const [uplink] = spec.uplinks;
    if (!spec.moveAddresses || uplink === undefined) return plain;
    const before = old?.kind === 'bridge' && old.uplinks[0] === uplink ? old.moved : undefined;
    return { ...plain, moved: copyOf(before ?? (await this.#o.platform.readUplink(this.#o.host, uplink))) };
  }

  /** Errors: spec.invalid; network.exists; network.blocked, before anything is touched; the step that failed. */
  async create(document: unknown, request: Request): Promise<NetworkView> {
    const spec = await this.#withMoved(parseNetwork(document));
    const { store, host, events } = this.#o;
    const { name } = spec;
    return await this.#o.operate(holderOf(name), 'create', request, async (operation) => {
      if (namesOf(this.#o.places).includes(name))
        throw new BrigError('network.exists', `create network ${name}: a network of this name exists`, {
          hint: `brig network show ${name}`,
        });
      refuseConflict('create', spec, request, this.#o.places);
      store.networks.add(spec, host.now());
      try {
        await this.#refuseHost('create', name);
        if (spec.persistent) await this.#o.upkeep.up(holderOf(name), this.#steps(name), operation, request.cause);
      } catch (error) {
        // What is left of it is taken back later, by its names. Whoever came meanwhile keeps it.
        if (!this.#isUnfinished(name)) this.#remove(name, request);
        throw error;
      }
      events.add('network.created', request.cause, holderOf(name));
      return await this.show(name);
    });
  }

  /** What the host says against it. */
  async #refuseHost(verb: string, name: string): Promise<void> {
    const { changes, platform, looks } = this.#o;
    platform.attend(this.#steps(name));
    const findings = platform.checkNetwork(await looks.fresh('run'), this.#placed(name));
    changes.refuse({ holder: holderOf(name) }, verb, findings);
  }

  /** Another document. Errors: as create's; network.blocked while somebody uses what it would change, or has an address that it lacks. */
  async edit(name: string, document: unknown, request: Request): Promise<NetworkView> {
    const { spec: old } = this.#row(name);
    const spec = await this.#withMoved(parseNetwork(document), old);
    if (spec.name !== name) throw blocked('edit', name, `the name ${name}`, spec.name, 'a network keeps its name');
    if (spec.kind !== old.kind) throw blocked('edit', name, `kind ${old.kind}`, spec.kind, 'make another network');
    return await this.#o.operate(holderOf(name), 'edit', request, async (operation) => {
      refuseConflict('edit', spec, request, this.#o.places);
      this.#refuseLeases(spec, request);
      await this.#swap(old, spec, operation, request);
      this.#o.events.add('network.edited', request.cause, holderOf(name));
      return await this.show(name);
    });
  }

  async #swap(old: NetworkSpec, spec: NetworkSpec, operation: Operation, request: Request): Promise<void> {
    const { store, upkeep } = this.#o;
    const { name } = spec;
    const before = this.#steps(name);
    store.networks.put(spec);
    const after = this.#steps(name);
    try {
      if (JSON.stringify(before) !== JSON.stringify(after)) {
        await this.#refuseRunning(name, before, request);
        await this.#refuseHost('edit', name);
      } else if (old.persistent === spec.persistent) return;
      if (upkeep.has(holderOf(name))) await upkeep.down(holderOf(name), before, operation, request.cause);
      if (spec.persistent) await upkeep.up(holderOf(name), after, operation, request.cause);
    } catch (error) {
      store.networks.put(old);
      throw error;
    }
  }

  /** VMs that run on it have what it is made of now. */
  async #refuseRunning(name: string, steps: readonly Step[], request: Request): Promise<void> {
    const { platform, store, looks } = this.#o;
    const seen = await looks.fresh('run');
    const isThere = steps.some((step) => holdsOf(platform.catalogue, step, seen) !== 'no');
    const running = this.#users(name).filter((vm) => store.findVm(vm)?.intent === 'running');
    if (isThere && running.length > 0)
      throw blocked(
        'edit',
        name,
        'nobody on it, for that changes its interfaces',
        toldTo(request, running),
        hintOf((vm) => `brig stop ${vm}`, request, running),
      );
  }

  /** Who has an address keeps it. */
  #refuseLeases(spec: NetworkSpec, request: Request): void {
    const leases = this.#o.store.networks.leases(spec.name);
    if (leases.length === 0) return;
    const ipam = new Ipam({
      ...spec,
      ...(spec.kind === 'routed' ? { prefixes: { 4: spec.prefix4, 6: spec.prefix6 } } : {}),
      routes: isRouter(spec),
    });
    for (const { block, holder, kind } of leases) {
      const address = { family: block.family, value: block.first };
      try {
        if (kind !== 'delegated' && ipam.blockOf(address).prefix === block.prefix) continue;
        if (kind === 'delegated' && spec.delegate.some((each) => each.prefix === block.prefix)) continue;
      } catch {
        // Said below.
      }
      throw blocked(
        'edit',
        spec.name,
        `to keep ${renderSubnet(block)}`,
        `a document without it: ${toldTo(request, [holder])} has it`,
      );
    }
  }

  /** Errors: network.blocked while VMs have NICs on it. */
  async destroy(name: string, request: Request): Promise<Outcome> {
    this.#row(name);
    return await this.#o.operate(holderOf(name), 'destroy', request, async (operation) => {
      const { upkeep, events } = this.#o;
      const used = this.#inUse(name, request);
      if (used) throw used;
      if (upkeep.has(holderOf(name)) || this.#isUnfinished(name))
        await upkeep.down(holderOf(name), this.#steps(name), operation, request.cause);
      await this.#finish(name, request);
      events.add('network.destroyed', request.cause, holderOf(name));
      return { changed: true };
    });
  }

  /** Why it cannot go. */
  #inUse(name: string, request: Request): BrigError | undefined {
    const refusal = (expected: string, got: readonly string[], command: (each: string) => string) =>
      got.length === 0
        ? undefined
        : blocked('destroy', name, expected, toldTo(request, got), hintOf(command, request, got));
    const jails = this.jails.on(name).map(({ jail }) => `${JAIL}${jail}`);
    const vlans = this.#o.store.networks.list().filter(({ spec }) => spec.kind === 'vlan' && spec.trunk === name);
    const onIt = vlans.map((vlan) => holderOf(vlan.name));
    return (
      refusal('no VM with a NIC on it', this.#users(name), (vm) => `brig destroy ${vm}`) ??
      refusal('no jail on it', jails, (jail) => `brig network detach ${name} --jail ${jail}`) ??
      refusal('no VLAN of it', onIt, (vlan) => `brig network destroy ${vlan}`)
    );
  }

  /** It and the rules about it go in one turn, unless somebody uses it; then why it stays. */
  #remove(name: string, request: Request): BrigError | undefined {
    const used = this.#inUse(name, request);
    if (!used) this.#o.store.removeNetwork(name);
    return used;
  }

  /** After nothing of it is on the host. Errors: network.blocked for who came meanwhile: it stays, and comes up again. */
  async #finish(name: string, request: Request): Promise<void> {
    const used = this.#remove(name, request);
    await this.#keep(name);
    if (used) throw used;
  }

  #isUnfinished(name: string): boolean {
    return this.#o.store.listSagas().some(({ vm }) => vm === holderOf(name));
  }

  /** One that stays without a user is looked after. */
  async #keep(name: string): Promise<void> {
    const { store, upkeep } = this.#o;
    const isKept = upkeep.has(holderOf(name)) || !store.networks.find(name)?.spec.persistent;
    if (!isKept) await upkeep.adopt(holderOf(name), this.#steps(name));
  }

  /** After brigd's start: those that stay are looked after again. */
  async open(): Promise<void> {
    for (const { name } of this.#o.store.networks.list()) await this.#keep(name);
  }

  /** What an earlier brigd did not finish is taken back: of a create all of it; what stays comes up by the next pass. */
  async recover(saga: SagaRow): Promise<void> {
    const { id, vm: holder, verb, steps } = saga;
    if (holder.startsWith(JAIL)) return await this.jails.recover(saga);
    await this.#o.operate(holder, 'clean', { cause: 'brigd' }, async () => {
      const { upkeep, events } = this.#o;
      const name = holder.slice(HOLDER.length);
      upkeep.leave(holder);
      await upkeep.takeBack(holder, steps, id);
      if (verb !== 'create' && verb !== 'destroy') return await this.#keep(name);
      // Whoever may view the network hears of this, and not of whose VMs are on it.
      await this.#finish(name, { cause: 'brigd', sees: () => false });
      if (verb === 'destroy') events.add('network.destroyed', 'brigd', holder);
    });
  }

  /** Errors: as Attachments.attach's; network.unknown */
  attach(name: string, document: unknown, request: Request): Promise<JailView> {
    this.#placed(name);
    return this.jails.attach(name, document, request);
  }
}

const copyOf = ({ addresses, routes }: Moved) => ({ addresses: [...addresses], routes: [...routes] });

/** Whether a journalled change is of a network. */
export const isOfNetwork = ({ vm }: SagaRow): boolean => vm.startsWith(HOLDER) || vm.startsWith(JAIL);
