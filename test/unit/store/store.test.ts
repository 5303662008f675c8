import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import { LIMITS } from '../../../src/base/limits.ts';
import { parseVm, type VmSpec } from '../../../src/spec/vm.ts';
import { Store } from '../../../src/store/store.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-store-'));
afterAll(() => rmSync(dir, { recursive: true }));
let files = 0;
const fresh = (): string => join(dir, `${files++}.db`);
const spec = (name: string, nics: object[] = [{}]): VmSpec => parseVm({ name, nics, firmware: { builtin: 'test' } });

describe('leases', () => {
  test('are never those of another, and come back', () => {
    const store = new Store(fresh());
    for (const name of ['a', 'b', 'c']) store.addVm(spec(name, [{}, {}]), 0);
    expect(store.listVms().map(({ slot, nics }) => [slot, nics.map((nic) => nic.unit)])).toEqual([
      [0, [0, 1]],
      [1, [2, 3]],
      [2, [4, 5]],
    ]);
    store.removeVm('b');
    expect(store.addVm(spec('d', [{}]), 0), 'behind the last').toMatchObject({ slot: 3, nics: [{ unit: 6 }] });
    store.removeVm('c');
    store.removeVm('d');
    expect(store.addVm(spec('e', [{}]), 0)).toMatchObject({ slot: 1, nics: [{ unit: 2 }] });
    store.close();
  });

  test('fill the gaps when the last number is taken, and are refused when there is none', () => {
    const path = fresh();
    const store = new Store(path);
    for (const name of ['a', 'b', 'c']) store.addVm(spec(name, []), 0);
    store.removeVm('b');
    store.close();
    const db = new DatabaseSync(path);
    db.exec(`update leases set number = ${LIMITS.slots - 1} where kind = 'slot' and holder = 'c'`);
    db.close();
    const full = new Store(path);
    expect(full.addVm(spec('d', []), 0).slot).toBe(1);
    expect(full.addVm(spec('e', []), 0).slot).toBe(2);
    full.removeVm('a');
    expect(full.addVm(spec('f', []), 0).slot).toBe(0);
    full.close();
    const again = new DatabaseSync(path);
    const numbers = `with recursive n(i) as (select 0 union all select i + 1 from n where i < ${LIMITS.slots - 1}) select i from n`;
    again.exec(`insert or ignore into leases select 'slot', i, 'many', 0, 0, null from (${numbers})`);
    again.close();
    const none = new Store(path);
    expect(() => none.addVm(spec('g', []), 0)).toThrow('all 10000 slots are leased');
    expect(none.findVm('g')).toBeUndefined();
    none.close();
  });

  test('are granted with the change that makes the VM, or not at all', () => {
    const store = new Store(fresh());
    const refuse = (): void => {
      throw new Error('disk is full');
    };
    expect(() => store.addVm(spec('a'), 0, refuse)).toThrow('disk is full');
    expect(store.findVm('a')).toBeUndefined();
    expect(store.listVms()).toEqual([]);
    const begin = ({ name }: { name: string }): void =>
      store.beginSaga({ id: 's', vm: name, verb: 'create', run: '', steps: [], startedMs: 0 });
    expect(store.addVm(spec('a'), 0, begin)).toMatchObject({ slot: 0, nics: [{ unit: 0 }] });
    expect(store.listSagas()).toMatchObject([{ id: 's', vm: 'a' }]);
    store.close();
  });

  test('and changes under way tell which start of brigd they are of', () => {
    const path = fresh();
    const store = new Store(path);
    store.addVm(spec('a'), 0);
    store.beginSaga({ id: 's', vm: 'a', verb: 'start', run: 's', steps: [], startedMs: 0 });
    expect(store.listSagas()).toMatchObject([{ id: 's', epoch: store.epoch }]);
    store.close();
    const next = new Store(path);
    expect(next.epoch).toBe(store.epoch + 1);
    expect(next.listSagas()).toMatchObject([{ id: 's', epoch: store.epoch }]);
    next.close();
    const db = new DatabaseSync(path);
    expect(db.prepare('select kind, number, holder, epoch from leases order by kind').all()).toMatchObject([
      { kind: 'slot', number: 0, holder: 'a', epoch: store.epoch },
      { kind: 'unit', number: 0, holder: 'a', epoch: store.epoch },
    ]);
    db.close();
  });

  test('give every NIC an address of its own, and refuse one that is taken', () => {
    const store = new Store(fresh());
    for (let i = 0; i < 50; i++) store.addVm(spec(`vm${i}`, [{}, {}]), 0);
    const macs = store.listVms().flatMap(({ nics }) => nics.map((nic) => nic.mac));
    expect(new Set(macs).size).toBe(100);
    expect(macs.every((mac) => /^58:9c:fc:[0-9a-f:]{8}$/.test(mac))).toBe(true);
    const mac = '02:00:00:00:00:01';
    store.addVm(spec('mine', [{ mac }]), 0);
    expect(() => store.addVm(spec('yours', [{}, { mac }]), 0)).toThrow(`mac ${mac} is a NIC of mine`);
    expect(store.findVm('yours'), 'all or nothing').toBeUndefined();
    store.close();
  });

  test('refuse a name that exists', () => {
    const store = new Store(fresh());
    store.addVm(spec('a'), 0);
    expect(() => store.addVm(spec('a'), 0)).toThrow(expect.objectContaining({ code: 'vm.exists' }) as Error);
    store.close();
  });
});

