import type { Clock } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { afterFirst, type Cause, eventId, withoutTracker } from './cause.ts';
import { assertOnceEach } from './commit-once.ts';
import { checkedName } from './commit-records.ts';
import type {
  Commit,
  EventStore,
  IndexEntry,
  RecordedEvent,
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
import { CursorConflict, VersionConflict } from './store.ts';

interface MemoryTable {
  readonly rows: Map<string, StoredRow>;
  /** Keys by (index, value). */
  readonly entries: Map<string, Set<string>>;
  /** Keys of the rows in order; undefined after a row was added or removed, until the next list. */
  sorted: readonly string[] | undefined;
}

/** Names of indexes are constants of the code and contain no line end. */
const entryName = ({ index, value }: IndexEntry): string => `${index}\n${value}`;

/**
 * A deep, frozen copy, like a round trip through a database: a reader cannot change what is stored, and undefined fields
 * are dropped. @throws TypeError for what JSON cannot hold
 */
const stored = <T>(value: T): T => frozenCopy(value) as T;

const frozenCopy = (value: unknown): unknown => {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : null;
    case 'object':
      break;
    default:
      throw new TypeError(`a ${typeof value} cannot be stored`);
  }
  // A frozen object was stored before: its reader returns it as a part of the new state.
  if (value === null || Object.isFrozen(value)) return value;
  return Object.freeze(Array.isArray(value) ? value.map(frozenCopy) : copyOfObject(value));
};

const copyOfObject = (value: object): object => {
  const parts = value as Readonly<Record<string, unknown>>;
  const copy: Record<string, unknown> = {};
  for (const key in parts) {
    const part = parts[key];
    if (part !== undefined) copy[key] = frozenCopy(part);
  }
  return copy;
};

/** The content of a memory store, as the start of others. It never changes: stored values are frozen, and lists are copied. */
export interface StoreImage {
  readonly feed: readonly RecordedEvent[];
  readonly tables: ReadonlyMap<string, MemoryTable>;
  readonly cursors: ReadonlyMap<string, number>;
}

/** A store in memory, with an operation for the simulation. */
export interface MemoryStore extends EventStore {
  /** Its current content. */
  image(): StoreImage;
}

const copyOfTables = (tables: ReadonlyMap<string, MemoryTable>): Map<string, MemoryTable> =>
  new Map([...tables].map(([name, table]) => [name, copyOfTable(table)]));

const copyOfTable = ({ rows, entries, sorted }: MemoryTable): MemoryTable => ({
  sorted,
  rows: new Map(rows),
  entries: new Map([...entries].map(([name, keys]) => [name, new Set(keys)])),
});

/** What a memory store needs. */
export interface MemoryStoreOptions {
  readonly clock: Clock;
  /** Its first content; by default it is empty. */
  readonly image?: StoreImage;
  readonly tracer?: Tracer;
}

/** The event store in memory, for decider tests and the simulation. It passes the same contract suite as the Postgres store. */
export const memoryStore = (options: MemoryStoreOptions): MemoryStore => {
  const events = new MemoryEvents(options);
  const rows = new MemoryRows(options.image?.tables);
  const cursors = new Map(options.image?.cursors);
  return {
    ...(options.tracer === undefined ? {} : { tracer: options.tracer }),
    image: () => ({ feed: [...events.feed], tables: rows.copy(), cursors: new Map(cursors) }),
    async commit(commit, cause) {
      assertOnceEach(commit);
      // As a server refuses it.
      for (const { key } of commit.rows ?? []) checkedName(key);
      events.assertVersions(commit);
      assertCursors(cursors, commit);
      rows.change(commit.rows ?? []);
      for (const move of commit.cursors ?? []) cursors.set(move.name, move.to);
      return { positions: events.append(commit, cause) };
    },
    read: async (stream, after = 0) => events.ofStream(stream).slice(after),
    readStreams: async (query) => events.piecesOf(query),
    feed: async (after, limit) => events.feedAfter(after, limit),
    head: async () => events.head(),
    waitForEvents: (position, signal) => events.waitFor(position, signal),
    getRows: async (table, keys) => rows.get(table, keys),
    listRows: async (query) => rows.list(query),
    countRows: async ({ table, index }) => rows.count(table, index),
    getStates: async (table, ids) => statesOf(events, rows, table, ids),
    streamsBehind: async (query) => streamsBehind(events, rows, query),
    renewRows: async (renewals) => renewRows(events, rows, renewals),
    cursor: async (name) => cursors.get(name) ?? 0,
    close: async () => events.wakeAll(),
  };
};

