import { readdir, unlink } from 'node:fs/promises';
import { ROOT, type Principal } from '../acl/principal.ts';
import { LIMITS } from '../base/limits.ts';
import { makeDirectory } from '../io/files.ts';
import type { Layout } from '../platform/layout.ts';
import type { Account, Accounts } from './accounts.ts';
import { Door, type DoorApi, type DoorOptions } from './door.ts';

export interface DoorsOptions {
  readonly api: DoorApi;
  readonly layout: Pick<Layout, 'socket' | 'usersDir' | 'userSocket'>;
  readonly accounts: Accounts;
  /** Of whom something is said: only they get a socket. */
  readonly principals: () => ReadonlySet<string>;
  readonly principal: (id: string) => Principal;
  readonly refused: DoorOptions['refused'];
  /** Users or their groups are others than before. */
  readonly onChange: () => void;
}

const isRoot = (): boolean => process.getuid?.() === 0;

interface UserDoor {
  readonly account: Account;
  readonly door: Door;
}

/** The sockets of this node: root's, and one for each user of whom a rule speaks. */
export class Doors {
  readonly #o: DoorsOptions;
  readonly #root: Door;
  /** By uid. */
  readonly #users = new Map<number, UserDoor>();
  #work: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: DoorsOptions) {
    this.#o = options;
    const uid = process.getuid?.() ?? 0;
    const { api, refused } = options;
    this.#root = new Door({ api, path: options.layout.socket, uid, who: () => ROOT, refused });
  }

  get isLost(): boolean {
    return this.#root.isLost;
  }

  /** Sockets of users that an earlier brigd left are nobody's. */
  async open(): Promise<void> {
    const { usersDir } = this.#o.layout;
    if (isRoot()) await this.#makeDirectory();
    for (const name of await readdir(usersDir).catch(() => [])) await unlink(`${usersDir}/${name}`);
    await this.sync();
    await this.#root.open();
  }

  async reopen(): Promise<void> {
    if (this.#root.isLost) await this.#root.open();
  }

  /** Sockets as rules, users and groups are now. One after the other; resolves when it is so. */
  sync(): Promise<void> {
    return (this.#work = this.#work.catch(() => undefined).then(() => (this.#isClosed ? undefined : this.#sync())));
  }

  async #sync(): Promise<void> {
    const { accounts, principals, onChange } = this.#o;
    // Only root of the host can hand a socket to somebody.
    if (!isRoot()) return;
    await this.#makeDirectory();
    const wanted = principals();
    const changed = await accounts.refresh(wanted);
    const allowed = new Map(accounts.all().map((account) => [account.uid, account]));
    for (const [uid, { account, door }] of this.#users) {
      if (allowed.get(uid)?.name === account.name && !door.isLost) continue;
      this.#users.delete(uid);
      await door.end();
    }
    const failed: unknown[] = [];
    for (const account of allowed.values())
      if (!this.#users.has(account.uid)) await this.#admit(account).catch((error: unknown) => failed.push(error));
    if (changed) onChange();
    // One that cannot be made keeps no other from his.
    if (failed.length > 0) throw failed[0];
  }

  /** Nobody but root has anything to write there. */
  #makeDirectory(): Promise<void> {
    return makeDirectory(this.#o.layout.usersDir, { mode: 0o711, uid: 0, gid: 0 });
  }

  async #admit(account: Account): Promise<void> {
    const { api, layout, accounts, principal, refused } = this.#o;
    const door = new Door({
      ...{ api, uid: account.uid, path: layout.userSocket(account.uid) },
      ...{ refused, connections: LIMITS.connectionsPerUser },
      who: () => (accounts.find(account.name)?.uid === account.uid ? principal(`user:${account.name}`) : undefined),
    });
    await door.open();
    this.#users.set(account.uid, { account, door });
  }

  close(): void {
    this.#isClosed = true;
    for (const door of this.#all()) door.close();
  }

  async end(): Promise<void> {
    await this.#work.catch(() => undefined);
    for (const door of this.#all()) await door.end();
  }

  #all(): Door[] {
    return [this.#root, ...[...this.#users.values()].map(({ door }) => door)];
  }
}
