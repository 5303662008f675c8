import { BrigError } from '../../../src/base/errors.ts';
import type { Result } from '../../../src/base/host.ts';
import { readRecording, type Recorded } from '../../recording.ts';
import { ls } from './ls.ts';
import { lines, programOf, splitWords, type Scene } from './scene.ts';

/** What a session did between two recorded commands and nobody wrote down. */
export type Unseen = Readonly<Record<string, (scene: Scene) => Promise<void>>>;

export interface Session {
  readonly file: string;
  /** Instead of the project's own of that name. */
  readonly recording?: readonly Recorded[];
  /** Recorded process numbers and the VMs whose bhyve had them. */
  readonly pids?: Readonly<Record<string, string>>;
  readonly scene: () => Scene;
  /** Done before the command; `#2` before its second time. `start` comes before everything. */
  readonly unseen: Unseen;
  /** Before every command. */
  readonly between?: (scene: Scene, command: string) => Promise<void>;
  /** Commands that the model knows but whose circumstances it does not have, with the reason. */
  readonly passed: Readonly<Record<string, string>>;
}

export interface Replayed {
  readonly command: string;
  readonly wanted: string;
  readonly got: string;
}

export interface Outcome {
  readonly compared: readonly Replayed[];
  readonly notCovered: readonly string[];
}

interface Simple {
  readonly line: string;
  readonly filter?: string;
  readonly stdin?: string;
  readonly timeoutMs?: number;
}

const unescape = (text: string): string => text.replaceAll('\\n', '\n').replaceAll('\\"', '"');

const isKnown = (line: string): boolean => {
  const [name = '', option = ''] = splitWords(line) ?? [];
  return programOf(name) !== undefined || (name === 'ls' && (option === '-l' || !option.startsWith('-')));
};

/** tail(1) and grep(1) as the sessions used them. */
const applyFilter = (filter: string, text: string): string => {
  const all = text.split('\n').slice(0, -1);
  const [name, option = '', word = ''] = filter.split(' ');
  if (name === 'tail') return lines(all.slice(Number(option)));
  const after = option.startsWith('-A') ? Number(option.slice(2)) : 0;
  const hits = all.map((line) => (option === '-i' ? line.toLowerCase() : line).includes(word));
  return lines(all.filter((_, i) => hits.slice(Math.max(0, i - after), i + 1).some(Boolean)));
};

/** The simple commands of a recorded line; undefined when it takes a shell. */
const simplify = (command: string): Simple[] | undefined => {
  const fed = /^(printf|echo) "((?:[^"\\]|\\.)*)" \| (devfs rule .* add -|pfctl .*-f -)$/.exec(command);
  if (fed) return [{ line: fed[3] ?? '', stdin: unescape(fed[2] ?? '') + (fed[1] === 'echo' ? '\n' : '') }];
  const piped = /^(\S.*) \| ((?:tail -\d|grep -\w+) ?\w*)$/.exec(command);
  if (piped && isKnown(piped[1] ?? '')) return [{ line: piped[1] ?? '', filter: piped[2] ?? '' }];
  const timed = /^timeout (\d+) (.*) <\/dev\/null$/.exec(command);
  const parts = timed ? [timed[2] ?? ''] : command.replace(/^time /, '').split('; ');
  const timeoutMs = timed ? { timeoutMs: Number(timed[1]) * 1000 } : {};
  const simple = parts.map((line) => ({ line, ...timeoutMs }));
  return simple.every(({ line }) => isKnown(line)) ? simple : undefined;
};

/** What differs from run to run, or was only true on that machine. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, 'MAC'],
  [/Opened by PID \d+/g, 'Opened by PID N'],
  [/"jid":"?\d+"?/g, '"jid":N'],
  [/"(pid|ppid|jail-id|rss)":"\d+"/g, '"$1":"N"'],
  [/"start-time":"[^"]*"/g, '"start-time":"T"'],
  [/"hostname":"[^"]*"/g, '"hostname":"H"'],
  [/^jail: "\d+" already/gm, 'jail: "N" already'],
  // Where stderr went.
  [/^( *PID \S+ +2) . .*$/gm, '$1 STDERR'],
  [/\bport \d+ priority/g, 'port N priority'],
  [/for \d+ days \d\d:\d\d:\d\d/g, 'for T'],
  [/\bp1 \S+ p2/g, 'p1 X p2'],
  [/\/tmp\/bhyve\.\w{7}/g, '/tmp/bhyve.XXXXXXX'],
  [/^(\S+\t(?:filesystem|volume|snapshot)\t)\d+(\t\S+\t)\d+/gm, '$1N$2T'],
  [/\t\w{3} \w{3} [ \d]\d \d\d:\d\d \d{4}$/gm, '\tT'],
  [/^(cputime|wallclock|pcpu)=\d+$/gm, '$1=N'],
  [/^Abort trap\n/gm, ''],
  [/^ +[\d.]+ real +[\d.]+ user +[\d.]+ sys\n/gm, ''],
  [/^ {2}\(\d+ more lines\)\n/gm, ''],
  // ls -l: links, device number, date.
  [/^(\S{10}) +\d+ (\S+) +(\S+) +\S+ \w{3} \d+ \d\d:\d\d /gm, '$1 N $2 $3 N T '],
];

/** Columns of numbers: widths follow from the numbers. */
const squeeze = (text: string): string => text.replaceAll(/ +/g, ' ').replaceAll(/^ | \d+(?= )/gm, ' N');

