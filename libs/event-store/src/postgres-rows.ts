import type postgres from 'postgres';
import type { Sql } from './connection.ts';
import { bulkWeight } from './group-commit.ts';
import type { Reaching } from './lanes.ts';
import type { LoopTurns } from './loop-turns.ts';
import { sharedLooks } from './shared-looks.ts';
import type {
  EventStore,
  IndexEntry,
  JsonObject,
  NewEvent,
  RowChange,
  StateTable,
  StoredRow,
  StoredState,
  StreamBehind,
  StreamName,
} from './store.ts';

/** Values of an index, or prefixes, that one look is made for: as many facts are taken in together. Each may have as many rows as were asked for. */
const entriesMax = 16;

/**
 * Behind every other character. As a parameter and not as `chr(…)`: that refuses it in a database of another encoding than UTF8,
 * which an `initdb` without a locale makes.
 */
const lastCharacter = '\u{10ffff}';

/** Index entries that rows lose or gain, as `renew_rows` takes them; null for none. */
const entriesOnWire = (rows: readonly RowChange[], side: 'removed' | 'added'): string | null => {
  const entries = rows.flatMap((row) => row[side].map((entry) => ({ table: row.table, key: row.key, ...entry })));
  return entries.length === 0 ? null : JSON.stringify(entries);
};

/** The rows under one value of an index, or whose keys begin alike. */
interface EntryRows {
  readonly rows: readonly StoredRow[];
}

interface StateRow {
  readonly id: string;
  readonly row: JsonObject | null;
  readonly rowVersion: number | null;
  readonly version: number;
}

/**
 * The part of the Postgres store that compares state rows with their streams and puts them right.
 * @param turn comes before a page of a fleet is handed over: whoever asked for it decides all of it at once
 */
export const rowMaintenance = (
  reaching: Reaching,
  turn: LoopTurns,
): Pick<EventStore, 'readStreams' | 'getStates' | 'getRows' | 'listRows' | 'streamsBehind' | 'renewRows'> => {
  /** By table: there are as many as a service has kinds of streams, and of rows. */
  const looks = new Map<string, (ids: readonly string[]) => Promise<readonly StoredState[]>>();
  const rowLooks = new Map<string, (keys: readonly string[]) => Promise<readonly StoredRow[]>>();
  /** By table and index, and how many rows are wanted. */
  const entryLooks = new Map<string, (values: readonly string[]) => Promise<readonly EntryRows[]>>();
  /** By table, and how many rows are wanted. */
  const prefixLooks = new Map<string, (prefixes: readonly string[]) => Promise<readonly EntryRows[]>>();

  const listByEntry = async (table: string, { index, value }: IndexEntry, limit: number) => {
    const name = `${table} ${index} ${limit}`;
    const find =
      entryLooks.get(name) ??
      sharedLooks((values) => reaching((sql) => findByEntries(sql, table, index, values, limit)), entriesMax);
    entryLooks.set(name, find);
    const [found] = await find([value]);
    return found?.rows ?? [];
  };

  /** Many who work on things of one owner ask what there is about it at the same time: one look answers all of them. */
  const listByPrefix = async (table: string, prefix: string, limit: number) => {
    const name = `${table} ${limit}`;
    const find =
      prefixLooks.get(name) ??
      sharedLooks((prefixes) => reaching((sql) => findByPrefixes(sql, table, prefixes, limit)), entriesMax);
    prefixLooks.set(name, find);
    const [found] = await find([prefix]);
    return found?.rows ?? [];
  };

  const list: EventStore['listRows'] = ({ table, index, prefix = '', after, limit }) => {
    // Most looks at an index are of this kind: what there is about one thing, which a fact has told of.
    if (index && prefix === '' && after === undefined) return listByEntry(table, index, limit);
    if (!index && prefix !== '' && after === undefined) return listByPrefix(table, prefix, limit);
    return reaching(async (sql) => {
      // Bounds on the key keep both forms range scans, however many rows there are. That above is not left to the planner, who
      // derives none from a prefix that is a parameter: the last page would look at every row behind it.
      const bounds = (column: postgres.PendingQuery<postgres.Row[]>) => sql`
        ${after === undefined ? sql`` : sql`and ${column} > ${after}`}
        ${prefix === '' ? sql`` : sql`and ${column} >= ${prefix} and ${column} < ${prefix} || ${lastCharacter} and starts_with(${column}, ${prefix})`}`;
      const rows = index
        ? await sql<StoredRow[]>`
            select r.key, r.row, r.version from row_index x join rows r on r.table_name = x.table_name and r.key = x.key
            where x.table_name = ${table} and x.index = ${index.index} and x.value = ${index.value} ${bounds(sql`x.key`)}
            order by x.key limit ${limit}`
        : await sql<StoredRow[]>`
            select r.key, r.row, r.version from rows r
            where r.table_name = ${table} ${bounds(sql`r.key`)} order by r.key limit ${limit}`;
      return [...rows];
    });
  };

  /** A page of a fleet is handed over in its turn, everything else at once. */
  const inTurn = async <Row>(found: Promise<readonly Row[]>): Promise<readonly Row[]> => {
    const rows = await found;
    if (rows.length >= bulkWeight) await turn();
    return rows;
  };

  return {
    listRows: (query) => inTurn(list(query)),
    getRows(table, keys) {
      const find = rowLooks.get(table) ?? sharedLooks((all) => reaching((sql) => findRows(sql, table, all)));
      rowLooks.set(table, find);
      return inTurn(find(keys));
    },
    readStreams({ category, after, limit }) {
      return reaching(async (sql) => {
        // A row a stream: what the driver does for a row of its own costs more than parsing an event.
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
      });
    },
    getStates(table, ids) {
      const name = `${table.table} ${table.category}`;
      const find = looks.get(name) ?? sharedLooks((keys) => reaching((sql) => findStates(sql, table, keys)));
      looks.set(name, find);
      return inTurn(find(ids));
    },
    streamsBehind({ tables, after, span }) {
      return reaching(async (sql) => {
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
        if (!found) throw new Error('the store answered no row');
        return found;
      });
    },
    renewRows(renewals) {
      return reaching(async (sql) => {
        const changes = renewals.map(({ change }) => change);
        const rows = renewals.map(({ stream, change: { table, key, version, row } }) => {
          return { stream, table, key, version, row };
        });
        const [found] = await sql<{ moved: StreamName[] }[]>`select renew_rows(
        ${JSON.stringify(rows)}::text::json,
        ${entriesOnWire(changes, 'removed')}::text::json,
        ${entriesOnWire(changes, 'added')}::text::json) as moved`;
        if (!found) throw new Error('renew_rows answered no row');
        return found.moved;
      });
    },
  };
};

