import type postgres from 'postgres';
import { coalescedReads } from './coalesced-reads.ts';
import type { Sql } from './connection.ts';
import { BULK_WEIGHT } from './group-commit.ts';
import type { LoopTurns } from './loop-turns.ts';
import type { UseConnection } from './pool.ts';
import type {
  EventStore,
  IndexEntry,
  JsonObject,
  NewEvent,
  RowChange,
  RowQuery,
  RowRenewal,
  StateTable,
  StoredRow,
  StoredState,
  StreamBehind,
  StreamName,
  StreamPiece,
} from './store.ts';

/** Index values, or prefixes, of one read. Each may have as many rows as the query allows. */
const GROUPS_MAX = 16;

/**
 * Sorts after every other character. A parameter instead of `chr(…)`, which fails in a database with another encoding than
 * UTF8 (an `initdb` without a locale creates one).
 */
const LAST_CHARACTER = '\u{10ffff}';

/** The part of the Postgres store that reads rows and states, and rebuilds outdated rows. */
export type RowReads = Pick<
  EventStore,
  'readStreams' | 'getStates' | 'getRows' | 'listRows' | 'countRows' | 'streamsBehind' | 'renewRows'
>;

/**
 * Opens the row part of a Postgres store.
 * @param turn awaited before a page of a fleet is returned: its caller decides the whole page in one turn
 */
export const rowReads = (use: UseConnection, turn: LoopTurns): RowReads => {
  const states = coalescedByName<StoredState>();
  const rows = coalescedByName<StoredRow>();
  const groups = coalescedByName<RowGroup>(GROUPS_MAX);

  const oneGroup = async (name: string, key: string, read: (sql: Sql, keys: readonly string[]) => Groups) => {
    const [found] = await groups(name, [key], (keys) => use((sql) => read(sql, keys)));
    return found?.rows ?? [];
  };
  const list = (query: RowQuery): Promise<readonly StoredRow[]> => {
    const { table, index, prefix = '', after, limit } = query;
    // The two frequent queries. Callers that work on the same owner run them in the same turn.
    if (index && prefix === '' && after === undefined) {
      const name = `${table} ${index.index} ${limit}`;
      return oneGroup(name, index.value, (sql, values) => findByEntries(sql, table, index.index, values, limit));
    }
    if (!index && prefix !== '' && after === undefined)
      return oneGroup(`${table} ${limit}`, prefix, (sql, prefixes) => findByPrefixes(sql, table, prefixes, limit));
    return use((sql) => listPage(sql, query));
  };
  const inTurn = async <Row>(found: Promise<readonly Row[]>): Promise<readonly Row[]> => {
    const all = await found;
    if (all.length >= BULK_WEIGHT) await turn();
    return all;
  };

  return {
    listRows: (query) => inTurn(list(query)),
    countRows: (query) => use((sql) => countRows(sql, query)),
    getRows: (table, keys) => inTurn(rows(table, keys, (all) => use((sql) => findRows(sql, table, all)))),
    getStates: (table, ids) =>
      inTurn(states(`${table.table} ${table.category}`, ids, (all) => use((sql) => findStates(sql, table, all)))),
    readStreams: (query) => use((sql) => readStreams(sql, query)),
    streamsBehind: (query) => use((sql) => findStreamsBehind(sql, query)),
    renewRows: (renewals) => use((sql) => renewRows(sql, renewals)),
  };
};

/** Coalesced reads by name: one for each table, index and limit that the service uses. */
const coalescedByName = <Found>(keysMax?: number) => {
  const byName = new Map<string, (keys: readonly string[]) => Promise<readonly Found[]>>();
  return (
    name: string,
    keys: readonly string[],
    read: (keys: readonly string[]) => Promise<ReadonlyMap<string, Found>>,
  ): Promise<readonly Found[]> => {
    const find = byName.get(name) ?? coalescedReads(read, keysMax);
    byName.set(name, find);
    return find(keys);
  };
};

