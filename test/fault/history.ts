import { strict as assert } from 'node:assert';
import { BrigError } from '../../src/base/errors.ts';
import { chance } from '../soak/chance.ts';
import { World, type FaultKind } from '../sim/world.ts';

/** What others made on the host: nothing of brig's may touch it. */
const STRANGERS = [
  '/sbin/ifconfig tap3 create description mine',
  '/sbin/ifconfig bridge5 create',
  '/sbin/ifconfig bridge5 addm tap3',
  '/sbin/zfs create tank/other',
  '/usr/bin/rctl -a jail:other:maxproc:deny=10',
  '/usr/sbin/jail -c name=db path=/ persist vnet',
] as const;

const LAN = { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] };

const VMS = {
  web01: { nics: [{}], disks: [{ zvol: { size: '64M' } }], restart: { policy: 'never' } },
  web02: { nics: [{}, { mode: 'direct' }], disks: [], restart: { policy: 'on-failure', max: 2 } },
  web03: {
    nics: [{ network: 'lan' }],
    disks: [{ file: { size: '64M' } }],
    cloudInit: {},
    restart: { policy: 'always', max: 3 },
  },
} as const;
type Name = keyof typeof VMS;
const NAMES = Object.keys(VMS) as Name[];

const FAULTS: readonly FaultKind[] = ['fails before', 'fails after', 'hangs', 'runs twice'];

/** Commands of somebody at the host's keyboard. */
const handsOn = (name: Name, unit: number, uid: number, pick: (below: number) => number): string[] => {
  const root = `/var/run/brig/vms/${name}/root`;
  const all = [
    [`/sbin/ifconfig epair${unit}a destroy`],
    [`/sbin/ifconfig epair${unit}a down`],
    [`/sbin/ifconfig epair${unit}a name mine${unit}`],
    [`/sbin/ifconfig bridge7000 deletem epair${unit}a`],
    ['/sbin/ifconfig bridge7000 destroy'],
    [`/sbin/ifconfig -j brig-${name} bridge0 destroy`],
    [`/sbin/devfs rule -s ${uid} delset`],
    [`/usr/bin/rctl -r jail:brig-${name}`],
    [`/sbin/umount ${root}/vm`],
    [`/usr/sbin/jail -R brig-${name}`],
    [`/usr/sbin/bhyvectl --vm=${name} --destroy`],
    [`/usr/sbin/bhyvectl --vm=${name} --force-poweroff`],
    [`/sbin/pfctl -a brig/${name} -F rules`],
    ['/sbin/pfctl -a brig/net.lan -F nat'],
    ['/sbin/ifconfig bridge7001 destroy'],
    ['/usr/sbin/jail -R db'],
    ['/usr/sbin/jail -R db', '/usr/sbin/jail -c name=db path=/ persist vnet'],
  ];
  return all[pick(all.length)] ?? [];
};

/** One history: what happened, for whoever looks at a failure, and the world it happened to. */
class History {
  readonly world = new World();
  readonly lines: string[] = [];
  readonly #pick: (below: number) => number;
  readonly #refusals: string[] = [];
  #faults = 0;

  constructor(seed: number) {
    this.#pick = chance(seed);
  }

  get faults(): number {
    return this.#faults;
  }

