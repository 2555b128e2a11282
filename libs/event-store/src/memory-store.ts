import type { Clock, Random } from '@interlock/runtime';
import { assertOnceEach } from './commit-once.ts';
import type {
  Commit,
  EventStore,
  IndexEntry,
  RecordedEvent,
  RowChange,
  RowRenewal,
  StoredRow,
  StoredState,
  StreamBehind,
  StreamName,
  StreamPiece,
} from './store.ts';
import { CursorConflict, VersionConflict } from './store.ts';

interface MemoryTable {
  readonly rows: Map<string, StoredRow>;
  /** (index, value) → keys. */
  readonly entries: Map<string, Set<string>>;
  /** Keys of the rows in order; undefined once one came or went, until somebody lists them. */
  sorted: readonly string[] | undefined;
}

/** Names of indexes are the code's own and have no line end in them. */
const entryName = ({ index, value }: IndexEntry): string => `${index}\n${value}`;

/**
 * A deep, frozen copy, as of a trip through a database: what was stored cannot change under a reader, and what is
 * undefined is not stored. @throws TypeError for what JSON cannot hold
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
  // Nobody else freezes: it was stored before, and whoever read it puts it back as a part of what it has become.
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

/** What a memory store holds, for others to begin with. Nobody changes it: what is stored is frozen, and lists are copied. */
export interface StoreImage {
  readonly feed: readonly RecordedEvent[];
  readonly tables: ReadonlyMap<string, MemoryTable>;
  readonly cursors: ReadonlyMap<string, number>;
}

/** A store in memory, with what only the simulation may do. */
export interface MemoryStore extends EventStore {
  /** Everything it holds now. */
  image(): StoreImage;
}

const copyOfTable = ({ rows, entries, sorted }: MemoryTable): MemoryTable => ({
  sorted,
  rows: new Map(rows),
  entries: new Map([...entries].map(([name, keys]) => [name, new Set(keys)])),
});

const copyOfTables = (tables: ReadonlyMap<string, MemoryTable>): Map<string, MemoryTable> =>
  new Map([...tables].map(([name, table]) => [name, copyOfTable(table)]));

/**
 * The event store in memory: the twin of the Postgres store for decider-level tests and for the simulation. It passes
 * the same contract suite. Nothing outlives the object but its images.
 * @param dependencies.image what it holds at first; default: nothing
 */
