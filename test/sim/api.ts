import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../../src/api/client.ts';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel } from '../../src/model/model.ts';
import { parseConfig } from '../../src/spec/config.ts';

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A brigd of this process on the model of a host, by its sockets. */
export class Brigd {
  readonly #dir = mkdtempSync(join(tmpdir(), 'brig-api-'));
  readonly config = parseConfig(JSON.stringify({ stateDir: `${this.#dir}/state`, runDir: `${this.#dir}/run` }), 'test');
  readonly model = createModel({ pace: 'real' });
  readonly socket = `${this.config.runDir}/brigd.sock`;
  readonly client = new Client(this.socket);
  #daemon: Daemon<Seen> | undefined;

  get daemon(): Daemon<Seen> {
    if (!this.#daemon) throw new Error('brigd is not open');
    return this.#daemon;
  }

  async open(): Promise<void> {
    const { config, model } = this;
    this.#daemon = await startDaemon({
      ...{ config, host: model.host },
      platform: freebsdPlatform({ paths: config, dataset: undefined, fragments: readFragments(), allowDevices: [] }),
    });
  }

  /** VMs live on. */
  async down(): Promise<void> {
    await this.daemon.close();
  }

  async close(): Promise<void> {
    await this.down();
    rmSync(this.#dir, { recursive: true });
  }

  /** One request as it is, and all of its answer; `until` ends one that would go on. */
  ask(method: string, path: string, { body, headers, socket = this.socket, until }: Asked = {}): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: socket, method, path: `/v1${path}`, headers: { host: 'brigd', ...headers } });
      sent.on('error', reject);
      sent.on('response', (response) => {
        let text = '';
        const end = (): void => resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          if (until?.(text)) {
            end();
            sent.destroy();
          }
        });
        response.on('end', end);
        response.on('error', () => undefined);
      });
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

interface Asked {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly socket?: string;
  readonly until?: (text: string) => boolean;
}