const findRows = async (sql: Sql, table: string, keys: readonly string[]): Promise<ReadonlyMap<string, StoredRow>> => {
  const found = await sql<StoredRow[]>`
    select key, row, version from rows where table_name = ${table}
      and key = any(array(select json_array_elements_text(${JSON.stringify(keys)}::text::json)))`;
  return new Map(found.map((row) => [row.key, row]));
};

const listPage = async (
  sql: Sql,
  { table, index, prefix = '', after, limit }: RowQuery,
): Promise<readonly StoredRow[]> => {
  // Bounds on the key make both forms range scans. The upper bound is explicit because the planner derives none from a prefix
  // that is a parameter: the last page would read every row after it.
  const bounds = (column: postgres.PendingQuery<postgres.Row[]>) => sql`
    ${after === undefined ? sql`` : sql`and ${column} > ${after}`}
    ${prefix === '' ? sql`` : sql`and ${column} >= ${prefix} and ${column} < ${prefix} || ${LAST_CHARACTER} and starts_with(${column}, ${prefix})`}`;
  const rows = index
    ? await sql<StoredRow[]>`
        select r.key, r.row, r.version from row_index x join rows r on r.table_name = x.table_name and r.key = x.key
        where x.table_name = ${table} and x.index = ${index.index} and x.value = ${index.value} ${bounds(sql`x.key`)}
        order by x.key limit ${limit}`
    : await sql<StoredRow[]>`
        select r.key, r.row, r.version from rows r
        where r.table_name = ${table} ${bounds(sql`r.key`)} order by r.key limit ${limit}`;
  return [...rows];
};

/** Reads the primary key of `row_index` only. */
const countRows = async (sql: Sql, { table, index }: Parameters<EventStore['countRows']>[0]): Promise<number> => {
  const [found] = await sql<{ count: number }[]>`
    select count(*)::integer as count from row_index
    where table_name = ${table} and index = ${index.index} and value = ${index.value}`;
  if (!found) throw new Error('the query for a count returned no row');
  return found.count;
};

/** The rows under one value of an index, or with one prefix. */
interface RowGroup {
  readonly rows: readonly StoredRow[];
}
type Groups = Promise<ReadonlyMap<string, RowGroup>>;

/** At most `limit` rows for each prefix, in order of keys. */
const findByPrefixes = async (sql: Sql, table: string, prefixes: readonly string[], limit: number): Groups => {
  const found = await sql<GroupedRow[]>`
    select k.value, r.key, r.row, r.version
    from json_array_elements_text(${JSON.stringify(prefixes)}::text::json) as k(value)
    cross join lateral (
      -- The upper bound makes it a range scan: the planner derives none from a prefix that is no constant.
      select key, row, version from rows
      where table_name = ${table} and key >= k.value and key < k.value || ${LAST_CHARACTER} and starts_with(key, k.value)
      order by key limit ${limit}
    ) as r
    order by k.value, r.key`;
  return grouped(found);
};

/** At most `limit` rows for each value of an index, in order of keys. */
const findByEntries = async (
  sql: Sql,
  table: string,
  index: IndexEntry['index'],
  values: readonly string[],
  limit: number,
): Groups => {
  const found = await sql<GroupedRow[]>`
    select k.value, r.key, r.row, r.version
    from json_array_elements_text(${JSON.stringify(values)}::text::json) as k(value)
    cross join lateral (
      select r.key, r.row, r.version from row_index x join rows r on r.table_name = x.table_name and r.key = x.key
      where x.table_name = ${table} and x.index = ${index} and x.value = k.value order by x.key limit ${limit}
    ) as r
    order by k.value, r.key`;
  return grouped(found);
};

type GroupedRow = StoredRow & { readonly value: string };

const grouped = (found: readonly GroupedRow[]): ReadonlyMap<string, RowGroup> => {
  const groups = Map.groupBy(found, ({ value }) => value);
  return new Map([...groups].map(([value, rows]) => [value, { rows: rows.map(({ value: _, ...row }) => row) }]));
};

interface StateRow {
  readonly id: string;
  readonly row: JsonObject | null;
  readonly rowVersion: number | null;
  readonly version: number;
}

