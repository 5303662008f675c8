import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../../src/api/client.ts';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel, type Model } from '../../src/model/model.ts';
import { parseConfig, type Config } from '../../src/spec/config.ts';
import { exchange, type Answered } from './wire.ts';
import { badRequests, type Bad, type Place } from './requests.ts';

/** Users that every host has. */
const USER = { name: 'daemon', uid: 1 };

/** A real brigd on the model, with a VM that runs, and a user who may look at it and use its console. */
export class Target {
  readonly dir = mkdtempSync(join(tmpdir(), 'brig-fuzz-'));
  readonly config: Config;
  readonly model: Model = createModel({ pace: 'real' });
  #daemon: Promise<Daemon<Seen>>;
  readonly client: Client;

  constructor(config: Record<string, unknown> = {}) {
    const { dir } = this;
    this.config = parseConfig(JSON.stringify({ ...config, stateDir: `${dir}/state`, runDir: `${dir}/run` }), 'fuzz');
    this.client = new Client(this.root);
    this.#daemon = this.#start();
  }

  #start(): Promise<Daemon<Seen>> {
    const { config, model } = this;
    const platform = freebsdPlatform({
      paths: config,
      dataset: undefined,
      fragments: readFragments(),
      allowDevices: [],
    });
    return startDaemon({ config, host: model.host, platform });
  }

  /** Another brigd on the same host and state. */
  async restart(): Promise<void> {
    await (await this.#daemon).close();
    await (this.#daemon = this.#start());
  }

  get root(): string {
    return `${this.config.runDir}/brigd.sock`;
  }

  /** Root of this host may come in by any user's socket, as that user. */
  get user(): string {
    return `${this.config.runDir}/users/${USER.uid}.sock`;
  }

  async open(): Promise<this> {
    await this.#daemon;
    await this.client.create({ name: 'web', firmware: { builtin: 'test' }, memory: '64M' });
    await this.client.operate('start', 'web');
    await this.client.access.grant({ principal: `user:${USER.name}`, role: 'viewer', object: 'vm:web' });
    return this;
  }

  get hasUsers(): boolean {
    return existsSync(this.user);
  }

  /** All that the API itself lists. */
  async places(): Promise<Place[]> {
    const bytes = Buffer.from('GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const { paths } = JSON.parse((await exchange(this.root, bytes, false)).body) as { paths: Paths };
    return Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { parameters = [] }]) => ({
        ...{ method: method.toUpperCase(), path },
        query: parameters.flatMap((each) => (each.in === 'query' ? [each.name ?? ''] : [])),
      })),
    );
  }

  /** What its VM is, and that it is answered at all. */
  async state(): Promise<unknown> {
    const { processes, jails, mounts } = this.model.state;
    const vms = (await this.client.list()).map(({ name, state }) => [name, state]);
    return { vms, processes: processes.length, jails: jails.map(({ name }) => name), mounts: mounts.length };
  }

  async close(): Promise<void> {
    await (await this.#daemon).close();
    rmSync(this.dir, { recursive: true });
  }
}

type Paths = Record<string, Record<string, { parameters?: { in?: string; name?: string }[] }>>;

/** What is wrong with an answer; undefined: nothing. */
export const judge = ({ status, head, body, end }: Answered): string | undefined => {
  if (end === 'hangs') return 'no answer';
  if (status === 0) return end === 'closed' ? undefined : 'no HTTP';
  if (status >= 500) return `status ${status}`;
  if (status < 400) return undefined;
  if (head.startsWith('HTTP/1.1 404') && body === '') return undefined;
  try {
    const { error } = JSON.parse(Buffer.from(body, 'latin1').toString('utf8')) as {
      error: { code: string; message: string };
    };
    if (error.code === 'store.failed') return 'an error that is none of ours';
    return /^\w+\.\w+$/.test(error.code) && error.message.length > 0 ? undefined : 'an error without a code';
  } catch {
    return 'an error that is no JSON';
  }
};

/** A line that fits a terminal. */
const render = ({ bytes }: Bad): string => JSON.stringify(bytes.subarray(0, 1_200).toString('latin1'));

/** Sends requests of a seed, some at a time, until there were so many or `until`; answers what was wrong. */
export const fuzz = async (
  socket: string,
  places: readonly Place[],
  { seed, count = Infinity, until = Infinity }: { seed: number; count?: number; until?: number },
): Promise<{
  readonly sent: number;
  readonly statuses: ReadonlyMap<number, number>;
  readonly wrong: readonly string[];
}> => {
  const requests = badRequests(places, seed);
  const statuses = new Map<number, number>();
  const wrong: string[] = [];
  let sent = 0;
  const work = async (): Promise<void> => {
    while (sent < count && Date.now() < until && wrong.length < 20) {
      sent++;
      const bad = requests.next().value as Bad;
      const answered = await exchange(socket, bad.bytes, bad.isHalf);
      statuses.set(answered.status, (statuses.get(answered.status) ?? 0) + 1);
      const problem = judge(answered);
      if (problem !== undefined)
        wrong.push(
          `${problem}: ${render(bad)} -> ${answered.head.split('\r\n')[0] ?? ''} ${answered.body.slice(0, 300)}`,
        );
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  return { sent, statuses, wrong };
};
