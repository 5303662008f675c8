/** brigd as it is, with a host that another process serves: its memory is its own, and no model's. */
import { basename, dirname, join } from 'node:path';
import { startDaemon } from '../../src/daemon/daemon.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { parseConfig } from '../../src/spec/config.ts';
import { farHost } from './far.ts';

const [socket = '', fifos = '', text = ''] = process.argv.slice(2);
const config = parseConfig(text, 'bench');
const paths = { stateDir: config.stateDir, runDir: config.runDir };
const host = farHost(socket, (path) => join(fifos, basename(dirname(path))));
const platform = freebsdPlatform({ paths, dataset: config.dataset, fragments: readFragments(), allowDevices: [] });
const daemon = await startDaemon({ config, host, platform });

const time = async (work: () => Promise<unknown>): Promise<number> => {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
};

process.on('message', (question) => {
  if (question === 'pass') void time(() => daemon.keeper.pass()).then((ms) => process.send?.(ms));
  else void daemon.close().then(() => process.exit(0));
});
process.send?.('ready');