  #say(line: string): void {
    this.lines.push(`${String(this.world.model.host.now() % 1e8).padStart(8)} ${line}`);
  }

  /** A refusal is no fault of brig's, as long as it says why. */
  #ask(line: string, work: () => Promise<unknown>): void {
    this.#say(line);
    const { mortal } = this.world;
    void work().catch((error: unknown) => {
      // Nobody hears a dead brigd.
      if (mortal.dead || (error instanceof BrigError && error.message.length > 10 && error.code !== 'saga.failed'))
        return;
      this.#refusals.push(`${line}: refused without a reason: ${String(error)}`);
    });
  }

  /** What people do to a VM's disks. */
  #data(name: Name): void {
    const { snapshots } = this.world.engine;
    const operator = { cause: 'operator' } as const;
    const known = this.world.store.snapshots.of(name);
    const snapshot = known[this.#pick(known.length + 1)]?.name ?? 'abcdef'[this.#pick(6)] ?? 'a';
    switch (known.length === 0 ? this.#pick(3) + 2 : this.#pick(6)) {
      case 0:
        return this.#ask(`rollback ${name} ${snapshot}`, () => snapshots.rollback(name, snapshot, true, operator));
      case 1:
        return this.#ask(`remove snapshot ${snapshot} of ${name}`, () => snapshots.remove(name, snapshot, operator));
      case 2: {
        const bytes = (64 + 16 * this.#pick(8)) * 2 ** 20;
        return this.#ask(`resize ${name} to ${bytes}`, () => snapshots.resize(name, 0, bytes, operator));
      }
      default:
        return this.#ask(`snapshot ${name} ${snapshot}`, () => snapshots.make(name, snapshot, operator));
    }
  }

  /** Brigd comes up again, whatever went wrong before. */
  async #boot(): Promise<void> {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        await this.world.boot();
        return;
      } catch {
        this.#say('brigd did not come up');
      }
    }
    throw new Error('brigd does not come up');
  }

  async #act(): Promise<void> {
    const { world } = this;
    const operator = { cause: 'operator' } as const;
    const name = NAMES[this.#pick(NAMES.length)] ?? 'web01';
    const { engine, model } = world;
    switch (this.#pick(18)) {
      case 0:
      case 1:
      case 2:
        return this.#ask(`start ${name}`, () => engine.start(name, operator));
      case 3:
        return this.#ask(`stop ${name}`, () => engine.stop(name, { ...operator, graceMs: 1000 }));
      case 4:
        return this.#ask(`kill ${name}`, () => engine.stop(name, { ...operator, graceMs: 0 }));
      case 5:
        return this.#ask(`restart ${name}`, () => engine.restart(name, { ...operator, graceMs: 1000 }));
      case 6:
        if (!world.store.findVm(name)) return this.#ask(`create ${name}`, () => world.create({ name, ...VMS[name] }));
        return this.#ask(`destroy ${name}`, () =>
          engine.destroy(name, { ...operator, force: this.#pick(2) === 0, graceMs: 0 }),
        );
      case 7: {
        if (!model.guest(name).running) return;
        const signal = [6, 9, 11][this.#pick(3)] ?? 6;
        this.#say(`bhyve of ${name} dies of signal ${signal}`);
        return model.guest(name).crash(signal);
      }
      case 8: {
        if (!model.guest(name).running) return;
        const key = 'qrt'[this.#pick(3)] ?? 'q';
        this.#say(`guest ${name} types ${key}`);
        return model.guest(name).type(key);
      }
      case 9:
        return await this.#hands(name);
      case 10: {
        const fault = { kind: FAULTS[this.#pick(FAULTS.length)] ?? 'hangs', at: 1 + this.#pick(40), forEver: false };
        this.#say(`effect ${fault.at} from now ${fault.kind}`);
        this.#faults++;
        return world.mortal.arm(fault);
      }
      case 11:
      case 12:
      case 13:
      case 14:
        return this.#data(name);
      case 15:
        return this.#ask('attach db', () => engine.networks.attach('lan', { jail: 'db' }, operator));
      case 16:
        return this.#ask('detach db', () => engine.networks.jails.detach('lan', 'db', operator));
      default:
        return await this.#end();
    }
  }

  async #hands(name: Name): Promise<void> {
    const row = this.world.store.findVm(name);
    if (!row) return;
    const unit = 7000 + (row.nics[0]?.unit ?? 0);
    for (const line of handsOn(name, unit, 20_000 + row.slot, this.#pick)) {
      this.#say(`by hand: ${line}`);
      const [program = '', ...args] = line.split(' ');
      await this.world.shell(program, ...args);
    }
  }

  async #end(): Promise<void> {
    const isReboot = this.#pick(3) === 0;
    this.#say(isReboot ? 'the host reboots' : 'brigd is killed');
    this.world.die();
    if (isReboot) this.world.model.reboot();
    await this.#boot();
    if (isReboot) await this.#strangers();
  }

  async #strangers(): Promise<void> {
    await this.world.filter();
    for (const line of STRANGERS) {
      const [program = '', ...args] = line.split(' ');
      await this.world.shell(program, ...args);
    }
  }

  async run(): Promise<void> {
    const { world } = this;
    await world.prepare('shared');
    await this.#strangers();
    const bare = await this.#inventory();
    await world.engine.networks.create(LAN, { cause: 'operator' });
    for (const name of NAMES.slice(0, 1 + this.#pick(3))) await world.create({ name, ...VMS[name] });
    for (let act = 6 + this.#pick(8); act > 0; act--) {
      await this.#act();
      await this.#check();
      await world.model.host.sleep([0, 3, 20, 150, 1_000, 6_000][this.#pick(6)] ?? 0);
    }
    world.mortal.arm(undefined);
    this.#say('nothing goes wrong any more');
    await this.#settle();
    await this.#compare();
    await this.#compareSnapshots();
    await this.#leave();
    assert.deepEqual(await this.#inventory(), bare, 'nothing of brig is left, and strangers are as they were');
    assert.deepEqual(world.store.listSagas(), [], 'the journal is empty');
    assert.deepEqual(this.#refusals, [], 'every refusal has a reason');
  }

  /** Another boot has another init(8), and that is all. */
  async #inventory(): Promise<string[]> {
    return (await this.world.inventory()).map((text) => text.replaceAll(/"(start-time|jid|jail-id)":"[^"]*"/g, ''));
  }

  /** At every moment. */
  async #check(): Promise<void> {
    const text = await this.world.shell('/bin/ps', '--libxo=json', '-ax', '-o', 'pid,command');
    for (const name of NAMES) assert(text.split(`"bhyve: ${name} `).length <= 2, `two bhyves of ${name}`);
  }

  async #settle(): Promise<void> {
    const { world } = this;
    // A rollback that is stuck waits for a person, who looks once it is calm.
    await world.until(() => world.engine.operations.all().length === 0, 300_000);
    for (const { vm } of world.store.listSagas().filter(({ verb }) => verb === 'rollback'))
      await world.engine.resolve(vm, { cause: 'operator' });
    const isQuiet = (): boolean => world.engine.operations.all().length === 0 && world.store.listSagas().length === 0;
    await world.until(isQuiet, 300_000);
    // Two passes over the whole host, and what they begin.
    await world.model.host.sleep(31_000);
    await world.until(isQuiet, 300_000);
    await world.reconciler.settled();
    await world.engine.networks.jails.settled();
    await world.engine.upkeep.settled();
    await world.until(isQuiet, 300_000);
  }

  /** What is reported is what is there. */
  async #compare(): Promise<void> {
    const { world } = this;
    const processes = await world.shell('/bin/ps', '--libxo=json', '-ax', '-o', 'pid,command');
    const units = new Set<number>();
    for (const view of await world.list()) {
      const runs = processes.includes(`"bhyve: ${view.name} `);
      assert.equal(view.state === 'running', runs, `${view.name} is reported as ${view.state}`);
      assert(['running', 'defined', 'failed', 'stuck'].includes(view.state), `${view.name} is ${view.state}`);
      const isStuck = world.store.findVm(view.name)?.trouble?.kind === 'stuck';
      if (view.state === 'failed' || isStuck) assert(view.reason, `${view.name} says why`);
      for (const { unit } of view.nics) {
        assert(!units.has(unit), `unit ${unit} is leased twice`);
        units.add(unit);
      }
      // One whose stop is stuck waits for brig resolve.
      if (view.state === 'running' && !isStuck)
        for (const found of await world.engine.examine(view.name))
          assert(
            world.reconciler.findings(view.name).some(({ key }) => key === found.key),
            `nobody tells ${found.key}`,
          );
    }
  }

  /** Whoever looks at the pool finds nothing of brig's that the store does not know. */
  async #compareSnapshots(): Promise<void> {
    const { world } = this;
    const text = await world.shell('/sbin/zfs', 'list', '-Hp', '-r', '-t', 'snapshot', '-o', 'name', 'tank/brig');
    for (const [, vm = '', name = ''] of text.matchAll(/vms\/([^/]+)\/disk\d@brig-(\S+)/g))
      assert(world.store.snapshots.find(vm, name), `snapshot ${name} of ${vm} is nobody's`);
    for (const name of NAMES.filter((each) => world.store.findVm(each))) {
      const dirs = (await world.model.host.list(`/var/db/brig/vms/${name}/snapshots`)) ?? [];
      for (const dir of dirs) assert(world.store.snapshots.find(name, dir), `snapshot ${dir} of ${name} is nobody's`);
      const { disks } = world.engine.row(name).spec;
      const size = disks[0] && 'zvol' in disks[0] ? disks[0].zvol.size : 0;
      const has = await world.shell('/sbin/zfs', 'get', '-Hp', '-o', 'value', 'volsize', `tank/brig/vms/${name}/disk0`);
      assert(size <= Number(has.trim() || size), `${name} has ${has.trim()} bytes, and says ${size}`);
    }
  }

  async #leave(): Promise<void> {
    const { world } = this;
    for (const { name } of await world.list())
      await world.engine.destroy(name, { cause: 'operator', force: true, graceMs: 0 });
    assert.deepEqual(await world.list(), []);
    if (world.store.attachments.find('lan', 'db'))
      await world.engine.networks.jails.detach('lan', 'db', { cause: 'operator' });
    await world.engine.networks.destroy('lan', { cause: 'operator' });
    assert.deepEqual(world.store.networks.leases('lan'), [], 'no address is left');
    await world.shell('/usr/sbin/jail', '-c', 'name=db', 'path=/', 'persist', 'vnet');
  }
}

/** Runs one history. Errors: the invariant that broke, with what happened and the line that repeats it. */
export const runHistory = async (seed: number): Promise<number> => {
  const history = new History(seed);
  try {
    await history.run();
    return history.faults;
  } catch (error) {
    throw new Error(
      `history ${seed}: ${error instanceof Error ? error.message : String(error)}\n${history.lines.join('\n')}\nrepeat it with: npm run history -- ${seed}`,
      { cause: error },
    );
  } finally {
    history.world.close();
  }
};
