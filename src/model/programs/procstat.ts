import { done, fail, lines, must, unknownArgv, type Program } from '../program.ts';
import type { Process, World } from '../world.ts';

const PROGRAM = 'procstat';

/** ki_comm: the program's name, whatever the title says. */
const nameOf = ({ command }: Process): string =>
  command.startsWith('bhyve: ') ? 'bhyve' : (command.split(' ')[0]?.split('/').at(-1) ?? '');

const head = (process: Process): string => `${String(process.pid).padStart(5)} ${nameOf(process).padEnd(16)} `;

const isConfined = ({ stat }: Process): boolean => stat.includes('C');

/** Effective group first, then the others: recorded as `20000,20000`. */
const groupsOf = ({ gid, groups }: Process): number[] => [gid, ...groups];

const credentialsJson = (all: readonly Process[]): string => {
  const rows = all.map((process) => {
    const { pid, uid, gid } = process;
    const ids = `"uid":${uid},"ruid":${uid},"svuid":${uid},"group":${gid},"rgid":${gid},"svgid":${gid}`;
    const flags = `"umask":"022","cr_flags":"${isConfined(process) ? 'C' : '-'}", "groups": [${groupsOf(process).join(',')}]`;
    return `"${pid}": {"process_id":${pid},"command":"${nameOf(process)}",${ids},${flags}}`;
  });
  return `{"__version": "1", "procstat": {"credentials": {${rows.join(', ')}}}}\n`;
};

const number = (value: number): string => String(value).padStart(5);

const credentials = (all: readonly Process[]): string =>
  lines([
    '  PID COMM              EUID  RUID SVUID  EGID  RGID SVGID UMASK FLAGS GROUPS         ',
    ...all.map((process) => {
      const ids = [process.uid, process.uid, process.uid, process.gid, process.gid, process.gid].map(number).join(' ');
      return `${head(process)}${ids}   022 ${isConfined(process) ? 'C' : '-'}     ${groupsOf(process).join(',')}`;
    }),
  ]);

const ALL_RIGHTS =
  'rd,wr,se,mm,cr,fe,fy,ft,cd,cf,cm,cn,ct,fc,fl,fp,fk,fs,sf,fu,ls,lt,md,mf,mn,rs,rt,sl,un,lo,eg,es,ed,el,ag,as,ad,ac,' +
  'at,bd,co,pn,sn,gs,ln,pf,ss,sh,mg,ms,sg,sp,sw,ev,ke,kc,io,ty,pg,pw,pk,ba,ca,ina,inr,prd,pwr,mmr,mmw,mmx,mrw,mrx,' +
  'mwx,mma,re,sd,scl,ssr';

