import type { Command, Result } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { command } from '../platform/command.ts';

/** A user of this host. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  /** Names of its groups, as far as somebody asked for them. */
  readonly groups: readonly string[];
}

/** Lines of passwd(5) or group(5) as their fields. */
const linesOf = ({ stdout }: Result): string[][] =>
  stdout.split('\n').flatMap((line) => (line === '' || line.startsWith('#') ? [] : [line.split(':')]));

/** Status of getent(1) when a name is not there. */
const NOT_FOUND = 2;

/** Tells what changed without a process. */
const FILES = ['/etc/passwd', '/etc/group'];

export interface AccountsOptions {
  readonly run: (command: Command) => Promise<Result>;
  /** When a file changed; undefined: it is not there. */
  readonly changedMs: (path: string) => Promise<number | undefined>;
  readonly now: () => number;
}

/** Users and groups that rules speak of, as getent(1) tells: of this host's files, or of a directory. */
export class Accounts {
  readonly #o: AccountsOptions;
  #byName = new Map<string, Account>();
  #stamp = '';
  #atMs = -Infinity;

  constructor(options: AccountsOptions) {
    this.#o = options;
  }

  /** Of those that were asked for, and their groups' members. */
  all(): Account[] {
    return [...this.#byName.values()];
  }

  find(name: string): Account | undefined {
    return this.#byName.get(name);
  }

  /** Shape: `group:ops` */
  groupsOf(name: string): string[] {
    return (this.#byName.get(name)?.groups ?? []).map((group) => `group:${group}`);
  }

  /** Whether this host has a user or a group of that name. */
  async isKnown(kind: 'user' | 'group', name: string): Promise<boolean> {
    return (await this.#ask(kind === 'user' ? 'passwd' : 'group', [name])).some(([found]) => found === name);
  }

  /**
   * Lines of those of the names that are there; of all without names. One that is not there ends getent(1) of FreeBSD,
   * whatever comes after it: then each is asked for alone. Source: usr.bin/getent/getent.c
   */
  async #ask(database: 'passwd' | 'group', keys: readonly string[]): Promise<string[][]> {
    const result = await this.#o.run(command('/usr/bin/getent', [database, ...keys]));
    if (result.status !== NOT_FOUND || keys.length < 2) return linesOf(result);
    const half = Math.ceil(keys.length / 2);
    const [first, second] = [keys.slice(0, half), keys.slice(half)];
    return [...(await this.#ask(database, first)), ...(await this.#ask(database, second))];
  }

  /** True: they may be others than before. Nothing is run while nothing changed. */
  async refresh(principals: ReadonlySet<string>): Promise<boolean> {
    const changed = await Promise.all(FILES.map((path) => this.#o.changedMs(path)));
    const stamp = JSON.stringify([changed, [...principals].sort()]);
    const nowMs = this.#o.now();
    if (stamp === this.#stamp && nowMs - this.#atMs < LIMITS.accountsMaxAgeMs) return false;
    const named = (kind: string): string[] =>
      [...principals].flatMap((each) => (each.startsWith(`${kind}:`) ? [each.slice(kind.length + 1)] : []));
    this.#byName = await this.#look(named('user'), named('group'));
    [this.#stamp, this.#atMs] = [stamp, nowMs];
    return true;
  }

  async #look(users: readonly string[], groups: readonly string[]): Promise<Map<string, Account>> {
    const found = groups.length === 0 ? [] : await this.#ask('group', groups);
    const members = found.flatMap(([, , , list = '']) => list.split(',').filter((each) => each !== ''));
    // Whose first group it is only a list of all users tells.
    const gids = new Map(found.map(([name = '', , gid = '']) => [gid, name]));
    const all = groups.length === 0 ? [] : (await this.#ask('passwd', [])).filter(([, , , gid = '']) => gids.has(gid));
    const names = [...new Set([...users, ...members])];
    const asked = names.length === 0 ? [] : await this.#ask('passwd', names);
    // getent(1) takes a name of digits for a number: what it finds is another's. Of two names of one number the kernel
    // knows no difference: the first counts.
    const meant = [...all, ...asked.filter(([name = '']) => names.includes(name))];
    const ofUid = new Map(meant.toReversed().map(([name, , uid = '']) => [uid, name]));
    const accounts = meant
      .filter(([name, , uid = '']) => ofUid.get(uid) === name)
      .map(([name = '', , uid = '', gid = '']): [string, Account] => {
        const own = found.flatMap(([group = '', , , list = '']) => (list.split(',').includes(name) ? [group] : []));
        const first = gids.get(gid);
        return [
          name,
          { name, uid: Number(uid), groups: [...new Set([...own, ...(first === undefined ? [] : [first])])] },
        ];
      });
    return new Map(accounts.filter(([, { uid }]) => Number.isInteger(uid) && uid > 0));
  }
}
