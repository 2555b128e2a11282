import { rowChange } from './row-change.ts';
import type { EventStore, IndexEntry, JsonObject, RowChange } from './store.ts';

/** Rows that are not folded from own events: facts of other services, an audit log. */
export interface TableDefinition<Row> {
  readonly name: string;
  /** Raise it with every new shape. */
  readonly version: number;
  readonly indexes?: (row: Row, key: string) => readonly IndexEntry[];
}

/** Which rows to list, in order of their keys. */
export interface TableQuery {
  readonly index?: IndexEntry;
  readonly prefix?: string;
  readonly after?: string;
  readonly limit: number;
}

/** Typed rows of one table. `put` and `remove` only describe a change; a commit stores it. */
export interface Table<Row> {
  get(key: string): Promise<Row | undefined>;
  getMany(keys: readonly string[]): Promise<ReadonlyMap<string, Row>>;
  /** `next` is the `after` of the next page; absent on the last. */
  list(
    query: TableQuery,
  ): Promise<{ readonly items: readonly { readonly key: string; readonly row: Row }[]; readonly next?: string }>;
  /** @param before the stored row, to replace its index entries; `undefined` if it does not exist */
  put(key: string, row: Row, before: Row | undefined): RowChange;
  remove(key: string, before: Row): RowChange;
}

/** All rows of a query, `limit` at a time. Later pages show changes that were made while earlier ones were processed. */
export async function* pagesOf<Row>(
  rows: Pick<Table<Row>, 'list'>,
  query: TableQuery,
): AsyncGenerator<readonly { readonly key: string; readonly row: Row }[], void> {
  for (let { after } = query; ; ) {
    const { items, next } = await rows.list(after === undefined ? query : { ...query, after });
    yield items;
    if (next === undefined) return;
    after = next;
  }
}

/** Opens a table in a store. Rows must be JSON objects. */
export const table = <Row>(store: EventStore, definition: TableDefinition<Row>): Table<Row> => {
  const name = `${definition.name}_v${definition.version}`;
  const indexesOf = (row: Row | undefined, key: string): readonly IndexEntry[] =>
    row === undefined ? [] : (definition.indexes?.(row, key) ?? []);
  const getMany = async (keys: readonly string[]): Promise<ReadonlyMap<string, Row>> =>
    new Map((await store.getRows(name, keys)).map(({ key, row }) => [key, row as Row]));
  return {
    getMany,
    get: async (key) => (await getMany([key])).get(key),
    async list(query) {
      const rows = await store.listRows({ table: name, ...query, limit: query.limit + 1 });
      const items = rows.slice(0, query.limit).map(({ key, row }) => ({ key, row: row as Row }));
      const last = items.at(-1);
      return rows.length > query.limit && last ? { items, next: last.key } : { items };
    },
    put: (key, row, before) =>
      rowChange(name, key, {
        row: row as JsonObject,
        version: 0,
        before: indexesOf(before, key),
        after: indexesOf(row, key),
      }),
    remove: (key, before) => rowChange(name, key, { row: null, version: 0, before: indexesOf(before, key), after: [] }),
  };
};
