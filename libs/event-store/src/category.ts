import { storeInSharedSpan, storeInSpan } from './append-spans.ts';
import type { CategoryDefinition, Loaded } from './category-definition.ts';
import { type Cause, type CausedBy, storedCause } from './cause.ts';
import { type EventOf, eventCodec } from './event-codec.ts';
import { contention, contentionOfMany, etagMismatch } from './refusals.ts';
import { Rejection } from './rejection.ts';
import { type StateRows, stateRows } from './state-rows.ts';
import { type Continued, causesIn, type Stepping } from './steps.ts';
import type { Append, CursorMove, EventStore, IndexEntry, RowChange, StateTable, StreamName } from './store.ts';
import { VersionConflict } from './store.ts';
import type { TableQuery } from './table.ts';

/** The result of a transaction. */
export interface Transacted<State, Event> extends Loaded<State> {
  /** The decided events; empty when nothing had to change. */
  readonly events: readonly Event[];
  /** Positions of those events in the store. */
  readonly positions: readonly number[];
}

/** One page of a list, in order of ids. */
export interface Page<State> {
  readonly items: readonly Loaded<State>[];
  /** Pass as `after` for the next page; absent on the last. */
  readonly next?: string;
}

/** A decision that is not committed yet: the result of `prepare`. */
export interface Prepared<State, Event> extends Transacted<State, Event> {
  readonly append?: Append;
  readonly row?: RowChange;
}

/** Options of `Category.transact`. */
export interface TransactOptions<State> extends Continued {
  /** The version (etag) that the stream must have. */
  readonly expected?: number;
  /**
   * The state as the caller read it before. If it is still current, its decision is stored without another read. If it is
   * outdated, or nothing is decided, or the decision is refused, the stream is read and decided again.
   */
  readonly known?: Loaded<State>;
  /** The commit also requires, or moves, these cursors. @throws CursorConflict when one has another value */
  readonly guard?: CursorMove | readonly CursorMove[] | undefined;
  /** Stored in the same commit as the events; not stored when nothing is decided. */
  readonly rows?: readonly RowChange[];
}

/** Options of `Category.transactMany`. */
export interface TransactManyOptions<State> extends Continued {
  /** Causes of one stream's events, by the state they were decided on; undefined: those of the cause. */
  readonly causesOf?: (state: State, id: string) => readonly CausedBy[] | undefined;
  /** Stored with the events of the first chunk, even if there are none. */
  readonly rows?: readonly RowChange[];
  /**
   * What happens to a stream that other writers change all the time (`ABORTED` `CONTENTION`). By default the call fails,
   * although everything else is stored. With `reject` the stream is one of the rejected.
   */
  readonly onContention?: 'reject';
}

/** A stream that `transactMany` left unchanged, with the reason. */
export interface RejectedStream {
  readonly id: string;
  readonly rejection: Rejection;
}