const assertCursors = (stored: ReadonlyMap<string, number>, { cursors = [] }: Commit): void => {
  for (const { name, from } of cursors) if ((stored.get(name) ?? 0) !== from) throw new CursorConflict(name);
};

/** The streams, and all their events in the order of positions. */
class MemoryEvents {
  readonly #clock: Clock;
  /** In the order of positions. */
  readonly feed: RecordedEvent[];
  readonly #streams: Map<StreamName, RecordedEvent[]>;
  readonly #waiters = new Set<() => void>();

  constructor({ clock, image }: MemoryStoreOptions) {
    this.#clock = clock;
    this.feed = [...(image?.feed ?? [])];
    this.#streams = Map.groupBy(this.feed, ({ stream }) => stream);
  }

  head(): number {
    return this.feed.length;
  }

  ofStream(stream: StreamName): readonly RecordedEvent[] {
    return this.#streams.get(stream) ?? [];
  }

  versionOf(stream: StreamName): number {
    return this.ofStream(stream).length;
  }

  feedAfter(after: number, limit: number): readonly RecordedEvent[] {
    return this.feed.slice(after, after + limit);
  }

  assertVersions({ appends = [] }: Commit): void {
    const moved = appends.filter(({ stream, expected }) => this.versionOf(stream) !== expected);
    if (moved.length > 0) throw new VersionConflict(moved.map(({ stream }) => stream));
  }

  /** @returns the positions of the events */
  append({ appends = [] }: Commit, cause: Cause): readonly number[] {
    const positions: number[] = [];
    const time = this.#clock.now();
    for (const { stream, events, causes = cause.causes } of appends) {
      const own = { ...withoutTracker(cause), causes };
      const recordedBefore = this.#streams.get(stream) ?? [];
      this.#streams.set(stream, recordedBefore);
      const further = afterFirst(own, eventId(stream, recordedBefore.length + 1));
      for (const [n, event] of events.entries()) {
        const version = recordedBefore.length + 1;
        const place = { position: this.feed.length + 1, stream, version, id: eventId(stream, version) };
        const recorded = stored({ ...event, ...place, cause: n === 0 ? own : further, time });
        recordedBefore.push(recorded);
        this.feed.push(recorded);
        positions.push(recorded.position);
      }
    }
    if (positions.length > 0) this.wakeAll();
    return positions;
  }

