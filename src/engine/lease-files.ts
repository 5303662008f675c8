import { messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { renderAddress } from '../net/address.ts';
import { leaseFiles, type NamedLease, type NamedNetwork } from '../net/names.ts';
import type { Config } from '../spec/config.ts';
import type { Store } from '../store/store.ts';
import type { EventLog } from './events.ts';
import { DEFAULT, place, placeAttachment, placeNetwork, type Places } from './place.ts';

export interface LeaseFilesOptions {
  readonly host: Host;
  readonly store: Store;
  readonly events: EventLog;
  readonly places: Places;
  readonly config: Config['leases'];
}

const CHANGES = ['lease.acquired', 'lease.released', 'network.created', 'network.edited', 'network.destroyed'];

const bare = (address: string): string => address.replace(/\/.*$/, '');

/** Keeps files of all leases for servers of DHCP and DNS, and tells when they are others. */
export class LeaseFiles {
  readonly #o: LeaseFilesOptions;
  readonly #written = new Map<string, string>();
  #next: Promise<void> | undefined;

  constructor(options: LeaseFilesOptions) {
    this.#o = options;
    if (!options.config) return;
    options.events.listen(({ kind }) => {
      if (CHANGES.includes(kind)) this.#soon();
    });
    this.#soon();
  }

  /** Resolves when what was asked for is written. */
  async settled(): Promise<void> {
    await this.#next;
  }

  #soon(): void {
    this.#next ??= this.#o.host.sleep(LIMITS.leasesWriteMs).then(async () => {
      this.#next = undefined;
      await this.#write().catch((error: unknown) => {
        this.#o.events.add('leases.failed', 'brigd', undefined, { reason: messageOf(error) });
      });
    });
  }

  async #write(): Promise<void> {
    const { config, host, events } = this.#o;
    if (!config) return;
    const networks = this.#networks();
    const changed: string[] = [];
    for (const format of config.formats)
      for (const [name, text] of Object.entries(leaseFiles(format, networks))) {
        const path = `${config.dir}/${name}`;
        if ((this.#written.get(path) ?? (await host.readFile(path))) === text) continue;
        await host.mkdir(config.dir, { mode: 0o755, uid: 0, gid: 0 });
        await host.writeFile(path, text, { mode: 0o644, uid: 0, gid: 0 });
        this.#written.set(path, text);
        changed.push(path);
      }
    if (changed.length > 0) events.add('leases.written', 'brigd', undefined, { files: changed });
  }

  #networks(): NamedNetwork[] {
    const { store, places } = this.#o;
    const leases = this.#leases();
    return store.networks.list().map(({ name, spec }) => {
      const { bridge } = placeNetwork(name, places);
      const gateways = store.networks.ipam(name)?.gateways ?? [];
      return {
        name,
        ...(bridge ? { interface: bridge.name } : {}),
        domain: spec.domain ?? (spec.group === DEFAULT ? `${name}.internal` : `${name}.${spec.group}.internal`),
        subnets: spec.subnets.map(({ cidr, dns }, i) => {
          const gateway = gateways[i]?.gateway;
          return { cidr, dns, ...(gateway ? { gateway: renderAddress(gateway) } : {}) };
        }),
        leases: leases.get(name) ?? [],
      };
    });
  }

  #leases(): Map<string, NamedLease[]> {
    const { store, places } = this.#o;
    const found = new Map<string, NamedLease[]>();
    const add = (network: string, lease: NamedLease): void => {
      if (lease.addresses.length === 0) return;
      const of = found.get(network);
      if (of) of.push(lease);
      else found.set(network, [lease]);
    };
    for (const row of store.listVms())
      place(row, places).place.nics.forEach(({ network, mac, guest }, nic) => {
        add(network.name, { name: row.name, nic, mac, addresses: guest.addresses.map(bare) });
      });
    for (const row of store.attachments.list()) {
      const { nic } = placeAttachment(row, places);
      add(row.network, { name: row.spec.jail, nic: row.index, mac: nic.mac, addresses: nic.guest.addresses.map(bare) });
    }
    return found;
  }
}