/** Streams of one kind: load, decide and list them. */
export interface Category<State, Event extends EventOf> {
  readonly definition: CategoryDefinition<State, Event>;
  load(id: string): Promise<Loaded<State>>;
  loadMany(ids: readonly string[]): Promise<readonly Loaded<State>[]>;
  /**
   * Reads the state, decides, and stores the events together with the new state row. Without `expected` a conflict is
   * decided again on the newer state; with `expected` (an etag) a mismatch is `ABORTED`.
   * @throws Rejection from `decide`, or `ABORTED` `ETAG_MISMATCH`, or `ABORTED` `CONTENTION` after many conflicts
   */
  transact(
    id: string,
    decide: (state: State) => readonly Event[],
    cause: Cause,
    options?: TransactOptions<State>,
  ): Promise<Transacted<State, Event>>;
  /**
   * The same decision for many streams, stored in bounded chunks. A stream for which `decide` throws a `Rejection` is
   * skipped and reported in `rejected`.
   * @param decide also receives the version of the state, for decisions that depend on work outside of the store
   * @param streams ids, or states as the caller read them before; an outdated state is read and decided again
   */
  transactMany(
    streams: readonly (string | Loaded<State>)[],
    decide: (state: State, id: string, version: number) => readonly Event[],
    cause: Cause,
    options?: TransactManyOptions<State>,
  ): Promise<{
    readonly changed: readonly Transacted<State, Event>[];
    readonly rejected: readonly RejectedStream[];
  }>;
  /** Decides without storing, for a caller that commits several streams together. */
  prepare(loaded: Loaded<State>, decide: (state: State) => readonly Event[]): Prepared<State, Event>;
  list(query: TableQuery): Promise<Page<State>>;
  /** How many items have an index entry. */
  count(index: IndexEntry): Promise<number>;
  /** Every item of a list. */
  listAll(query: Omit<TableQuery, 'limit'>): Promise<readonly Loaded<State>[]>;
  /** See `StateRows.renew`. */
  renew(ids: readonly string[]): Promise<number>;
  /** See `StateRows.renewAll`. */
  renewAll(pageEvents: number): Promise<number>;
  /** Where the states of these streams are stored. */
  readonly table: StateTable;
}

/** After this many conflicts in a row a transaction fails: other writers keep changing the stream. */
const CONFLICTS_MAX = 20;
/** Streams decided and stored in one transaction by `transactMany`. */
const CHUNK_SIZE = 1_000;

/** Opens the streams of one kind in a store. */
export const category = <State, Event extends EventOf>(
  store: EventStore,
  definition: CategoryDefinition<State, Event>,
): Category<State, Event> => {
  const streams: Streams<State, Event> = {
    store,
    definition,
    codec: eventCodec<Event>(definition.upcast ?? {}),
    rows: stateRows(store, definition),
  };
  const { table, renew, renewAll, load, loadMany } = streams.rows;
  return {
    definition,
    table,
    renew,
    renewAll,
    load,
    loadMany,
    prepare: (loaded, decide) => prepare(streams, loaded, decide),
    list: (query) => list(streams, query),
    count: (index) => store.countRows({ table: table.table, index }),
    listAll: (query) => listAll(streams, query),
    transact: (id, decide, cause, options = {}) => transact(streams, id, decide, cause, options),
    transactMany: (ids, decide, cause, options = {}) => transactMany(streams, ids, decide, cause, options),
  };
};

interface Streams<State, Event extends EventOf> {
  readonly store: EventStore;
  readonly definition: CategoryDefinition<State, Event>;
  readonly codec: ReturnType<typeof eventCodec<Event>>;
  readonly rows: StateRows<State>;
}

const prepare = <State, Event extends EventOf>(
  { definition, codec, rows }: Streams<State, Event>,
  loaded: Loaded<State>,
  decide: (state: State) => readonly Event[],
  continued: Continued = {},
): Prepared<State, Event> => {
  const { id, state: before, version: expected } = loaded;
  const events = decide(before);
  if (events.length === 0) return { id, state: before, version: expected, events, positions: [] };
  const evolve = (state: State, event: Event, index: number) => definition.evolve(state, event, expected + index + 1);
  const next = { id, state: events.reduce(evolve, before), version: expected + events.length };
  const stream: StreamName = `${definition.name}-${id}`;
  const causes = causesIn(stream, before as Stepping, events, continued);
  const append = { stream, expected, events: events.map(codec.encode), ...(causes === undefined ? {} : { causes }) };
  return { ...next, events, positions: [], append, row: rows.change(loaded, next) };
};

/** The decision on a state that may be outdated. Only one that the store compares with the stream counts. */
const decideOnKnown = <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  known: Loaded<State>,
  decide: (state: State) => readonly Event[],
  continued: Continued,
): Prepared<State, Event> | undefined => {
  try {
    const prepared = prepare(streams, known, decide, continued);
    return prepared.append === undefined ? undefined : prepared;
  } catch (error) {
    if (error instanceof Rejection) return undefined;
    throw error;
  }
};