/** Rights that bhyve leaves, by what it opened. Recorded; those of a frame buffer and a share are not. */
const RIGHTS: readonly (readonly [RegExp, string, string])[] = [
  [/\/dev\/vmmctl$/, 'rw------', ALL_RIGHTS],
  [/\/dev\/vmm\//, 'rw------', 'rd,wr,se,mm,io,prd,pwr,mmr,mmw,mrw,re,sd'],
  [/\/dev\/vmm\.io\//, 'rw------', 'rd,wr,se,mm,io,prd,pwr,mmr,mmw,mrw,re,sd'],
  [/\/dev\/tap\d+$/, 'rw---n--', 'rd,wr,ev,re,sd'],
  [/\/vm\/share\d+$/, 'r-------', 'rd,lo,fs'],
  [/\/dev\/random$/, 'r----n--', 'rd,re'],
  [/./, 'rw------', 'rd,wr,se,fy,fp,fs,ev,io,prd,pwr,re,sd'],
];

interface Line {
  readonly fd: string;
  readonly type: string;
  readonly flags: string;
  readonly rights: string;
  readonly path: string;
}

const CONSOLE = 'wr,se,fc,fs,ev,io,pwr,sd';

const descriptorsOf = (world: World, process: Process): Line[] => {
  const root = world.jails.find((jail) => jail.jid === process.jid)?.path ?? '/';
  const own = (fd: string, path: string): Line => ({ fd, type: 'v', flags: 'r-------', rights: '-', path });
  const held = [...process.opened].filter((path) => path.startsWith(`${root}/`));
  const [, output = '-', errors = '-'] = process.stdio;
  const console: Line[] = [
    { fd: '0', type: 'f', flags: 'rw---n--', rights: 'rd,ev,io,re', path: '-' },
    { fd: '1', type: 'f', flags: 'rw---n--', rights: CONSOLE, path: output },
    { fd: '2', type: 'f', flags: '-w------', rights: CONSOLE, path: errors },
  ];
  const opened = held.map((path, i): Line => {
    const [, flags = '', rights = ''] = RIGHTS.find(([pattern]) => pattern.test(path)) ?? [];
    return { fd: String(i + 3), type: 'v', flags, rights, path };
  });
  const queue: Line = { fd: String(held.length + 3), type: 'k', flags: 'rw------', rights: 'ke,kc', path: '-' };
  return [
    own('text', `${root}/usr/sbin/bhyve`),
    own('cwd', root),
    own('root', root),
    own('jail', root),
    ...console,
    ...opened,
    queue,
  ];
};

/** Each process with a header of its own width, as procstat_files.c does. */
const descriptors = (world: World, all: readonly Process[]): string =>
  all
    .map((process, i) => {
      const rows = descriptorsOf(world, process);
      const width = Math.max('CAPABILITIES'.length, ...rows.map(({ rights }) => rights.length));
      const header = `  PID COMM                FD T FLAGS    ${'CAPABILITIES'.padEnd(width)} PRO NAME        `;
      const body = rows.map(({ fd, type, flags, rights, path }) => {
        const wide = rights === '-' ? rights.padEnd(width) : rights.padStart(width);
        return `${head(process)}${fd.padStart(5)} ${type} ${flags} ${wide} -   ${path.padEnd(18)}`;
      });
      return lines(i === 0 ? [header, ...body] : body);
    })
    .join('');

const environment = (all: readonly Process[]): string =>
  lines([
    '  PID COMM             ENVIRONMENT                                          ',
    ...all.map(
      (process) => `${head(process)}${process.environment.length === 0 ? '-' : process.environment.join(' ')}`,
    ),
  ]);

/** Names in the order of getrlimit(2), with their unit. Source: procstat_rlimit.c. */
const LIMITS: readonly (readonly [string, string])[] = [
  ['cputime', 'sec'],
  ['filesize', 'B  '],
  ['datasize', 'B  '],
  ['stacksize', 'B  '],
  ['coredumpsize', 'B  '],
  ['memoryuse', 'B  '],
  ['memorylocked', 'B  '],
  ['maxprocesses', '   '],
  ['openfiles', '   '],
  ['sbsize', 'B  '],
  ['vmemoryuse', 'B  '],
  ['pseudo-terminals', '   '],
  ['swapuse', 'B  '],
  ['kqueues', '   '],
  ['umtxp', '   '],
  ['pipebuf', 'B  '],
];

const limits = (all: readonly Process[]): string =>
  lines([
    '  PID COMM             RLIMIT                  SOFT             HARD     ',
    ...all.flatMap((process) =>
      LIMITS.map(([name, unit]) => {
        const value = process.limits.get(name);
        const text = (value === undefined ? 'infinity     ' : `${value} ${unit} `).padStart(16);
        return `${head(process)}${name.padEnd(16)} ${text} ${text}`;
      }),
    ),
  ]);

/** procstat(1) cred, fds -C, environment and rlimit of processes by number. */
export const procstat: Program = (world, args) => {
  const json = args[0] === '--libxo=json';
  const [what = '', ...rest] = json ? args.slice(1) : args;
  const isWide = rest[0] === '-C';
  const words = isWide ? rest.slice(1) : rest;
  must(PROGRAM, words, 0, 'pid');
  const all = words.map((word) => world.processes.get(Number(word)));
  // unrecorded: what it says of a process that is gone
  if (all.some((process) => !process)) return fail('procstat: procstat_getprocs(): No such process');
  const there = all.flatMap((process) => process ?? []);
  if (what === 'cred') return done(json ? credentialsJson(there) : credentials(there));
  if (json) throw unknownArgv(PROGRAM, args, 'only cred is known as JSON');
  if (what === 'fds' && isWide) return done(descriptors(world, there));
  if (what === 'environment') return done(environment(there));
  if (what === 'rlimit') return done(limits(there));
  throw unknownArgv(PROGRAM, args, `unknown subcommand ${what}`);
};
