import type { FileStat, Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { escapeControls } from '../base/units.ts';
import type { Config } from '../spec/config.ts';
import type { EventRow } from '../store/rows.ts';
import type { EventLog } from './events.ts';
import { Lane } from './lane.ts';

/** What a hook is told, and whose directories are looked into. */
export interface Occasion {
  readonly event: string;
  readonly vm?: string;
  readonly networks?: readonly string[];
  readonly data: Readonly<Record<string, unknown>>;
}

export interface HooksOptions {
  readonly host: Host;
  readonly events: EventLog;
  readonly config: Config['hooks'];
  /** What is known of a VM: its owner, labels and NICs. Undefined when there is none. */
  readonly describe: (vm: string) => (Readonly<Record<string, unknown>> & { networks: readonly string[] }) | undefined;
}

/** Events of the log that are occasions, by another name. A VM that runs has its NICs on their networks. */
const OCCASIONS: Readonly<Record<string, readonly string[]>> = {
  'network.created': ['network-created'],
  'network.destroyed': ['network-destroyed'],
  'lease.acquired': ['lease-acquired'],
  'lease.released': ['lease-released'],
  'leases.written': ['leases-written'],
  'jail.attached': ['nic-attached'],
  'jail.detached': ['nic-detached'],
  'jail.gone': ['nic-detached'],
  'vm.running': ['nic-attached', 'vm-started'],
  'vm.stopped': ['nic-detached', 'vm-stopped'],
  'vm.ended': ['nic-detached', 'vm-stopped'],
  'vm.failed': ['vm-failed'],
};

/** Whoever may write there may do what the hooks' user may do. */
const isSafe = ({ uid, mode }: FileStat): boolean => uid === 0 && (mode & 0o022) === 0;

/**
 * Programs of the administrator's, in `host/`, `network/NAME/` and `vm/NAME/` below the hooks' directory; those of one
 * directory in the order of their names.
 */
export class Hooks {
  readonly #o: HooksOptions;
  readonly #lane = new Lane(LIMITS.hooksAtOnce);
  /** What each subject's hooks are at: they never overtake each other. */
  readonly #last = new Map<string, Promise<void>>();
  #waiting = 0;
  #user: Promise<{ uid: number; gid: number } | undefined> | undefined;

  constructor(options: HooksOptions) {
    this.#o = options;
    options.events.listen((event) => this.#heed(event));
  }

  /** Resolves when nothing waits. */
  async settled(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }

  /** Before anything is touched. Errors: vm.blocked, with what the hook said. */
  async prepare(vm: string): Promise<void> {
    for (const path of await this.#find(this.#occasion('vm-prepare', vm, {}))) {
      const said = await this.#run(path, this.#occasion('vm-prepare', vm, {}));
      if (said === undefined) continue;
      throw new BrigError('vm.blocked', `start ${vm}: blocked: hook ${path} said no: ${said}`, { retry: 'operator' });
    }
  }

  #occasion(event: string, name: string | undefined, data: EventRow['data']): Occasion {
    const [kind, rest] = name?.includes('/') ? [name.split('/')[0], name.replace(/^[^/]*\//, '')] : ['vm', name];
    if (rest === undefined) return { event, data };
    if (kind === 'network') return { event, networks: [rest], data };
    if (kind === 'jail') {
      const [jail, network = ''] = rest.split('@');
      return { event, networks: [network], data: { ...data, jail } };
    }
    const about = this.#o.describe(rest);
    const network = typeof data.network === 'string' ? [data.network] : (about?.networks ?? []);
    return { event, vm: rest, networks: network, data: { ...about, ...data } };
  }

  #heed({ kind, vm, data }: EventRow): void {
    for (const event of OCCASIONS[kind] ?? []) {
      const key = vm ?? '';
      if (this.#waiting >= LIMITS.hooksWaiting) {
        this.#o.events.add('hook.dropped', 'brigd', vm, { event, waiting: this.#waiting });
        continue;
      }
      // Told as it is now: by its turn the VM may be gone.
      const occasion = this.#occasion(event, vm, data);
      this.#waiting++;
      const before = this.#last.get(key) ?? Promise.resolve();
      const work = before
        .then(() => this.#lane.run(new AbortController().signal, () => this.#all(occasion)))
        .catch(() => undefined)
        .finally(() => {
          this.#waiting--;
          if (this.#last.get(key) === work) this.#last.delete(key);
        });
      this.#last.set(key, work);
    }
  }

  async #all(occasion: Occasion): Promise<void> {
    for (const path of await this.#find(occasion)) await this.#run(path, occasion);
  }

  /** Programs of an occasion, in order. What others may change is refused, and told. */
  async #find({ vm, networks = [] }: Occasion): Promise<string[]> {
    const { host, config } = this.#o;
    const own = [...networks.map((name) => `network/${name}`), ...(vm === undefined ? [] : [`vm/${vm}`])];
    const found: string[] = [];
    for (const dir of ['host', ...new Set(own)].map((each) => `${config.dir}/${each}`)) {
      const names = (await host.list(dir)) ?? [];
      if (names.length === 0 || !(await this.#isAllowed(config.dir)) || !(await this.#isAllowed(dir))) continue;
      for (const path of names.sort().map((name) => `${dir}/${name}`)) {
        const stat = await host.stat(path);
        if (stat?.kind === 'file' && (stat.mode & 0o111) !== 0 && (await this.#isAllowed(path))) found.push(path);
      }
    }
    return found;
  }

  async #isAllowed(path: string): Promise<boolean> {
    const stat = await this.#o.host.stat(path);
    if (stat && isSafe(stat)) return true;
    this.#o.events.add('hook.refused', 'brigd', undefined, {
      path,
      reason: 'expected root as its owner, and nobody else who may write',
    });
    return false;
  }

  /** Undefined: it went well. Else why not, in what it said itself. */
  async #run(path: string, { event, vm, data, networks }: Occasion): Promise<string | undefined> {
    const { host, config, events } = this.#o;
    const as = await (this.#user ??= this.#findUser());
    if (!as) return this.#refuse(path, vm, `no user ${config.user} in /etc/passwd`);
    const told = { version: 1, event, atMs: host.now(), ...(vm === undefined ? {} : { vm }), networks, ...data };
    const timeoutMs = config.timeoutSeconds * 1000;
    const result = await host.runAs(
      { program: path, args: [event], stdin: `${JSON.stringify(told)}\n`, timeoutMs },
      as,
    );
    const output = escapeControls(`${result.stdout}${result.stderr}`.slice(0, LIMITS.hookOutputBytes));
    const good = result.status === 0 && !result.timedOut;
    const reason = result.timedOut ? `no end within ${config.timeoutSeconds} s` : `status ${result.status}`;
    events.add(good ? 'hook.ran' : 'hook.failed', 'brigd', vm, {
      hook: path,
      event,
      output,
      ...(good ? {} : { reason }),
    });
    if (good) return undefined;
    return output.trim() === '' ? reason : `${output.trim().slice(0, LIMITS.quotedBytes)} (${reason})`;
  }

  #refuse(path: string, vm: string | undefined, reason: string): string {
    this.#o.events.add('hook.refused', 'brigd', vm, { path, reason });
    return reason;
  }

  async #findUser(): Promise<{ uid: number; gid: number } | undefined> {
    const { host, config } = this.#o;
    const line = (await host.readFile('/etc/passwd'))?.split('\n').find((each) => each.startsWith(`${config.user}:`));
    const [, , uid, gid] = line?.split(':') ?? [];
    return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
  }
}
