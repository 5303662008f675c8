import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { ConsolePort, Host } from '../../../src/base/host.ts';
import { LIMITS } from '../../../src/base/limits.ts';
import type { Ask, Attachment, Reader } from '../../../src/engine/console.ts';
import { Consoles } from '../../../src/engine/consoles.ts';
import { Pace } from '../../../src/engine/pace.ts';

/** A serial line and a clock that a test moves. */
class Line {
  readonly typed: string[] = [];
  isPaused = false;
  unread = '';
  isFull = false;
  pauses = 0;
  opened = 0;
  closed = 0;
  now = 0;
  #data: (chunk: Buffer) => void = () => undefined;
  #drain: () => void = () => undefined;
  #due: { at: number; done: () => void }[] = [];

  readonly port: ConsolePort = {
    onData: (listener) => void (this.#data = listener),
    onClose: () => undefined,
    onDrain: (listener) => void (this.#drain = listener),
    write: (chunk) => {
      this.typed.push(chunk.toString());
      return !this.isFull;
    },
    pause: () => {
      this.isPaused = true;
      this.pauses++;
    },
    resume: () => void (this.isPaused = false),
    rest: () => Buffer.from(this.unread),
    close: () => {
      this.closed++;
    },
  };

  readonly host = {
    console: () => {
      this.opened++;
      return Promise.resolve(this.port);
    },
    now: () => this.now,
    sleep: (ms: number) => new Promise<void>((done) => this.#due.push({ at: this.now + ms, done })),
  } as unknown as Host;

  say(text: string | Buffer): void {
    this.#data(Buffer.from(text));
  }

  drain(): void {
    this.#drain();
  }

  get sleepers(): number {
    return this.#due.length;
  }

  async pass(ms: number): Promise<void> {
    this.now += ms;
    const due = this.#due.filter(({ at }) => at <= this.now);
    this.#due = this.#due.filter(({ at }) => at > this.now);
    for (const { done } of due) done();
    await Promise.resolve();
  }

  /** What a guest that never stops gets rid of in so many milliseconds. */
  async flood(forMs: number, chunk: Buffer): Promise<number> {
    let bytes = 0;
    for (const end = this.now + forMs; this.now < end; await this.pass(1))
      for (let i = 0; i < 100 && !this.isPaused; i++) {
        this.say(chunk);
        bytes += chunk.length;
      }
    return bytes;
  }
}

class Seat implements Reader {
  heard = '';
  lag = 0;
  isEnded = false;
  goesOn = 0;
  readonly ask: Ask;
  at!: Attachment;

  constructor(who: string, ask: Partial<Ask> = {}) {
    this.ask = { who, mayWrite: true, ...ask };
  }

  take(chunk: Buffer): void {
    this.heard += chunk.length > 1000 ? `<${chunk.length}>` : chunk.toString();
  }

  lagBytes(): number {
    return this.lag;
  }

  goOn(): void {
    this.goesOn++;
  }

  end(): void {
    this.isEnded = true;
  }

  type(text: string): boolean {
    return this.at.write(Buffer.from(text));
  }
}

const stage = async () => {
  const line = new Line();
  const told: string[] = [];
  let kept = Buffer.alloc(0);
  let flushes = 0;
  const consoles = new Consoles({
    host: line.host,
    paths: () => ({ conIn: '/in', conOut: '/out' }),
    history: () => ({
      append: (chunk) => void (kept = Buffer.concat([kept, chunk]).subarray(-100)),
      tail: (bytes) => Promise.resolve(kept.subarray(Math.max(0, kept.length - bytes))),
      pieces: () => Readable.from([kept]),
      flush: () => Promise.resolve().then(() => void (flushes += 1)),
    }),
    replayBytes: 50,
    onSession: (change, { who, mode, bytesIn, bytesOut }) =>
      void told.push(`${change} ${who} ${mode} ${bytesIn}/${bytesOut}`),
  });
  await consoles.open('web');
  const sit = async (who: string, ask: Partial<Ask> = {}): Promise<Seat> => {
    const seat = new Seat(who, ask);
    seat.at = await consoles.attach('web', seat.ask, seat);
    return seat;
  };
  return { line, consoles, told, sit, flushes: () => flushes };
};

describe('the writer of a console', () => {
  test('is who comes first; others read and are told who writes', async () => {
    const { line, sit } = await stage();
    const [ann, bob] = [await sit('user:ann'), await sit('user:bob')];
    expect([ann.at.mode, ann.at.writer, ann.at.note.toString()]).toEqual(['write', 'user:ann', '']);
    expect([bob.at.mode, bob.at.writer]).toEqual(['read', 'user:ann']);
    expect(bob.at.note.toString()).toBe('\r\n[brig: user:ann writes; you read; --steal takes over]\r\n');
    ann.type('a');
    bob.type('b');
    line.say('hello');
    expect([line.typed, ann.heard, bob.heard]).toEqual([['a'], 'hello', 'hello']);
  });

  test('is never one who may only read, whatever he asks', async () => {
    const { line, sit } = await stage();
    const eve = await sit('user:eve', { mayWrite: false });
    expect([eve.at.mode, eve.at.note.toString()]).toEqual(['read', '\r\n[brig: you read]\r\n']);
    eve.type('x');
    expect(line.typed).toEqual([]);
    const stolen = sit('user:eve', { mayWrite: false, steal: true });
    await expect(stolen).rejects.toMatchObject({ code: 'acl.denied' });
    await expect(sit('user:ann', { viewOnly: true, steal: true })).rejects.toMatchObject({ code: 'acl.denied' });
  });

  test('is whoever took over; the former one is told by whom and reads on', async () => {
    const { line, sit, told } = await stage();
    const ann = await sit('user:ann');
    line.isFull = true;
    expect(ann.type('a')).toBe(false);
    const bob = await sit('user:bob', { steal: true });
    expect(ann.heard).toBe('\r\n[brig: user:bob took over; you read]\r\n');
    expect([bob.at.mode, bob.at.note.toString()]).toEqual(['write', '\r\n[brig: you took over from user:ann]\r\n']);
    // She waited for a guest that is not hers any more.
    expect(ann.goesOn).toBe(1);
    expect(ann.type('x')).toBe(true);
    bob.type('b');
    line.say('!');
    expect([line.typed, ann.heard.endsWith('!')]).toEqual([['a', 'b'], true]);
    expect(told).toEqual(['begin user:ann write 0/0', 'begin user:bob write 0/0']);
  });

  test('who leaves makes room for whoever may and types first', async () => {
    const { line, sit, told } = await stage();
    const [ann, eve, bob] = [await sit('ann'), await sit('eve', { mayWrite: false }), await sit('bob')];
    ann.type('abc');
    ann.at.close();
    ann.type('gone');
    expect([eve.heard, bob.heard]).toEqual(['', '\r\n[brig: ann left; you write when you type]\r\n']);
    eve.type('e');
    bob.type('b');
    expect(line.typed).toEqual(['abc', 'b']);
    expect(told.slice(3)).toEqual(['end ann write 3/0', 'writes bob write 0/0']);
  });

  test('waits while the guest does not read, and is told when it does', async () => {
    const { line, sit } = await stage();
    const ann = await sit('ann');
    line.isFull = true;
    expect(ann.type('a')).toBe(false);
    line.drain();
    expect(ann.goesOn).toBe(1);
  });

  test('has a name that cannot steer a terminal', async () => {
    const { sit } = await stage();
    await sit('ann\x1b[2J');
    expect((await sit('bob')).at.note.toString()).toContain('ann\\x1b[2J writes');
  });
});

describe('a session', () => {
  test('begins with as much history as was asked for', async () => {
    const { line, sit } = await stage();
    line.say('0123456789'.repeat(10));
    expect((await sit('ann')).at.history).toHaveLength(50);
    expect((await sit('bob', { replayBytes: 3 })).at.history.toString()).toBe('789');
  });

  test('whose client goes ends, is told of, and leaves the writing to others', async () => {
    const { line, consoles, sit, told } = await stage();
    const [ann, bob] = [await sit('ann'), await sit('bob')];
    line.say('12345');
    ann.at.close();
    ann.type('x');
    bob.type('y');
    line.say('6');
    expect([line.typed, ann.heard]).toEqual([['y'], '12345']);
    expect(told).toContain('end ann write 0/5');
    expect(consoles.sessions('web')).toMatchObject([{ vm: 'web', who: 'bob', mode: 'write', via: 'api', bytesIn: 1 }]);
  });

  test('ends with the VM, and its history is written by then', async () => {
    const { line, consoles, sit, flushes } = await stage();
    const ann = await sit('ann');
    await consoles.close('web');
    expect([ann.isEnded, line.closed, flushes(), consoles.sessions()]).toEqual([true, 1, 1, []]);
    await expect(sit('bob')).rejects.toMatchObject({ code: 'vm.blocked' });
  });

  test('that comes while the console is being opened waits for it', async () => {
    const { consoles, line } = await stage();
    const opening = consoles.open('db');
    const seat = new Seat('ann');
    expect((await consoles.attach('db', seat.ask, seat)).mode).toBe('write');
    await opening;
    expect(line.closed).toBe(0);
  });

  test('of a console that closes while it is being opened does not come about, and no port stays open', async () => {
    const { consoles, line, sit } = await stage();
    const again = consoles.open('web');
    const closing = consoles.close('web');
    await Promise.all([again, closing]);
    expect([await consoles.isOpen('web'), line.opened, line.closed]).toEqual([false, 2, 2]);
    await expect(sit('ann')).rejects.toMatchObject({ code: 'vm.blocked' });
  });

  test('is refused to one who has many, however fast they come, and to nobody else', async () => {
    const { sit } = await stage();
    const many = Array.from({ length: LIMITS.consoleSessionsEach + 5 }, () => sit('eve', { mayWrite: false }));
    const refused = (await Promise.allSettled(many)).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(5);
    await expect(sit('eve')).rejects.toMatchObject({ code: 'api.busy', retry: 'later', message: /8 sessions of one/ });
    expect((await sit('ann')).at.mode).toBe('write');
  });

  test('is refused to readers when there are too many, and never to whoever may write', async () => {
    const { sit } = await stage();
    const read = (i: number) => sit(`u${i}`, { mayWrite: false });
    const many = Array.from({ length: LIMITS.consoleReaders + 5 }, (_, i) => read(i));
    const refused = (await Promise.allSettled(many)).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(5);
    await expect(read(100)).rejects.toMatchObject({ code: 'api.busy', retry: 'later', message: /32 readers/ });
    expect((await sit('owner')).at.mode).toBe('write');
    expect((await sit('root', { steal: true })).at.mode).toBe('write');
  });

  test.each([
    ['only looks', { viewOnly: true }],
    ['may not write', { mayWrite: false }],
  ])('of one who %s and types all the same is read no faster than anybody types', async (_, ask) => {
    const { line, sit } = await stage();
    const eve = await sit('eve', ask);
    let bytes = 0;
    let isRead = true;
    for (const end = 100_000; line.now < end; await line.pass(10)) {
      if (eve.goesOn > 0) isRead = true;
      eve.goesOn = 0;
      for (let i = 0; i < 100 && isRead; i++) {
        isRead = eve.type('x'.repeat(16_384));
        bytes += 16_384;
      }
    }
    const seconds = line.now / 1000;
    expect(bytes).toBeLessThan(LIMITS.consoleIgnoredBurstBytes + (seconds + 5) * LIMITS.consoleIgnoredPerSecond);
    expect(bytes).toBeGreaterThan((seconds - 5) * LIMITS.consoleIgnoredPerSecond);
    expect(line.typed).toEqual([]);
    // Neither is what he still sends when his session is over.
    eve.at.close();
    expect(Array.from({ length: 10 }, () => eve.type('x'.repeat(16_384))).at(-1)).toBe(false);
  });

  test('of a slow reader loses what he is too slow for, is told how much, and holds up nobody', async () => {
    const { line, sit } = await stage();
    const [slow, quick] = [await sit('slow'), await sit('quick')];
    slow.lag = LIMITS.consoleLagBytes;
    line.say('lost');
    line.say('too');
    expect([slow.heard, quick.heard]).toEqual(['', 'losttoo']);
    slow.lag = 0;
    slow.at.drained();
    line.say('new');
    expect(slow.heard).toBe('\r\n[brig: 7 bytes left out: you read too slowly]\r\nnew');
  });
});

describe('a flood', () => {
  const chunk = Buffer.alloc(65_536);
  const MIB = 2 ** 20;

  test('with no reader is read as a fast serial line, and the rest waits', async () => {
    const { line } = await stage();
    const bytes = await line.flood(10_000, chunk);
    expect(bytes / MIB).toBeGreaterThan(9);
    expect(bytes / MIB).toBeLessThan(11);
    expect(line.pauses).toBeLessThan(200);
  });

  test('of single bytes costs no more reads than one of many', async () => {
    const { line } = await stage();
    expect(await line.flood(10_000, Buffer.from('x'))).toBeLessThan(700);
  });

  test('with a reader who takes it all is read at least at twice what is promised', async () => {
    const { line, sit } = await stage();
    await sit('ann');
    const bytes = await line.flood(2_000, chunk);
    expect(bytes / 1e6).toBeGreaterThan(200);
    expect(bytes / 1e6).toBeLessThan(230);
  });

  test('is read slowly again while every reader lags, and at once when one has caught up', async () => {
    const { line, sit } = await stage();
    const ann = await sit('ann');
    ann.lag = LIMITS.consoleRoomBytes;
    const bytes = await line.flood(1_000, chunk);
    expect(bytes / MIB).toBeLessThan(1.5);
    line.say(chunk);
    line.say(chunk);
    line.say(chunk);
    expect(line.isPaused).toBe(true);
    const { pauses } = line;
    ann.lag = 0;
    ann.at.drained();
    expect(line.isPaused).toBe(false);
    // What was due for that pause changes nothing.
    line.say('x');
    await line.pass(1_000);
    expect(line.pauses).toBe(pauses);
  });

  test('that is over leaves no timer', async () => {
    const { line } = await stage();
    await line.flood(100, chunk);
    await line.pass(1_000);
    expect([line.sleepers, line.isPaused]).toEqual([0, false]);
    line.say('quiet');
    expect(line.sleepers).toBe(0);
  });
});

test('a pace gives its burst, then its rate, whatever the clock does', () => {
  const pace = new Pace(1000, 400, 0);
  expect(pace.spend(400, 0)).toBe(0);
  expect(pace.spend(100, 0)).toBe(200);
  expect(pace.spend(0, 200)).toBe(0);
  expect(pace.spend(100, 100)).toBe(0);
  expect(pace.spend(100, 0)).toBe(200);
});
