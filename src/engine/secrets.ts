import { masterSource, type MasterSource } from '../acl/master.ts';
import { open, seal, wipe, type MasterKey } from '../acl/secrets.ts';
import { BrigError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { checkUse, renderRef, SECRET_NAME, type SecretRef, type Unsealed } from '../base/secret.ts';
import type { Config } from '../spec/config.ts';
import { OWNER } from '../spec/fields.ts';
import { secretsOf } from '../spec/secret.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { VmRow } from '../store/rows.ts';
import type { SecretRow } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import { Lane } from './lane.ts';

/** What anybody is told of a secret. */
export interface SecretView {
  /** Empty: the node's own. */
  readonly owner: string;
  readonly name: string;
  /** When it was last set. */
  readonly createdMs: number;
  /** VMs that refer to it. */
  readonly usedBy: readonly string[];
}

/** Whether secrets can be opened now, and what it takes. */
export interface LockView {
  readonly locked: boolean;
  /** A passphrase opens them. */
  readonly asks: boolean;
  /** There is none yet: the first one that is said is the one. */
  readonly isNew: boolean;
}

export interface SecretsOptions {
  readonly host: Host;
  readonly store: Store;
  readonly config: Config['secrets'];
  /** Of brig's own key files. */
  readonly dir: string;
}

const NEVER = new AbortController().signal;
const mendOf = ({ owner, name }: SecretRef): string =>
  `brig secret set ${name}${owner === '' ? '' : ` --owner ${owner}`}`;

/** Keeps secrets, sealed, and tells them to the effects that need them: nobody else learns a value. */
export class Secrets {
  readonly #o: SecretsOptions;
  readonly #source: MasterSource;
  #keys: readonly MasterKey[] = [];
  /** Who makes a key, or exchanges it, is alone. */
  readonly #turn = new Lane(1);

  constructor(options: SecretsOptions) {
    this.#o = options;
    this.#source = masterSource(options.host, options.dir, options.config.master);
  }

  get #rows() {
    return this.#o.store.secrets;
  }

  /** Seals a value, which is wiped; whoever had the name before is replaced. Errors: spec.invalid; secret.locked. */
  async set(owner: string, name: string, value: Uint8Array): Promise<SecretView> {
    this.#check(owner, name, value);
    return await this.#turn.run(NEVER, async () => {
      this.#checkRoom(owner, name);
      const key = await this.#sealing();
      const box = seal(key, { owner, name }, value, (bytes) => this.#o.host.random(bytes));
      wipe(value);
      const row = { owner, name, box, master: key.id, createdMs: this.#o.host.now() };
      this.#rows.put([row]);
      return this.#view(row);
    });
  }

  /** Errors: spec.invalid, without anything of the value. */
  #check(owner: string, name: string, value: Uint8Array): void {
    const refuse = (expected: string, got: string): never => {
      throw new BrigError('spec.invalid', `set secret: expected ${expected}, got ${got}`);
    };
    if (!SECRET_NAME.test(name)) refuse('a name of [a-z0-9._-], at most 63 characters', 'another');
    if (owner !== '' && !OWNER.test(owner)) refuse('an owner of [A-Za-z0-9_.-], at most 32 characters', 'another');
    if (value.length < 1 || value.length > LIMITS.secretBytes)
      refuse(`a value of 1 to ${LIMITS.secretBytes} bytes`, `${value.length}`);
  }

  #checkRoom(owner: string, name: string): void {
    const { length } = this.#rows.names(owner).filter((each) => each !== name);
    if (owner === '' || length < LIMITS.secretsEach) return;
    throw new BrigError('spec.invalid', `set secret: expected at most ${LIMITS.secretsEach} of ${owner}, got more`, {
      hint: 'brig secret rm those that nobody needs',
    });
  }

  /** Names, never values; of one owner or of all. */
  list(owner?: string): SecretView[] {
    const rows = this.#rows.list().filter((row) => owner === undefined || row.owner === owner);
    const users = new Map([...new Set(rows.map((row) => row.owner))].map((each) => [each, this.#usersOf(each)]));
    return rows.map((row) => this.#view(row, users.get(row.owner)));
  }

  #view({ owner, name, createdMs }: Omit<SecretRow, 'box' | 'master'>, users = this.#usersOf(owner)): SecretView {
    return { owner, name, createdMs, usedBy: users.get(name) ?? [] };
  }

  /** VMs by the names of the secrets that they refer to: each document of the owner is looked through once. */
  #usersOf(owner: string): ReadonlyMap<string, readonly string[]> {
    const users = new Map<string, string[]>();
    for (const { name: vm, spec } of this.#rowsOf(owner))
      for (const { name } of secretsOf(spec)) {
        const known = users.get(name);
        if (known) known.push(vm);
        else users.set(name, [vm]);
      }
    return users;
  }

  #rowsOf(owner: string): VmRow[] {
    const { store } = this.#o;
    if (owner === '') return store.listVms().filter(({ spec }) => spec.owner === undefined);
    return [...store.vmsOf(owner)].sort().flatMap((name) => store.findVm(name) ?? []);
  }

  #row(ref: SecretRef): SecretRow {
    const row = this.#rows.find(ref.owner, ref.name);
    if (row) return row;
    throw new BrigError('secret.unknown', `find ${renderRef(ref)}: no such secret`, { hint: mendOf(ref) });
  }

  /** Errors: secret.unknown; vm.blocked while a VM refers to it. */
  remove(owner: string, name: string): { readonly removed: string } {
    const { usedBy } = this.#view(this.#row({ owner, name }));
    if (usedBy.length > 0)
      throw new BrigError('vm.blocked', `remove secret ${name}: blocked: ${usedBy.join(', ')} refers to it`, {
        retry: 'operator',
        hint: `destroy ${usedBy.join(', ')} first, or set another value`,
      });
    this.#rows.remove(owner, name);
    return { removed: name };
  }

  /**
   * Seals all secrets under a new master key. Whatever ends it, each secret can be opened by a key that is kept.
   * Errors: secret.locked; acl.invalid when there is no new one; store.failed when a secret cannot be opened.
   */
  async rotate(passphrase?: string): Promise<{ readonly secrets: number; readonly master: string }> {
    return await this.#turn.run(NEVER, async () => {
      const old = await this.#sealing();
      await this.#source.settle(old);
      const fresh = await this.#source.make({ current: old.id, passphrase });
      // No wait from here to the commit: nothing is sealed or opened meanwhile.
      const rows = this.#rows.list();
      this.#rows.put(rows.map((row) => this.#reseal(row, fresh)));
      const before = this.#keys;
      this.#keys = [fresh];
      await this.#source.settle(fresh);
      wipe(...before.filter(({ id }) => id !== fresh.id).map(({ bytes }) => bytes));
      return { secrets: rows.length, master: fresh.id };
    });
  }

  #reseal(row: SecretRow, key: MasterKey): SecretRow {
    const value = this.#open(row);
    const box = seal(key, row, value, (bytes) => this.#o.host.random(bytes));
    wipe(value);
    return { ...row, box, master: key.id };
  }

  /** Whether anybody must say a passphrase first, or did. */
  async lock(): Promise<LockView> {
    const { asks } = this.#source;
    return { locked: asks && this.#keys.length === 0, asks, isNew: asks && (await this.#source.isNew()) };
  }

  /**
   * Opens secrets with a passphrase, or asks the other sources again. The first passphrase is the one from then on.
   * Errors: acl.denied for another one; secret.locked.
   */
  async unlock(passphrase?: string): Promise<LockView> {
    await this.#turn.run(NEVER, async () => {
      const { asks } = this.#source;
      const sealed = this.#rows.masters();
      if (asks && passphrase === undefined) return;
      if (asks && (await this.#source.isNew())) {
        for (const id of sealed) throw this.#lacks(id);
        await this.#begin(passphrase);
        return;
      }
      const keys = await this.#source.read(passphrase);
      if (asks && !keys.some(({ id }) => sealed.size === 0 || sealed.has(id)))
        throw new BrigError('acl.denied', 'unlock secrets: expected the passphrase, got another');
      await this.#take(keys);
    });
    return await this.lock();
  }

  async #begin(passphrase?: string): Promise<MasterKey> {
    const key = await this.#source.make({ current: undefined, passphrase });
    await this.#source.settle(key);
    this.#keys = [key];
    return key;
  }

  /** A rotation that was cut short is finished. */
  async #take(keys: readonly MasterKey[]): Promise<void> {
    this.#keys = keys;
    const sealed = this.#rows.masters();
    const used = keys.find(({ id }) => sealed.has(id));
    // Nothing hangs on it: the next rotation begins with it.
    if (used && sealed.size === 1) await this.#source.settle(used).catch(() => undefined);
  }

  async #read(): Promise<void> {
    if (this.#keys.length === 0) await this.#take(await this.#source.read());
  }

  /** The key that everything is sealed under; made when there is none. Errors: secret.locked. */
  async #sealing(): Promise<MasterKey> {
    await this.#read();
    const sealed = [...this.#rows.masters()];
    const missing = sealed.find((id) => !this.#keys.some((key) => key.id === id));
    if (missing !== undefined) throw this.#lacks(missing);
    return this.#keys.find(({ id }) => sealed.includes(id)) ?? this.#keys[0] ?? (await this.#begin());
  }

  #lacks(id: string): BrigError {
    const got = this.#keys.map((key) => key.id).join(', ') || 'none';
    return new BrigError('secret.locked', `open secrets: expected master key ${id}, got ${got}`, {
      retry: 'operator',
      hint: 'put the key back where secrets.master of brig.yaml says, then brig secret unlock',
    });
  }

  #open(row: SecretRow): Uint8Array {
    const key = this.#keys.find(({ id }) => id === row.master);
    if (!key) throw this.#lacks(row.master);
    return open(key, row, row.box);
  }

  /** For effects only; whoever asks wipes it. Errors: secret.unknown, secret.locked, store.failed. */
  readonly reveal = async (ref: SecretRef): Promise<Unsealed> => {
    this.#row(ref);
    // Whoever tries passphrases keeps no start waiting.
    if (this.#keys.length === 0) await this.#turn.run(NEVER, () => this.#read());
    const row = this.#row(ref);
    return { value: this.#open(row), version: row.createdMs.toString(36) };
  };

  /** Before anything is touched. Errors: vm.blocked with every secret that is not there; secret.locked. */
  async check(verb: string, spec: VmSpec): Promise<void> {
    const refs = secretsOf(spec);
    const missing = refs.filter(({ owner, name }) => !this.#rows.find(owner, name));
    const [first] = missing;
    if (first)
      throw new BrigError(
        'vm.blocked',
        `${verb} ${spec.name}: blocked: expected ${missing.map(renderRef).join(', ')}, got no such secret`,
        { retry: 'operator', hint: mendOf(first) },
      );
    for (const ref of refs) await this.#try(verb, spec.name, ref);
  }

  async #try(verb: string, vm: string, ref: SecretRef): Promise<void> {
    try {
      const { value } = await this.reveal(ref);
      try {
        checkUse(ref, value);
      } finally {
        wipe(value);
      }
    } catch (error) {
      if (!(error instanceof BrigError)) throw error;
      const { code, message, retry, hint } = error;
      throw new BrigError(code, `${verb} ${vm}: blocked by ${renderRef(ref)}: ${message}`, {
        retry,
        ...(hint === undefined ? {} : { hint }),
      });
    }
  }
}