const mask = (command: string, text: string): string => {
  const masked = VOLATILE.reduce((all, [pattern, instead]) => all.replaceAll(pattern, instead), text);
  if (/^jail .*-i/.test(command)) return masked.replaceAll(/^\d+$/gm, 'N');
  if (/^jls -v/.test(command)) return masked.replaceAll(/^( +)\d+/gm, '$1N').replaceAll(/ +/g, ' ');
  if (/^jls -d jid/.test(command)) return masked.replaceAll(/^\d+ /gm, 'N ');
  return /^ps -J/.test(command) ? squeeze(masked.replaceAll(/^ *\d+/gm, 'N')) : masked;
};

const runAll = async (scene: Scene, simple: readonly Simple[]): Promise<Result> => {
  let all: Result = { status: 0, stdout: '', stderr: '', timedOut: false };
  for (const { line, stdin, timeoutMs, filter } of simple) {
    const words = line.startsWith('ls ') ? splitWords(line) : undefined;
    const result = words ? await ls(scene, words.slice(1)) : await scene.sh(line, stdin, timeoutMs);
    const stdout = filter === undefined ? result.stdout : applyFilter(filter, result.stdout);
    all = { ...result, stdout: all.stdout + stdout, stderr: all.stderr + result.stderr };
  }
  return all;
};

/** stdout and stderr were recorded as they came: either may be first. */
const compare = ({ command, output, status }: Recorded, result: Result): Replayed => {
  const wanted = mask(command, `${output}[exit ${status}]`);
  const orders = [result.stderr + result.stdout, result.stdout + result.stderr];
  const sorted = (text: string): string => lines(text.split('\n').sort());
  const got = orders.map((text) => mask(command, `${text}[exit ${result.status}]`));
  const same =
    got.find((text) => text === wanted) ?? got.find((text) => isStart(command) && sorted(text) === sorted(wanted));
  return { command, wanted, got: same === undefined ? (got[0] ?? '') : wanted };
};

/** bhyve prints with and without buffering: its lines come in any order (FACTS S.23). */
const isStart = (command: string): boolean => command.includes('/usr/sbin/bhyve');

const isUnknown = (error: unknown): boolean => error instanceof BrigError && error.code === 'model.argv';

/** Recorded process numbers mean the model's, and neither is compared. */
const pidsOf = (session: Session, scene: Scene): { to: (line: string) => string; hide: (text: string) => string } => {
  const pairs = Object.entries(session.pids ?? {}).map(([recorded, vm]): [string, string] => [
    recorded,
    String(scene.model.guest(vm).pid ?? recorded),
  ]);
  const word = (pid: string): RegExp => new RegExp(`\\b${pid}\\b`, 'g');
  return {
    to: (line) => pairs.reduce((text, [recorded, pid]) => text.replaceAll(word(recorded), pid), line),
    hide: (all) => pairs.flat().reduce((text, pid) => text.replaceAll(word(pid), 'PID'), all),
  };
};

const hideIn = (result: Result, hide: (text: string) => string): Result => ({
  ...result,
  stdout: hide(result.stdout),
  stderr: hide(result.stderr),
});

/** Runs what the model knows of a session, in order. */
export const replay = async (session: Session): Promise<Outcome> => {
  const scene = session.scene();
  const compared: Replayed[] = [];
  const notCovered: string[] = [];
  const times = new Map<string, number>();
  await session.unseen['start']?.(scene);
  for (const recorded of session.recording ?? readRecording(session.file)) {
    const { command } = recorded;
    const nth = (times.get(command) ?? 0) + 1;
    times.set(command, nth);
    await session.between?.(scene, command);
    await session.unseen[nth === 1 ? command : `${command}#${nth}`]?.(scene);
    const simple = simplify(command);
    if (!simple || session.passed[command] !== undefined) notCovered.push(command);
    else
      try {
        const pids = pidsOf(session, scene);
        const result = await runAll(
          scene,
          simple.map((each) => ({ ...each, line: pids.to(each.line) })),
        );
        compared.push(compare({ ...recorded, output: pids.hide(recorded.output) }, hideIn(result, pids.hide)));
      } catch (error) {
        if (!isUnknown(error)) throw error;
        notCovered.push(command);
      }
  }
  return { compared, notCovered };
};
