import { principalOf, type KnownKey } from '../acl/authenticator.ts';
import { verifierOf } from '../acl/ed25519.ts';
import { fingerprintOf, parsePublicHalf } from '../acl/keys.ts';
import { KEY_NAME } from '../acl/names.ts';
import type { Principal } from '../acl/principal.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { escapeControls } from '../base/units.ts';
import type { KeyDocument } from '../spec/key.ts';
import type { KeyRow } from '../store/keys.ts';
import type { Store } from '../store/store.ts';

/** A key of somebody elsewhere, for people. */
export interface AccessKeyView {
  readonly name: string;
  /** Its fingerprint. */
  readonly id: string;
  readonly public: string;
  readonly owner?: string;
  readonly by: string;
  readonly state: 'valid' | 'expired' | 'revoked';
  readonly createdMs: number;
  readonly expiresMs?: number;
  readonly revokedMs?: number;
}

interface Entry {
  readonly id: string;
  readonly row: KeyRow;
  readonly known: KnownKey;
}

const toEntry = (row: KeyRow): Entry => {
  const { name, owner, expiresMs, revokedMs } = row;
  return {
    id: fingerprintOf(row.public),
    row,
    known: { ...verifierOf(row.public), name, owner, expiresMs, revokedMs },
  };
};

export interface KeysOptions {
  readonly store: Pick<Store, 'keys'>;
  readonly now: () => number;
}

/** Keys of people elsewhere: who may sign requests to this node. */
export class Keys {
  readonly #o: KeysOptions;
  /** By fingerprint. Nobody else writes to the store. */
  readonly #entries: Map<string, Entry>;
  /** Fingerprints by name. */
  readonly #ids: Map<string, string>;
  readonly #listeners = new Set<(principalId: string) => void>();
  /** Expired ones that were told of. */
  readonly #told = new Set<string>();
  /** Another one whenever a key begins or ends to count. */
  version = 0;

  constructor(options: KeysOptions) {
    this.#o = options;
    this.#entries = new Map(options.store.keys.list().map((row) => [fingerprintOf(row.public), toEntry(row)]));
    this.#ids = new Map([...this.#entries.values()].map(({ id, row }) => [row.name, id]));
    for (const { row } of this.#entries.values()) if (this.#stateOf(row) === 'expired') this.#told.add(row.name);
  }

  #stateOf({ expiresMs, revokedMs }: KeyRow): AccessKeyView['state'] {
    if (revokedMs !== undefined) return 'revoked';
    return expiresMs !== undefined && expiresMs <= this.#o.now() ? 'expired' : 'valid';
  }

  #view({ id, row }: Entry): AccessKeyView {
    const { name, owner, by, createdMs, expiresMs, revokedMs } = row;
    return {
      ...{ name, id, public: Buffer.from(row.public).toString('base64'), by, state: this.#stateOf(row), createdMs },
      ...(owner === undefined ? {} : { owner }),
      ...(expiresMs === undefined ? {} : { expiresMs }),
      ...(revokedMs === undefined ? {} : { revokedMs }),
    };
  }

  /** For an authenticator: those that count no more, too. */
  readonly find = (keyId: string): KnownKey | undefined => this.#entries.get(keyId)?.known;

  /** Who `key:NAME` is now; undefined: it counts no more. */
  principal(principalId: string, from: string): Principal | undefined {
    const entry = this.#named(principalId);
    return entry && this.#stateOf(entry.row) === 'valid' ? principalOf(entry.known, from) : undefined;
  }

  /** For ever: no other key has that name. */
  isRevoked(principalId: string): boolean {
    return this.#named(principalId)?.row.revokedMs !== undefined;
  }