const storeOne = async <State, Event extends EventOf>(
  { store, definition }: Streams<State, Event>,
  prepared: Prepared<State, Event>,
  cause: Cause,
  { guard, rows = [] }: TransactOptions<State>,
): Promise<Transacted<State, Event>> => {
  const { append, row, ...transacted } = prepared;
  if (!append || !row) return transacted;
  const { causes, ...plain } = append;
  const appends: readonly [Append] = [plain];
  const commit = { appends, rows: [row, ...rows], ...(guard === undefined ? {} : { cursors: [guard].flat() }) };
  const stored = storedCause(cause, append.stream, causes);
  const positions = await storeInSharedSpan(store, `append ${definition.name}`, commit, stored);
  cause.tracker?.stored(append.stream, prepared.version);
  return { ...transacted, positions };
};

const transact = async <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  id: string,
  decide: (state: State) => readonly Event[],
  cause: Cause,
  options: TransactOptions<State>,
): Promise<Transacted<State, Event>> => {
  const { known, expected } = options;
  const isKnownUsable = known !== undefined && known.version === (expected ?? known.version);
  const first = isKnownUsable ? decideOnKnown(streams, known, decide, options) : undefined;
  for (let attempt = first ? 0 : 1; attempt <= CONFLICTS_MAX; attempt += 1) {
    const prepared = (attempt === 0 ? first : undefined) ?? (await loadAndDecide(streams, id, decide, options));
    try {
      return await storeOne(streams, prepared, cause, options);
    } catch (error) {
      if (!(error instanceof VersionConflict)) throw error;
    }
  }
  throw contention(id);
};

const loadAndDecide = async <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  id: string,
  decide: (state: State) => readonly Event[],
  { expected, step, timer }: TransactOptions<State>,
): Promise<Prepared<State, Event>> => {
  const loaded = await streams.rows.load(id);
  if (expected !== undefined && expected !== loaded.version) throw etagMismatch(id, expected, loaded.version);
  return prepare(streams, loaded, decide, { step, timer });
};

type StreamIds<State> = readonly (string | Loaded<State>)[];
type DecideOne<State, Event> = (state: State, id: string, version: number) => readonly Event[];

interface ChunkResult<State, Event> {
  readonly changed: readonly Transacted<State, Event>[];
  readonly rejected: readonly RejectedStream[];
  /** Ids of streams that other writers changed meanwhile. */
  readonly moved: readonly string[];
}

const transactMany = async <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  ids: StreamIds<State>,
  decide: DecideOne<State, Event>,
  cause: Cause,
  options: TransactManyOptions<State>,
) => {
  const changed: Transacted<State, Event>[] = [];
  const rejected: RejectedStream[] = [];
  let round: StreamIds<State> = [...new Set(ids)];
  let rows = options.rows ?? [];
  for (let attempt = 1; round.length + rows.length > 0; attempt += 1) {
    if (attempt > CONFLICTS_MAX) {
      const contended = round.map((stream) => (typeof stream === 'string' ? stream : stream.id));
      if (options.onContention !== 'reject') throw contentionOfMany(contended.length);
      rejected.push(...contended.map((id) => ({ id, rejection: contention(id) })));
      break;
    }
    const moved: string[] = [];
    for (let start = 0; start < round.length + rows.length; start += CHUNK_SIZE) {
      const piece = round.slice(start, start + CHUNK_SIZE);
      const chunk = await transactChunk(streams, piece, decide, cause, { ...options, rows });
      rows = [];
      changed.push(...chunk.changed);
      rejected.push(...chunk.rejected);
      moved.push(...chunk.moved);
    }
    round = moved;
  }
  return { changed, rejected };
};

