-- The record of one service. The same schema serves every service; the statement of `commit-statement.ts`, `commit_columns` and `renew_rows` are the only writers.

create table if not exists events (
  position bigint not null,
  stream text collate "C" not null,
  version integer not null,
  type text not null,
  schema smallint not null,
  data json not null,
  -- event id, correlation id, causation id, caller, trace context
  meta json not null,
  time_ms bigint not null,
  primary key (stream, version)
);
create unique index if not exists events_position on events (position);

-- One row. Whoever holds its lock gives out the next positions; holding it until the commit makes position order commit order.
create table if not exists head (
  singleton boolean primary key default true check (singleton),
  position bigint not null
) with (fillfactor = 10);
insert into head (position) values (0) on conflict do nothing;

-- States folded from streams, and what a service remembers of others. No column but the key is indexed and half of each page is left free, so that an update stays on its page.
create table if not exists rows (
  table_name text collate "C" not null,
  key text collate "C" not null,
  -- wider than a stream's version: also an access epoch, a position of another service's feed
  version bigint not null,
  row json not null,
  primary key (table_name, key)
) with (fillfactor = 50);

create table if not exists row_index (
  table_name text collate "C" not null,
  index text collate "C" not null,
  value text collate "C" not null,
  key text collate "C" not null,
  primary key (table_name, index, value, key)
);

-- How far consumers have come in the feeds of others, and the relay in our own.
create table if not exists cursors (
  name text collate "C" primary key,
  position bigint not null
) with (fillfactor = 50);

-- Rows, index entries and cursors change all the time, and what they were before is garbage. By default a table is vacuumed once a fifth of it is: of a
-- large one far too late, its dead index entries are walked over until then. These are vacuumed after a fiftieth, cursors (few, and moved with
-- every commit) after a thousand moves. Only where it is not so yet: the change of a setting waits for a vacuum under way.
do $$
declare
  v_table text;
  v_options text[];
begin
  for v_table, v_options in values
    ('rows', array['autovacuum_vacuum_scale_factor=0.02', 'autovacuum_vacuum_threshold=1000']),
    ('row_index', array['autovacuum_vacuum_scale_factor=0.02', 'autovacuum_vacuum_threshold=1000']),
    ('cursors', array['autovacuum_vacuum_scale_factor=0', 'autovacuum_vacuum_threshold=1000'])
  loop
    if not exists (select from pg_class where oid = v_table::regclass and reloptions @> v_options) then
      execute format('alter table %I set (%s)', v_table, array_to_string(v_options, ', '));
    end if;
  end loop;
end
$$;

-- Ends a commit that cannot be stored: IL001 = streams that moved, IL002 = cursors that moved. Not called where none did: then their names are null.
create or replace function commit_refused(p_code text, p_names json) returns boolean language plpgsql strict as $$
begin
  raise exception using errcode = p_code, message = 'moved', detail = p_names::text;
end
$$;

-- How the release before stores a batch of commits; it may still run beside this one. p_events events of so many streams, p_rows rows to be put, rows that go, index entries, cursors. A text
-- holds a value a line, the texts of one kind in the same order; of causes there is one for all events, or one each. Null: none.
-- Fails as a whole: IL001 = streams that moved (detail: JSON array of names), IL002 = cursors that moved, 23505 = somebody appended
-- to one of the streams since it was looked at (a repeat finds out which).
-- The head's lock is taken last and held for nothing but the append: versions are looked at before it, and what is appended to a
-- stream between the look and the lock meets the primary key of events.
-- The settings keep every join here a look-up per entry, also in plans made while the tables were empty.
create or replace function commit_columns(
  p_events integer, p_streams text, p_expected text,
  p_event_streams text, p_event_versions text, p_types text, p_schemas text, p_data text, p_ids text, p_causes text, p_time_ms bigint,
  p_rows integer, p_row_tables text, p_row_keys text, p_row_versions text, p_row_data text,
  p_gone json, p_removed json, p_added json, p_cursors json)
returns bigint language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
  v_base bigint;
  v_moved text[];
  v_conflicts json;
  v_cause text := case when strpos(p_causes, E'\n') = 0 then p_causes end;