  #named(principalId: string): Entry | undefined {
    const id = principalId.startsWith('key:') ? this.#ids.get(principalId.slice('key:'.length)) : undefined;
    return id === undefined ? undefined : this.#entries.get(id);
  }

  /** By name; those that were revoked, too. */
  list(): AccessKeyView[] {
    return [...this.#entries.values()].map((entry) => this.#view(entry)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Errors: key.unknown. `name`: of the key, or its fingerprint. */
  get(name: string): AccessKeyView {
    return this.#view(this.#entry(name));
  }

  #entry(name: string): Entry {
    const entry = this.#named(`key:${name}`) ?? this.#entries.get(name);
    if (entry) return entry;
    throw new BrigError('key.unknown', `find key ${escapeControls(name)}: no such key`, { hint: 'brig key list' });
  }

  /**
   * From now on this key may sign requests; the same once more changes when it ends. A name is never another key's.
   * Errors: acl.invalid; acl.denied for one that was revoked; key.exists.
   */
  add(name: string, document: KeyDocument, by: string): AccessKeyView {
    if (!KEY_NAME.test(name))
      throw new BrigError('acl.invalid', 'add key: expected a name of [a-z0-9._-], at most 63 characters, got another');
    const bytes = parsePublicHalf(document.public, `key ${name}`);
    const { owner, expiresMs } = document;
    if (owner === 'root')
      throw new BrigError('acl.denied', `add key ${name}: expected another owner than root: no key has all rights`);
    if (expiresMs !== undefined && expiresMs <= this.#o.now())
      throw new BrigError('acl.invalid', `add key ${name}: expected an end in the future, got one in the past`);
    const id = fingerprintOf(bytes);
    const isKnown = this.#checkNew(name, id, owner);
    if (isKnown) this.#o.store.keys.setExpiry(name, expiresMs);
    else {
      const createdMs = this.#o.now();
      this.#o.store.keys.add({ ...{ name, public: bytes, owner, by, createdMs, expiresMs }, revokedMs: undefined });
    }
    this.#told.delete(name);
    return this.#reread(id, name);
  }

  /** Whether the very key is here already. */
  #checkNew(name: string, id: string, owner: string | undefined): boolean {
    const same = this.#entries.get(id);
    if (same?.row.revokedMs !== undefined)
      throw new BrigError('acl.denied', `add key ${name}: ${id} was revoked here`, { hint: 'make another key' });
    if (same && (same.row.name !== name || same.row.owner !== owner))
      throw new BrigError(
        'key.exists',
        `add key ${name}: it is ${same.row.name} of ${same.row.owner ?? 'nobody'} here`,
        {
          hint: `brig key revoke ${same.row.name}`,
        },
      );
    if (!same && this.#ids.has(name))
      throw new BrigError('key.exists', `add key ${name}: another key has or had that name`, {
        hint: 'choose another name',
      });
    if (!same && this.#entries.size >= LIMITS.keys)
      throw new BrigError('acl.invalid', `add key ${name}: expected at most ${LIMITS.keys} keys, got one more`);
    return same !== undefined;
  }

  #reread(id: string, name: string): AccessKeyView {
    const row = this.#o.store.keys.list().find((each) => each.name === name) as KeyRow;
    const entry = toEntry(row);
    this.#entries.set(id, entry);
    this.#ids.set(name, id);
    this.version++;
    return this.#view(entry);
  }

  /** At once, whatever it is doing. The same again changes nothing. Errors: key.unknown. */
  revoke(name: string): AccessKeyView {
    const { id, row } = this.#entry(name);
    if (row.revokedMs !== undefined) return this.get(id);
    this.#o.store.keys.setRevoked(row.name, this.#o.now());
    const view = this.#reread(id, row.name);
    this.#tell(row.name);
    return view;
  }

  /** Called when a key counts no more; `key:NAME`. Answers what ends that. */
  onRevoked(listener: (principalId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells of those whose time is over; part of brigd's pass over the host. */
  pass(): void {
    for (const { row } of this.#entries.values())
      if (this.#stateOf(row) === 'expired' && !this.#told.has(row.name)) {
        this.#told.add(row.name);
        this.version++;
        this.#tell(row.name);
      }
  }

  #tell(name: string): void {
    for (const listener of this.#listeners) listener(`key:${name}`);
  }
}
