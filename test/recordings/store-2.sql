-- A store as brig wrote it before leases had an epoch (schema 2).
create table vms (
  name text primary key, spec text not null, slot integer not null unique,
  intent text not null, run text not null, trouble text, last_end text, created_ms integer not null,
  secret text not null
) strict;
create table units (unit integer primary key, vm text not null, idx integer not null, mac text not null unique) strict;
create table node (salt text not null) strict;
create table sagas (
  id text primary key, vm text not null, verb text not null, run text not null,
  steps text not null, started_ms integer not null
) strict;
create table events (
  seq integer primary key autoincrement, at_ms integer not null, vm text,
  kind text not null, cause text not null, data text not null
) strict;
create table findings (
  vm text not null, key text not null, step text not null, because text not null, state text not null,
  reason text, commands text not null, since_ms integer not null, primary key (vm, key)
) strict;
insert into node values ('00112233445566778899aabbccddeeff');
insert into vms values ('old', '{}', 4, 'running', 'run-7', null, null, 1000, '0123456789abcdef0123456789abcdef');
insert into units values (8, 'old', 0, '58:9c:fc:00:00:08'), (9, 'old', 1, '58:9c:fc:00:00:09');
insert into sagas values ('saga-1', 'old', 'stop', 'run-7', '[]', 2000);
insert into events (at_ms, vm, kind, cause, data) values (1000, 'old', 'vm.created', 'operator', '{}');
pragma user_version = 2;
