-- The record of one service. The same schema serves every service; The statement of `commit-statement.ts` and `renew_rows` are the only writers.

create table if not exists events (
  position bigint not null,
  stream text collate "C" not null,
  version integer not null,
  type text not null,
  schema smallint not null,
  data json not null,
  -- correlation id, causes (id and kind of the events that led to this one), caller, trace context
  meta json not null,
  time_ms bigint not null,
  primary key (stream, version)
);
create unique index if not exists events_position on events (position);

-- One row. The transaction that holds its lock assigns the next positions; it holds the lock until the commit, so positions are in commit order.
create table if not exists head (
  singleton boolean primary key default true check (singleton),
  position bigint not null
) with (fillfactor = 10);
insert into head (position) values (0) on conflict do nothing;

-- States folded from streams, and what a service remembers of others. Only the key is indexed and half of each page is free, so an update stays on its page.
-- Rows, index entries and cursors change all the time and leave garbage. By default a table is vacuumed once a fifth of it is garbage, far too late for a
-- large one: reads walk over its dead index entries until then. These are vacuumed after a fiftieth, cursors (few, moved with every commit) after 1,000 moves.
create table if not exists rows (
  table_name text collate "C" not null,
  key text collate "C" not null,
  -- wider than a stream's version: also an access epoch, a position of another service's feed
  version bigint not null,
  row json not null,
  primary key (table_name, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

create table if not exists row_index (
  table_name text collate "C" not null,
  index text collate "C" not null,
  value text collate "C" not null,
  key text collate "C" not null,
  primary key (table_name, index, value, key)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- How far consumers have come in the feeds of others, and the relay in our own.
create table if not exists cursors (
  name text collate "C" primary key,
  position bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Fails a commit that cannot be stored: IL001 = streams that moved, IL002 = cursors that moved. Strict: null names (no conflict) never reach the raise.
create or replace function commit_refused(p_code text, p_names json) returns boolean language plpgsql strict as $$
begin
  raise exception using errcode = p_code, message = 'moved', detail = p_names::text;
end
$$;

-- Stores rows that were rebuilt from the events of their streams. Returns a JSON array of the streams that changed since the fold; their rows are skipped.
-- The lock waits for every open transaction that changes rows (rows are written first) and blocks new ones until this one ends. So the comparison sees
-- what is stored, and a row that an open transaction removes cannot come back. Reads continue.
create or replace function renew_rows(p_rows json, p_removed json, p_added json)
returns json language plpgsql as $$
declare
  v_moved json;
  v_behind json;
begin
  lock table rows in share row exclusive mode;

  select json_agg(r.stream) into v_moved
    from json_to_recordset(p_rows) as r(stream text, version bigint)
    where r.version <> coalesce((select e.version from events e where e.stream = r.stream order by e.version desc limit 1), 0);

  select json_agg(json_build_object('table', r."table", 'key', r.key)) into v_behind
    from json_to_recordset(p_rows) as r("table" text, key text, stream text, version bigint)
    where r.stream not in (select json_array_elements_text(coalesce(v_moved, '[]')))
      and r.version > coalesce((select rows.version from rows where rows.table_name = r."table" and rows.key = r.key limit 1), 0);

  insert into rows (table_name, key, version, row)
    select r."table", r.key, r.version, r.row
    from json_to_recordset(p_rows) as r("table" text, key text, version bigint, row json)
    join json_to_recordset(v_behind) as b("table" text, key text) using ("table", key)
    where json_typeof(r.row) = 'object'
    on conflict (table_name, key) do update set version = excluded.version, row = excluded.row;

  delete from rows using json_to_recordset(p_rows) as r("table" text, key text, row json)
    join json_to_recordset(v_behind) as b("table" text, key text) using ("table", key)
    where rows.table_name = r."table" and rows.key = r.key and (r.row is null or json_typeof(r.row) = 'null');

  delete from row_index using json_to_recordset(p_removed) as x("table" text, index text, value text, key text)
    join json_to_recordset(v_behind) as b("table" text, key text) using ("table", key)
    where row_index.table_name = x."table" and row_index.index = x.index and row_index.value = x.value and row_index.key = x.key;

  insert into row_index (table_name, index, value, key)
    select x."table", x.index, x.value, x.key
    from json_to_recordset(p_added) as x("table" text, index text, value text, key text)
    join json_to_recordset(v_behind) as b("table" text, key text) using ("table", key)
    on conflict do nothing;
  return coalesce(v_moved, '[]');
end
$$;