export const memoryStore = (dependencies: {
  readonly clock: Clock;
  readonly random: Random;
  readonly image?: StoreImage;
}): MemoryStore => {
  const { clock, random, image } = dependencies;
  const feed: RecordedEvent[] = [...(image?.feed ?? [])];
  const streams: Map<StreamName, RecordedEvent[]> = Map.groupBy(feed, ({ stream }) => stream);
  const tables = copyOfTables(image?.tables ?? new Map());
  const cursors = new Map(image?.cursors);
  const waiters = new Set<() => void>();

  const tableOf = (name: string): MemoryTable => {
    let found = tables.get(name);
    if (!found) {
      found = { rows: new Map(), entries: new Map(), sorted: undefined };
      tables.set(name, found);
    }
    return found;
  };

  const sorted = (name: string): readonly string[] => {
    const target = tableOf(name);
    target.sorted ??= [...target.rows.keys()].sort();
    return target.sorted;
  };
  const sortedIn = (name: string, index: IndexEntry): readonly string[] =>
    [...(tableOf(name).entries.get(entryName(index)) ?? [])].sort();

  const check = (commit: Commit): void => {
    assertOnceEach(commit);
    const moved = (commit.appends ?? []).filter((a) => (streams.get(a.stream)?.length ?? 0) !== a.expected);
    if (moved.length > 0) throw new VersionConflict(moved.map((a) => a.stream));
    for (const move of commit.cursors ?? []) {
      if ((cursors.get(move.name) ?? 0) !== move.from) throw new CursorConflict(move.name);
    }
  };

  const changeRows = (changes: readonly RowChange[]): void => {
    for (const change of changes) {
      const target = tableOf(change.table);
      const before = target.rows.get(change.key);
      if (!before || before.version <= change.version) {
        if (!before || change.row === null) target.sorted = undefined;
        if (change.row === null) target.rows.delete(change.key);
        else target.rows.set(change.key, stored({ key: change.key, row: change.row, version: change.version }));
      }
      for (const entry of change.removed) target.entries.get(entryName(entry))?.delete(change.key);
      for (const entry of change.added) {
        const name = entryName(entry);
        const keys = target.entries.get(name) ?? new Set();
        target.entries.set(name, keys.add(change.key));
      }
    }
  };

  return {
    image: () => ({ feed: [...feed], tables: copyOfTables(tables), cursors: new Map(cursors) }),
    async commit(commit, cause) {
      check(commit);
      changeRows(commit.rows ?? []);
      for (const move of commit.cursors ?? []) cursors.set(move.name, move.to);
      const positions: number[] = [];
      const time = clock.now();
      for (const append of commit.appends ?? []) {
        const stream = streams.get(append.stream) ?? [];
        streams.set(append.stream, stream);
        for (const event of append.events) {
          const position = feed.length + 1;
          const recorded: RecordedEvent = stored({
            ...event,
            position,
            stream: append.stream,
            version: stream.length + 1,
            id: random.uuid(),
            cause,
            time,
          });
          stream.push(recorded);
          feed.push(recorded);
          positions.push(position);
        }
      }
      if (positions.length > 0) for (const wake of [...waiters]) wake();
      return { positions };
    },
    async read(stream, after = 0) {
      return (streams.get(stream) ?? []).slice(after);
    },
    async readStreams({ category, after, limit }) {
      const prefix = `${category}-`;
      const names = [...streams.keys()]
        .filter((name) => name.startsWith(prefix) && name >= (after?.stream ?? ''))
        .sort();
      const pieces: StreamPiece[] = [];
      let left = limit;
      for (const stream of names) {
        const from = stream === after?.stream ? after.version : 0;
        const events = (streams.get(stream) ?? []).slice(from, from + left);
        if (events.length > 0) pieces.push({ stream, version: from + events.length, events });
        left -= events.length;
        if (left === 0) break;
      }
      return pieces;
    },
    async feed(after, limit) {
      return feed.slice(after, after + limit);
    },
    async head() {
      return feed.length;
    },
    async waitForEvents(position, signal) {
      while (feed.length <= position && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            waiters.delete(wake);
            signal.removeEventListener('abort', wake);
            resolve();
          };
          waiters.add(wake);
          signal.addEventListener('abort', wake);
        });
      }
      return !signal.aborted;
    },
    async getRows(tableName, keys) {
      const { rows } = tableOf(tableName);
      const [only] = keys;
      if (only !== undefined && keys.length === 1) {
        const row = rows.get(only);
        return row ? [row] : [];
      }
      return [...new Set(keys)].flatMap((key) => rows.get(key) ?? []);
    },
    async listRows(query) {
      const { table, index, prefix = '', after, limit } = query;
      const { rows } = tableOf(table);
      const found: StoredRow[] = [];
      for (const key of index ? sortedIn(table, index) : sorted(table)) {
        if (found.length === limit) break;
        const row = key.startsWith(prefix) && (after === undefined || key > after) ? rows.get(key) : undefined;
        if (row) found.push(row);
      }
      return found;
    },
    async getStates({ table, category }, ids) {
      const { rows } = tableOf(table);
      const stateOf = (id: string): StoredState | undefined => {
        const version = streams.get(`${category}-${id}`)?.length ?? 0;
        if (version === 0) return undefined;
        const row = rows.get(id);
        return row ? { id, version, rowVersion: row.version, row: row.row } : { id, version, rowVersion: 0 };
      };
      const [only] = ids;
      if (only !== undefined && ids.length === 1) {
        const state = stateOf(only);
        return state ? [state] : [];
      }
      return [...new Set(ids)].flatMap((id) => stateOf(id) ?? []);
    },
    async streamsBehind({ tables: asked, after, span }) {
      const looked = feed.slice(after, after + span);
      const newest = new Map(looked.map(({ stream, version }) => [stream, version]));
      const behind: StreamBehind[] = [];
      for (const { category, table } of asked) {
        const { rows } = tableOf(table);
        for (const [stream, version] of newest) {
          if (!stream.startsWith(`${category}-`)) continue;
          const id = stream.slice(category.length + 1);
          if ((rows.get(id)?.version ?? 0) < version) behind.push({ category, table, id });
        }
      }
      return { behind, reached: after + looked.length };
    },
    async renewRows(renewals) {
      const isMoved = ({ stream, change }: RowRenewal): boolean =>
        (streams.get(stream)?.length ?? 0) !== change.version;
      const isBehind = ({ change: { table, key, version } }: RowRenewal): boolean =>
        (tableOf(table).rows.get(key)?.version ?? 0) < version;
      const standing = renewals.filter((renewal) => !isMoved(renewal) && isBehind(renewal));
      changeRows(standing.map(({ change }) => change));
      return renewals.filter(isMoved).map(({ stream }) => stream);
    },
    async cursor(name) {
      return cursors.get(name) ?? 0;
    },
    async close() {
      for (const wake of waiters) wake();
    },
  };
};
