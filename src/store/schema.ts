import { DatabaseSync } from 'node:sqlite';
import { BrigError, messageOf } from '../base/errors.ts';

const SCHEMA_1 = `
  create table vms (
    name text primary key, spec text not null, slot integer not null unique,
    intent text not null, run text not null, trouble text, last_end text, created_ms integer not null,
    secret text not null
  ) strict;
  create table units (unit integer primary key, vm text not null, idx integer not null, mac text not null unique) strict;
  create table node (salt text not null) strict;
  insert into node values (lower(hex(randomblob(16))));
  create table sagas (
    id text primary key, vm text not null, verb text not null, run text not null,
    steps text not null, started_ms integer not null
  ) strict;
  create table events (
    seq integer primary key autoincrement, at_ms integer not null, vm text,
    kind text not null, cause text not null, data text not null
  ) strict;
`;
const SCHEMA_2 = `
  create table findings (
    vm text not null, key text not null, step text not null, because text not null, state text not null,
    reason text, commands text not null, since_ms integer not null, primary key (vm, key)
  ) strict;
`;
/** Documents of before there was a boot order. */
const SCHEMA_3 = `
  update vms set spec = json_set(spec, '$.boot', json('{"priority":500,"after":[],"readyTimeoutSeconds":120}'))
  where json_extract(spec, '$.boot') is null;
`;
/** Leases with holder and epoch: which start of brigd granted them. */
const SCHEMA_4 = `
  alter table node add column epoch integer not null default 0;
  alter table sagas add column epoch integer not null default 0;
  create table leases (
    kind text not null, number integer not null, holder text not null, epoch integer not null,
    idx integer not null, mac text unique, primary key (kind, number)
  ) strict, without rowid;
  create index leases_holder on leases (holder, kind, idx);
  create index events_vm on events (vm, seq);
  insert into leases select 'slot', slot, name, 0, 0, null from vms;
  insert into leases select 'unit', unit, vm, 0, idx, mac from units;
  drop table units;
  create table vms_4 (
    name text primary key, spec text not null, intent text not null, run text not null,
    trouble text, last_end text, created_ms integer not null, secret text not null
  ) strict;
  insert into vms_4 select name, spec, intent, run, trouble, last_end, created_ms, secret from vms;
  drop table vms;
  alter table vms_4 rename to vms;
`;
/** Documents of before NICs had addresses; snapshots, and what a change is to make of the store when it is done. */
const SCHEMA_5 = `
  update vms set spec = json_set(spec, '$.nics', (
    select json_group_array(json_patch('{"addresses":[],"gateways":[],"dns":[]}', value)) from json_each(spec, '$.nics')
  ));
  create table snapshots (
    seq integer primary key, vm text not null, name text not null, spec text not null, kind text not null,
    consistency text not null, created_ms integer not null, unique (vm, name)
  ) strict;
  alter table sagas add column pending text;
`;
/** NICs that may send and be sent to; networks, jails on them, and whose addresses are whose: a block of 4 or 16 bytes, the first of 2^(bits - prefix) addresses. */
const SCHEMA_6 = `
  create table networks (
    name text primary key, number integer not null unique, spec text not null, created_ms integer not null
  ) strict;
  create table addresses (
    network text not null, block blob not null, prefix integer not null, holder text not null, idx integer not null,
    kind text not null, epoch integer not null, since_ms integer not null, primary key (network, block)
  ) strict, without rowid;
  create index addresses_holder on addresses (holder, idx);
  create table attachments (
    network text not null, jail text not null, idx integer not null, spec text not null, created_ms integer not null,
    primary key (network, jail)
  ) strict, without rowid;
  update vms set spec = json_set(spec, '$.nics', (
    select json_group_array(json_patch('{"forwards":[],"sources":[]}', value)) from json_each(spec, '$.nics')
  ));
`;
/** Who may do what, whose keys are known, secrets sealed, answers given, and where the audit log was. */
const SCHEMA_7 = `
  create table grants (
    principal text not null, role text not null, object text not null, by text not null, created_ms integer not null,
    primary key (principal, object, role)
  ) strict, without rowid;
  create table keys (
    name text primary key, public blob not null unique, owner text not null, by text not null,
    created_ms integer not null, expires_ms integer, revoked_ms integer
  ) strict;
  create table secrets (
    owner text not null, name text not null, box blob not null, master text not null, created_ms integer not null,
    primary key (owner, name)
  ) strict, without rowid;
  create table answers (
    principal text not null, key text not null, request text not null, status integer, body text,
    created_ms integer not null, primary key (principal, key)
  ) strict, without rowid;
  create index answers_created on answers (created_ms);
  create index answers_principal on answers (principal, created_ms);
  create table anchor (id integer primary key check (id = 1), seq integer not null, hash text not null) strict;
`;
/** The nth brings a store of version n - 1 to version n. */
const SCHEMAS = [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5, SCHEMA_6, SCHEMA_7];

/** Opens the store's file, made or brought to this version, and begins an epoch. Errors: store.busy, store.failed. */
export const openDatabase = (path: string): DatabaseSync => {
  try {
    const db = new DatabaseSync(path);
    // Exclusive: one brigd per state directory, and no shared memory file that emulations may lack.
    db.exec(
      'pragma busy_timeout = 0; pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = full',
    );
    const version = (db.prepare('pragma user_version').get() as { user_version: number }).user_version;
    if (version > SCHEMAS.length)
      throw new Error(`written by a newer brig (schema ${version}, this one knows ${SCHEMAS.length})`);
    const missing = SCHEMAS.slice(version).join('');
    const epoch = 'update node set epoch = epoch + 1;';
    db.exec(`begin immediate; ${missing} ${epoch} pragma user_version = ${SCHEMAS.length}; commit`);
    db.exec('pragma synchronous = normal');
    return db;
  } catch (error) {
    const locked = messageOf(error).includes('locked');
    throw new BrigError(
      locked ? 'store.busy' : 'store.failed',
      `open ${path}: ${locked ? 'another brigd uses it' : messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
};