const findStates = async (
  sql: Sql,
  { table, category }: StateTable,
  ids: readonly string[],
): Promise<ReadonlyMap<string, StoredState>> => {
  // One statement, so that row and version are of the same moment. The limits make it two index look-ups for each id,
  // whatever the planner estimates for tables that were filled a moment ago.
  const found = await sql<StateRow[]>`
    select k.id, r.row, r.version as "rowVersion", e.version
    from json_array_elements_text(${JSON.stringify(ids)}::text::json) as k(id)
    cross join lateral (
      select version from events where stream = ${`${category}-`} || k.id order by version desc limit 1
    ) as e
    left join lateral (
      select row, version from rows where table_name = ${table} and key = k.id limit 1
    ) as r on true`;
  return new Map(
    found.map(({ id, row, rowVersion, version }) => [
      id,
      { id, version, rowVersion: rowVersion ?? 0, ...(row === null ? {} : { row }) },
    ]),
  );
};

const readStreams = async (
  sql: Sql,
  { category, after, limit }: Parameters<EventStore['readStreams']>[0],
): Promise<readonly StreamPiece[]> => {
  // One row for each stream: the driver's work for a row costs more than parsing an event.
  const found = await sql<{ stream: StreamName; version: number; events: string }[]>`
    select stream, max(version) as version,
      '[' || string_agg('[' || to_json(type) || ',' || schema || ',' || data || ']', ',' order by version) || ']' as events
    from (
      select stream, version, type, schema, data from events
      where stream >= ${`${category}-`} and stream < ${`${category}.`}
        and (stream, version) > (${after?.stream ?? ''}, ${after?.version ?? 0}::integer)
      order by stream, version limit ${limit}
    ) as e
    group by stream order by stream`;
  return found.map(({ stream, version, events }) => ({
    stream,
    version,
    events: (JSON.parse(events) as [string, number, JsonObject][]).map(
      ([type, schema, data]): NewEvent => ({ type, schema, data }),
    ),
  }));
};

const findStreamsBehind = async (
  sql: Sql,
  { tables, after, span }: Parameters<EventStore['streamsBehind']>[0],
): Promise<{ readonly behind: readonly StreamBehind[]; readonly reached: number }> => {
  const [found] = await sql<{ reached: number; behind: StreamBehind[] }[]>`
    with looked as (
      select stream, max(version) as version from events
      where position > ${after} and position <= ${after + span} group by stream
    )
    select greatest(${after}::bigint, least(${after + span}::bigint, (select position from head))) as reached,
      coalesce((
        select json_agg(json_build_object('category', t.category, 'table', t."table", 'id', s.id))
        from json_to_recordset(${JSON.stringify(tables)}::text::json) as t(category text, "table" text)
        join looked on split_part(looked.stream, '-', 1) = t.category
        cross join lateral (select substr(looked.stream, length(t.category) + 2) as id) as s
        where looked.version >
          coalesce((select rows.version from rows where table_name = t."table" and key = s.id limit 1), 0)
      ), '[]') as behind`;
  if (!found) throw new Error('the query for outdated rows returned no row');
  return found;
};

const renewRows = async (sql: Sql, renewals: readonly RowRenewal[]): Promise<readonly StreamName[]> => {
  const changes = renewals.map(({ change }) => change);
  const rows = renewals.map(({ stream, change: { table, key, version, row } }) => ({
    stream,
    table,
    key,
    version,
    row,
  }));
  const [found] = await sql<{ moved: StreamName[] }[]>`select renew_rows(
    ${JSON.stringify(rows)}::text::json,
    ${entriesOf(changes, 'removed')}::text::json,
    ${entriesOf(changes, 'added')}::text::json) as moved`;
  if (!found) throw new Error('renew_rows returned no row');
  return found.moved;
};

/** Index entries that rows lose or gain, as `renew_rows` takes them; null for none. */
const entriesOf = (rows: readonly RowChange[], side: 'removed' | 'added'): string | null => {
  const entries = rows.flatMap((row) => row[side].map((entry) => ({ table: row.table, key: row.key, ...entry })));
  return entries.length === 0 ? null : JSON.stringify(entries);
};