  piecesOf({ category, after, limit }: Parameters<EventStore['readStreams']>[0]): readonly StreamPiece[] {
    const prefix = `${category}-`;
    const names = [...this.#streams.keys()]
      .filter((name) => name.startsWith(prefix) && name >= (after?.stream ?? ''))
      .sort();
    const pieces: StreamPiece[] = [];
    let left = limit;
    for (const stream of names) {
      const from = stream === after?.stream ? after.version : 0;
      const events = this.ofStream(stream).slice(from, from + left);
      if (events.length > 0) pieces.push({ stream, version: from + events.length, events });
      left -= events.length;
      if (left === 0) break;
    }
    return pieces;
  }

  async waitFor(position: number, signal: AbortSignal): Promise<boolean> {
    while (this.feed.length <= position && !signal.aborted) await this.#nextWake(signal);
    return !signal.aborted;
  }

  #nextWake(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiters.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  wakeAll(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}

/** All tables with their index entries. */
class MemoryRows {
  readonly #tables: Map<string, MemoryTable>;

  constructor(tables: ReadonlyMap<string, MemoryTable> = new Map()) {
    this.#tables = copyOfTables(tables);
  }

  copy(): ReadonlyMap<string, MemoryTable> {
    return copyOfTables(this.#tables);
  }

  #table(name: string): MemoryTable {
    const found = this.#tables.get(name) ?? { rows: new Map(), entries: new Map(), sorted: undefined };
    this.#tables.set(name, found);
    return found;
  }

  row(table: string, key: string): StoredRow | undefined {
    return this.#table(table).rows.get(key);
  }

  get(table: string, keys: readonly string[]): readonly StoredRow[] {
    return distinct(keys).flatMap((key) => this.row(table, key) ?? []);
  }

  list({ table, index, prefix = '', after, limit }: RowQuery): readonly StoredRow[] {
    const found: StoredRow[] = [];
    for (const key of this.#sortedKeys(table, index)) {
      if (found.length === limit) break;
      const isWanted = key.startsWith(prefix) && (after === undefined || key > after);
      const row = isWanted ? this.row(table, key) : undefined;
      if (row) found.push(row);
    }
    return found;
  }

  count(table: string, index: IndexEntry): number {
    return this.#table(table).entries.get(entryName(index))?.size ?? 0;
  }

  #sortedKeys(name: string, index: IndexEntry | undefined): readonly string[] {
    const table = this.#table(name);
    if (index) return [...(table.entries.get(entryName(index)) ?? [])].sort();
    table.sorted ??= [...table.rows.keys()].sort();
    return table.sorted;
  }

  change(changes: readonly RowChange[]): void {
    for (const { table: name, key, row, version, removed, added } of changes) {
      const table = this.#table(name);
      const before = table.rows.get(key);
      if (!before || before.version <= version) {
        if (!before || row === null) table.sorted = undefined;
        if (row === null) table.rows.delete(key);
        else table.rows.set(key, stored({ key, row, version }));
      }
      for (const entry of removed) table.entries.get(entryName(entry))?.delete(key);
      for (const entry of added) {
        const keys = table.entries.get(entryName(entry)) ?? new Set();
        table.entries.set(entryName(entry), keys.add(key));
      }
    }
  }
}

/** Without a set for the frequent case of one key. */
const distinct = (keys: readonly string[]): readonly string[] => (keys.length === 1 ? keys : [...new Set(keys)]);

const statesOf = (
  events: MemoryEvents,
  rows: MemoryRows,
  { table, category }: StateTable,
  ids: readonly string[],
): readonly StoredState[] =>
  distinct(ids).flatMap((id): readonly StoredState[] => {
    const version = events.versionOf(`${category}-${id}`);
    if (version === 0) return [];
    const row = rows.row(table, id);
    return [row ? { id, version, rowVersion: row.version, row: row.row } : { id, version, rowVersion: 0 }];
  });

const streamsBehind = (
  events: MemoryEvents,
  rows: MemoryRows,
  { tables, after, span }: Parameters<EventStore['streamsBehind']>[0],
): { readonly behind: readonly StreamBehind[]; readonly reached: number } => {
  const read = events.feedAfter(after, span);
  const newest = new Map(read.map(({ stream, version }) => [stream, version]));
  const behind: StreamBehind[] = [];
  for (const { category, table } of tables) {
    for (const [stream, version] of newest) {
      if (!stream.startsWith(`${category}-`)) continue;
      const id = stream.slice(category.length + 1);
      if ((rows.row(table, id)?.version ?? 0) < version) behind.push({ category, table, id });
    }
  }
  return { behind, reached: after + read.length };
};

const renewRows = (events: MemoryEvents, rows: MemoryRows, renewals: readonly RowRenewal[]): readonly StreamName[] => {
  const isMoved = ({ stream, change }: RowRenewal): boolean => events.versionOf(stream) !== change.version;
  const isBehind = ({ change: { table, key, version } }: RowRenewal): boolean =>
    (rows.row(table, key)?.version ?? 0) < version;
  const wanted = renewals.filter((renewal) => !isMoved(renewal) && isBehind(renewal));
  rows.change(wanted.map(({ change }) => change));
  return renewals.filter(isMoved).map(({ stream }) => stream);
};