describe('the file', () => {
  test('is for one brigd at a time', () => {
    const path = fresh();
    const store = new Store(path);
    expect(() => new Store(path)).toThrow(expect.objectContaining({ code: 'store.busy' }) as Error);
    store.close();
    new Store(path).close();
  });

  test('of a newer brig is left alone', () => {
    const path = fresh();
    const db = new DatabaseSync(path);
    db.exec('pragma user_version = 99');
    db.close();
    expect(() => new Store(path)).toThrow('written by a newer brig');
  });

  test('of an older brig gets what there is since, and keeps what it has', () => {
    const path = fresh();
    const older = { ...spec('old', [{}, {}]), boot: undefined };
    const db = new DatabaseSync(path);
    db.exec(readFileSync(new URL('../../recordings/store-2.sql', import.meta.url), 'utf8'));
    db.prepare(`update vms set spec = ?`).run(JSON.stringify(older));
    db.close();
    const store = new Store(path);
    expect(store.findVm('old')).toMatchObject({
      spec: spec('old', [{}, {}]),
      slot: 4,
      secretName: 'b0123456789abcdef0123456789abcdef',
      intent: 'running',
      run: 'run-7',
      nics: [
        { unit: 8, mac: '58:9c:fc:00:00:08' },
        { unit: 9, mac: '58:9c:fc:00:00:09' },
      ],
    });
    expect(store.listSagas()).toMatchObject([{ id: 'saga-1', epoch: 0 }]);
    expect(store.listEvents(0, 10)).toHaveLength(1);
    expect(store.addVm(spec('new'), 0)).toMatchObject({ slot: 5, nics: [{ unit: 10 }] });
    store.close();
  });

  test('survives a crash in the middle of a write', () => {
    const path = fresh();
    const store = new Store(path);
    store.addVm(spec('kept'), 0);
    store.beginSaga({ id: 's', vm: 'kept', verb: 'start', run: 's', steps: [], startedMs: 0 });
    // What a kill leaves: the file, and a log whose last page is torn.
    const torn = fresh();
    copyFileSync(path, torn);
    expect(existsSync(`${path}-wal`)).toBe(true);
    writeFileSync(`${torn}-wal`, Buffer.concat([readFileSync(`${path}-wal`), Buffer.alloc(3000, 0xa5)]));
    const reopened = new Store(torn);
    expect(reopened.listVms().map((vm) => vm.name)).toEqual(['kept']);
    expect(reopened.listSagas()).toHaveLength(1);
    reopened.close();
    store.close();
  });

  test('keeps events in order, and answers from a cursor', () => {
    const store = new Store(fresh());
    for (let i = 0; i < 10; i++)
      store.addEvent({ atMs: i, vm: i % 2 ? 'a' : 'b', kind: 'k', cause: 'operator', data: { i } });
    expect(store.listEvents(3, 100, 'a').map((event) => event.data.i)).toEqual([3, 5, 7, 9]);
    expect(store.lastEvents(2, 'b').map((event) => event.data.i)).toEqual([6, 8]);
    store.close();
  });
});