const transactChunk = async <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  ids: StreamIds<State>,
  decide: DecideOne<State, Event>,
  cause: Cause,
  options: TransactManyOptions<State>,
): Promise<ChunkResult<State, Event>> => {
  const { rows = [] } = options;
  const { prepared, rejected } = await decideChunk(streams, ids, decide, options);
  const moved: string[] = [];
  let left = prepared;
  while (left.length + rows.length > 0) {
    try {
      return { changed: await storeChunk(streams, left, cause, rows), rejected, moved };
    } catch (error) {
      if (!(error instanceof VersionConflict)) throw error;
      const conflicting = new Set<string>(error.streams);
      const isMoved = ({ append }: Prepared<State, Event>): boolean =>
        append !== undefined && conflicting.has(append.stream);
      moved.push(...left.filter(isMoved).map(({ id }) => id));
      left = left.filter((one) => !isMoved(one));
    }
  }
  return { changed: [], rejected, moved };
};

const decideChunk = async <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  ids: StreamIds<State>,
  decide: DecideOne<State, Event>,
  { step, timer, causesOf }: TransactManyOptions<State>,
): Promise<{ readonly prepared: readonly Prepared<State, Event>[]; readonly rejected: readonly RejectedStream[] }> => {
  const prepared: Prepared<State, Event>[] = [];
  const rejected: RejectedStream[] = [];
  for (const loaded of await loadUnknown(streams, ids)) {
    try {
      const one = prepare(streams, loaded, (state) => decide(state, loaded.id, loaded.version), { step, timer });
      if (!one.append) continue;
      const causes = causesOf?.(loaded.state, loaded.id);
      prepared.push(causes === undefined ? one : { ...one, append: { ...one.append, causes } });
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      rejected.push({ id: loaded.id, rejection: error });
    }
  }
  return { prepared, rejected };
};

const loadUnknown = async <State, Event extends EventOf>(
  { rows }: Streams<State, Event>,
  ids: StreamIds<State>,
): Promise<readonly Loaded<State>[]> => {
  const unknown = ids.filter((stream) => typeof stream === 'string');
  const known = ids.filter((stream) => typeof stream !== 'string');
  return unknown.length === 0 ? known : [...known, ...(await rows.loadMany(unknown))];
};

const storeChunk = async <State, Event extends EventOf>(
  { store, definition }: Streams<State, Event>,
  prepared: readonly Prepared<State, Event>[],
  cause: Cause,
  also: readonly RowChange[],
): Promise<readonly Transacted<State, Event>[]> => {
  const rows = [...also, ...prepared.flatMap(({ row }) => row ?? [])];
  const commit = { appends: prepared.flatMap(({ append }) => append ?? []), rows };
  const positions = await storeInSpan(store, `append ${definition.name}`, commit, cause);
  let next = 0;
  return prepared.map(({ id, state, version, events }) => {
    next += events.length;
    return { id, state, version, events, positions: positions.slice(next - events.length, next) };
  });
};

const list = async <State, Event extends EventOf>(
  { store, rows }: Streams<State, Event>,
  query: TableQuery,
): Promise<Page<State>> => {
  const found = await store.listRows({ table: rows.table.table, ...query, limit: query.limit + 1 });
  const items = found.slice(0, query.limit).map(({ key, row, version }) => ({ id: key, state: row as State, version }));
  const last = items.at(-1);
  return found.length > query.limit && last ? { items, next: last.id } : { items };
};

const listAll = async <State, Event extends EventOf>(
  streams: Streams<State, Event>,
  query: Omit<TableQuery, 'limit'>,
): Promise<readonly Loaded<State>[]> => {
  const items: Loaded<State>[] = [];
  for (let { after } = query; ; ) {
    const page = await list(streams, { ...query, ...(after === undefined ? {} : { after }), limit: CHUNK_SIZE });
    items.push(...page.items);
    if (page.next === undefined) return items;
    after = page.next;
  }
};
