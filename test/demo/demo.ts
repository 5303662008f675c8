/** The whole story in under a minute: two real VMs, each in its own sandbox, and back to nothing. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { inventory, isFreebsd, leftovers, run, Stage } from './stage.ts';

interface View {
  readonly name: string;
  readonly state: string;
  readonly pid: number;
  readonly uid: number;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const chapter = (text: string): void => say(`\n== ${text}`);
const show = (text: string): void => say(text.replaceAll('\r', '').trimEnd().replaceAll(/^/gm, '   '));

const sandboxOnLinux = ({ pid, name }: View): void => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  show(
    status
      .split('\n')
      .filter((line) => /^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):/.test(line))
      .join('\n'),
  );
  const own = readdirSync(`/proc/${pid}/ns`).filter(
    (ns) => readlinkSync(`/proc/${pid}/ns/${ns}`) !== readlinkSync(`/proc/self/ns/${ns}`),
  );
  show(`namespaces of its own: ${own.join(' ')}`);
  show(`all of /dev:           ${readdirSync(`/proc/${pid}/root/dev`).join(' ')}`);
  show(`all of /:              ${readdirSync(`/proc/${pid}/root`).join(' ')}`);
  show(
    `interfaces:            ${run('/usr/sbin/ip', ['-n', `brig-${name}`, '-br', 'link'])
      .stdout.split('\n')
      .map((line) => line.split(/[\s@]/)[0])
      .join(' ')}`,
  );
};

const sandboxOnFreebsd = (dir: string, { pid, name }: View): void => {
  show(run('/bin/ps', ['-J', `brig-${name}`, '-o', 'pid,jid,uid,stat,command']).stdout);
  show(run('/usr/bin/procstat', ['cred', String(pid)]).stdout);
  show(
    `all of /dev: ${run('/usr/bin/find', [`${dir}/run/vms/${name}/root/dev`, '-type', 'c'])
      .stdout.replaceAll(`${dir}/run/vms/${name}/root`, '')
      .replaceAll('\n', ' ')}`,
  );
  show(`interfaces:  ${run('/sbin/ifconfig', ['-j', `brig-${name}`, '-l']).stdout}`);
};

const must = (stage: Stage, ...args: string[]): void => {
  const { status, stdout, stderr } = stage.brig(...args);
  show(`# brig ${args.join(' ')}`);
  if (stdout) show(stdout);
  if (status !== 0) throw new Error(`brig ${args.join(' ')}: exit ${status}: ${stderr}${stage.log}`);
};

const story = async (stage: Stage): Promise<void> => {
  const view = async (name: string): Promise<View> => ({ pid: 0, ...(await stage.client.show(name)) });
  chapter('a throwaway brigd');
  await stage.up();
  show(`pid ${stage.daemonPid}, everything below ${stage.dir}`);

  chapter('two VMs, each a document away');
  for (const name of ['demo1', 'demo2'])
    must(stage, 'create', name, '--test-rom', '--memory', '64M', '--nic', 'default', '--disk', 'file:8M');
  await Promise.all(['demo1', 'demo2'].map((name) => stage.brigLater('start', name)));
  must(stage, 'list');

  chapter('the guest talks');
  await stage.until('the banner', () => stage.type('demo1', '').includes('GUEST UP'));
  show(stage.type('demo1', 'a word in: '));

  for (const name of ['demo1', 'demo2']) {
    chapter(`what ${name} can see`);
    if (isFreebsd) sandboxOnFreebsd(stage.dir, await view(name));
    else sandboxOnLinux(await view(name));
  }

  chapter('its process is killed: reported, cleaned up, restarted by policy');
  const before = (await view('demo1')).pid;
  process.kill(before, 'SIGKILL');
  await stage.until('the restart', async () => {
    const { state, pid } = await view('demo1');
    return state === 'running' && pid !== before;
  });
  show(
    stage
      .brig('events', 'demo1')
      .stdout.split('\n')
      .filter((line) => / vm\./.test(line))
      .join('\n'),
  );

  chapter('brigd is killed: VMs live on, and are adopted');
  const pidsOf = async (): Promise<string> =>
    (await Promise.all(['demo1', 'demo2'].map(view))).map(({ pid }) => pid).join(' ');
  const pids = await pidsOf();
  await stage.down('SIGKILL');
  for (const pid of pids.split(' ')) process.kill(Number(pid), 0);
  await stage.up();
  must(stage, 'list');
  if ((await pidsOf()) !== pids) throw new Error('a VM was not adopted');
  show(`the guest still answers: ${stage.type('demo2', 'alive')}`);

  chapter('and back to nothing');
  must(stage, 'stop', '--all');
  for (const name of ['demo1', 'demo2']) must(stage, 'destroy', name);
  must(stage, 'list');
};

const main = async (): Promise<number> => {
  if (process.getuid?.() !== 0) {
    process.stderr.write('demo: expected root, got another user: jails, namespaces and interfaces need it\n');
    return 77;
  }
  const startMs = Date.now();
  const before = inventory();
  const stage = new Stage('demo', {}, 'built');
  try {
    await story(stage);
  } finally {
    await stage.close();
  }
  const left = leftovers(before, inventory());
  if (left.length > 0) {
    process.stderr.write(`demo: left behind:\n${left.join('\n')}\n`);
    return 1;
  }
  show('no process, interface, mount, namespace, jail or file is left');
  say(`\ndemo: done in ${Math.round((Date.now() - startMs) / 1000)} s`);
  return 0;
};

process.exitCode = await main();
