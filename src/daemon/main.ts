import { mkdirSync, realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { SECRET_PATHS } from '../acl/redact.ts';
import { BrigError, exitStatusOf, messageOf } from '../base/errors.ts';
import { closeInherited } from '../io/descriptors.ts';
import { parseConfig, type Config } from '../spec/config.ts';
import { startDaemon } from './daemon.ts';
import { chooseHost } from './host.ts';

const USAGE = 'usage: brigd [--config FILE] [--log-level debug|info|warn|error]';

/** Searched in order when --config is absent; none of them is an empty configuration. */
const CONFIG_FILES = ['/usr/local/etc/brig.yaml', '/etc/brig.yaml'];

const readConfig = async (path: string | undefined): Promise<Config> => {
  for (const candidate of path === undefined ? CONFIG_FILES : [path]) {
    const text = await readFile(candidate, 'utf8').catch((error: unknown) => {
      if (path === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new BrigError('config.invalid', `read ${candidate}: ${messageOf(error)}`);
    });
    if (text !== undefined) return parseConfig(text, candidate);
  }
  return parseConfig('{}', 'defaults');
};

/** mount(8) and jail(8) name real paths; what we compare with must be real too. */
const resolvePaths = (config: Config): Config => {
  const real = (path: string): string => {
    mkdirSync(path, { recursive: true, mode: 0o711 });
    return realpathSync(path);
  };
  return config.host === 'model' ? config : { ...config, stateDir: real(config.stateDir), runDir: real(config.runDir) };
};

const parseFlags = (args: readonly string[]): { config: string | undefined; level: string } => {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: 'string' }, 'log-level': { type: 'string', default: 'info' } },
    });
    return { config: values.config, level: values['log-level'] };
  } catch (error) {
    throw new BrigError('usage.invalid', `read arguments: ${messageOf(error)}`, { hint: USAGE });
  }
};

const main = async (): Promise<void> => {
  closeInherited();
  const flags = parseFlags(process.argv.slice(2));
  const wanted = await readConfig(flags.config);
  if (process.getuid?.() !== 0 && wanted.host !== 'model')
    throw new BrigError('host.denied', 'start brigd: expected uid 0, got another', {
      hint: 'jails, mounts and interfaces need root',
    });
  const config = resolvePaths(wanted);
  const log = pino({ name: 'brigd', level: flags.level, redact: [...SECRET_PATHS] }, pino.destination(2));
  const daemon = await startDaemon({ config, ...(await chooseHost(config)), log });
  for (const finding of daemon.findings) if (finding.level !== 'ok') log.warn(finding, 'finding');
  let closing = false;
  const end = (signal: string): void => {
    if (closing) return;
    closing = true;
    log.info({ signal }, 'brigd.closing');
    void daemon.close().then(() => process.exit(0));
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => end(signal));
};

main().catch((error: unknown) => {
  const hint = error instanceof BrigError && error.hint !== undefined ? ` (${error.hint})` : '';
  process.stderr.write(`brigd: ${messageOf(error)}${hint}\n`);
  process.exit(exitStatusOf(error));
});