const findRows = async (sql: Sql, table: string, keys: readonly string[]): Promise<ReadonlyMap<string, StoredRow>> => {
  const found = await sql<StoredRow[]>`
    select key, row, version from rows where table_name = ${table}
      and key = any(array(select json_array_elements_text(${JSON.stringify(keys)}::text::json)))`;
  return new Map(found.map((row) => [row.key, row]));
};

/** Each prefix has rows of its own, `limit` at most, in order of keys. */
const findByPrefixes = async (
  sql: Sql,
  table: string,
  prefixes: readonly string[],
  limit: number,
): Promise<ReadonlyMap<string, EntryRows>> => {
  const found = await sql<(StoredRow & { value: string })[]>`
    select k.value, r.key, r.row, r.version
    from json_array_elements_text(${JSON.stringify(prefixes)}::text::json) as k(value)
    cross join lateral (
      -- The bound above keeps it a range scan: where the prefix is no constant, the planner derives none from it.
      select key, row, version from rows
      where table_name = ${table} and key >= k.value and key < k.value || ${lastCharacter} and starts_with(key, k.value)
      order by key limit ${limit}
    ) as r
    order by k.value, r.key`;
  return byValue(found);
};

/** Each value has rows of its own, `limit` at most, in order of keys. */
const findByEntries = async (
  sql: Sql,
  table: string,
  index: string,
  values: readonly string[],
  limit: number,
): Promise<ReadonlyMap<string, EntryRows>> => {
  const found = await sql<(StoredRow & { value: string })[]>`
    select k.value, r.key, r.row, r.version
    from json_array_elements_text(${JSON.stringify(values)}::text::json) as k(value)
    cross join lateral (
      select r.key, r.row, r.version from row_index x join rows r on r.table_name = x.table_name and r.key = x.key
      where x.table_name = ${table} and x.index = ${index} and x.value = k.value order by x.key limit ${limit}
    ) as r
    order by k.value, r.key`;
  return byValue(found);
};

const byValue = (found: readonly (StoredRow & { value: string })[]): ReadonlyMap<string, EntryRows> => {
  const groups = Map.groupBy(found, ({ value }) => value);
  return new Map([...groups].map(([value, rows]) => [value, { rows: rows.map(({ value: _, ...row }) => row) }]));
};

const findStates = async (
  sql: Sql,
  { table, category }: StateTable,
  ids: readonly string[],
): Promise<ReadonlyMap<string, StoredState>> => {
  // One statement, so that row and version are of one moment. The limits keep it two look-ups an id, whatever the
  // planner believes of tables that were filled a moment ago.
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