begin
  if p_rows > 0 then
    insert into rows (table_name, key, version, row)
      select r."table", r.key, r.version, r.row::json
      from unnest(string_to_array(p_row_tables, E'\n'), string_to_array(p_row_keys, E'\n'),
        string_to_array(p_row_versions, E'\n')::bigint[], string_to_array(p_row_data, E'\n')) as r("table", key, version, row)
      order by r."table", r.key
      on conflict (table_name, key) do update set version = excluded.version, row = excluded.row
      where rows.version <= excluded.version;
  end if;

  if p_gone is not null then
    delete from rows using json_to_recordset(p_gone) as r("table" text, key text, version bigint)
      where rows.table_name = r."table" and rows.key = r.key and rows.version <= r.version;
  end if;

  if p_removed is not null then
    delete from row_index using json_to_recordset(p_removed) as x("table" text, index text, value text, key text)
      where row_index.table_name = x."table" and row_index.index = x.index and row_index.value = x.value and row_index.key = x.key;
  end if;

  if p_added is not null then
    insert into row_index (table_name, index, value, key)
      select x."table", x.index, x.value, x.key
      from json_to_recordset(p_added) as x("table" text, index text, value text, key text)
      order by 1, 2, 3, 4
      on conflict do nothing;
  end if;

  if p_cursors is not null then
    with moved as (
      update cursors set position = c."to"
        from json_to_recordset(p_cursors) as c(name text, "from" bigint, "to" bigint)
        where cursors.name = c.name and cursors.position = c."from"
        returning cursors.name
    )
    select array_agg(name) into v_moved from moved;
    if coalesce(cardinality(v_moved), 0) < json_array_length(p_cursors) then
      -- A cursor that nobody moved has no row; whoever makes it first has moved it.
      with made as (
        insert into cursors (name, position)
          select c.name, c."to" from json_to_recordset(p_cursors) as c(name text, "from" bigint, "to" bigint)
          where c."from" = 0 order by c.name
          on conflict do nothing
          returning cursors.name
      )
      select json_agg(c.name) into v_conflicts
        from json_to_recordset(p_cursors) as c(name text)
        where c.name not in (select name from made union all select unnest(v_moved));
      if v_conflicts is not null then
        raise exception using errcode = 'IL002', message = 'cursors moved', detail = v_conflicts::text;
      end if;
    end if;
  end if;

  if p_events = 0 then
    return 0;
  end if;

  -- At the expected version there is the event of that version (of an unwritten stream none) and none after it. One range per
  -- stream costs a third of looking for its newest event; only where that does not hold is it looked for which ones moved.
  select '[]'::json into v_conflicts
    from unnest(string_to_array(p_streams, E'\n'), string_to_array(p_expected, E'\n')::integer[]) as a(stream, expected)
    left join events e on e.stream = a.stream and e.version between a.expected and a.expected + 1
    having count(e.version) filter (where e.version > a.expected) > 0 or count(e.version) <> count(*) filter (where a.expected > 0);
  if v_conflicts is not null then
    select json_agg(a.stream) into v_conflicts
      from unnest(string_to_array(p_streams, E'\n'), string_to_array(p_expected, E'\n')::integer[]) as a(stream, expected)
      where a.expected <> coalesce((select e.version from events e where e.stream = a.stream order by e.version desc limit 1), 0);
    raise exception using errcode = 'IL001', message = 'streams moved', detail = v_conflicts::text;
  end if;

  -- One statement: what is inserted needs what the update of the head answers, so the lock comes first.
  with head_moved as (
    update head set position = position + p_events where singleton returning position - p_events as base
  ), appended as (
    insert into events (position, stream, version, type, schema, data, meta, time_ms)
      select h.base + e.n, e.stream, e.version, e.type, e.schema, e.data::json,
        ('{"id":"' || e.id || '",' || substr(coalesce(v_cause, e.cause), 2))::json, p_time_ms
      from head_moved h, unnest(string_to_array(p_event_streams, E'\n'), string_to_array(p_event_versions, E'\n')::integer[],
        string_to_array(p_types, E'\n'), string_to_array(p_schemas, E'\n')::smallint[], string_to_array(p_data, E'\n'),
        string_to_array(p_ids, E'\n'), string_to_array(p_causes, E'\n')) with ordinality as e(stream, version, type, schema, data, id, cause, n)
  )
  select base into v_base from head_moved;
  return v_base;
end
$$;

-- Puts rows of one service in place that lag behind their streams, made anew from the events. Answers the streams that
-- moved since they were folded, as a JSON array; those are passed over.
-- The lock waits for every commit under way that changes rows (they write here first) and keeps new ones out until this one ends: what
-- is compared is what is stored, and a row cannot come back that a commit nobody sees yet has removed. Reads go on.
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
