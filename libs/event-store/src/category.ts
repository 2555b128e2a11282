import { inSpan, sharedSpans } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type EventOf, eventCodec, type Upcasters } from './event-codec.ts';
import { Rejection } from './rejection.ts';
import { stateRows } from './state-rows.ts';
import type { Append, Cause, CursorMove, EventStore, IndexEntry, RowChange, StateTable, StreamName } from './store.ts';
import { VersionConflict } from './store.ts';

/** How the streams of one kind are folded, stored and found. */
export interface CategoryDefinition<State, Event extends EventOf> {
  /** First part of the stream names; lower case, without hyphens. */
  readonly name: string;
  /** Version of the state's shape. A new shape is a new version: its rows are rebuilt from the events, never migrated. */
  readonly stateVersion: number;
  readonly initial: State;
  readonly evolve: (state: State, event: Event) => State;
  /** Lifts old event shapes while reading. The current schema of a type is one above its highest key; 1 without an entry. */
  readonly upcast?: Upcasters;
  /** Under which (index, value) pairs a stream is listed. Pure, and a function of the state alone. */
  readonly indexes?: (state: State, id: string) => readonly IndexEntry[];
  /** True when the state is as good as never written (a purged key): its row is removed. */
  readonly isGone?: (state: State) => boolean;
}

/** A folded stream. `version` 0: nobody wrote it. */
export interface Loaded<State> {
  readonly id: string;
  readonly state: State;
  readonly version: number;
  /**
   * Every entry an earlier state may have left in the index. There only when the row was missing or older than the
   * stream, and the state comes from the events.
   */
  readonly formerEntries?: readonly IndexEntry[];
}

/** What a transaction did. */
export interface Transacted<State, Event> extends Loaded<State> {
  /** The events it decided; empty when the wish was already fulfilled. */
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

export interface ListQuery {
  readonly index?: IndexEntry;
  readonly prefix?: string;
  readonly after?: string;
  readonly limit: number;
}

/** A decision waiting to be committed with others: what `prepare` returns. */
export interface Prepared<State, Event> extends Transacted<State, Event> {
  readonly append?: Append;
  readonly row?: RowChange;
}

/** Streams of one kind: load, decide and list them. */
export interface Category<State, Event extends EventOf> {
  readonly definition: CategoryDefinition<State, Event>;
  load(id: string): Promise<Loaded<State>>;
  loadMany(ids: readonly string[]): Promise<readonly Loaded<State>[]>;
  /**
   * Reads the state, decides, and stores what was decided together with the new state row. Without `expected` a
   * conflict is decided again on the newer state; with it (an etag) a mismatch is `ABORTED`.
   * @throws Rejection from `decide`, or `ABORTED` `ETAG_MISMATCH`, or `ABORTED` `CONTENTION` after many conflicts
   */
  transact(
    id: string,
    decide: (state: State) => readonly Event[],
    cause: Cause,
    options?: {
      readonly expected?: number;
      /**
       * The state as it was read before: what is decided of it is stored without another look, if it is the state still.
       * Where it is not, or nothing is decided of it, or it is refused, the stream is read as without it.
       */
      readonly known?: Loaded<State>;
      /** What is decided is stored on condition that a cursor is where this says. @throws CursorConflict when it is elsewhere */
      readonly guard?: CursorMove;
    },
  ): Promise<Transacted<State, Event>>;
  /**
   * The same decision for many streams, stored in bounded chunks: the way to stop a fleet, and with one id the way to
   * stop a machine. A stream for which `decide` throws a `Rejection` is passed over and reported in `rejected`.
   * @param decide told the version of the state as well: what was done outside about one state may hold for no other
   * @param streams ids, or states as they were read before: on those it is decided first, and again on what they have
   *   become where that is not theirs any more
   */
  transactMany(
    streams: readonly (string | Loaded<State>)[],
    decide: (state: State, id: string, version: number) => readonly Event[],
    cause: Cause,
    options?: {
      /** Stored together with what is decided of the first chunk, also when that is nothing. */
      readonly rows?: readonly RowChange[];
      /**
       * What becomes of the call when others keep changing a stream, as `ABORTED` `CONTENTION`: by default it fails, though
       * everything else is stored; with `reject` that stream is one of the rejected, and the caller hears of what is stored.
       */
      readonly onContention?: 'reject';
    },
  ): Promise<{
    readonly changed: readonly Transacted<State, Event>[];
    readonly rejected: readonly { id: string; rejection: Rejection }[];
  }>;
  /** Decides without storing, for a caller that commits several streams together. */
  prepare(loaded: Loaded<State>, decide: (state: State) => readonly Event[]): Prepared<State, Event>;
  list(query: ListQuery): Promise<Page<State>>;
  /** Every item of a list, page by page. */
  listAll(query: Omit<ListQuery, 'limit'>): Promise<readonly Loaded<State>[]>;
  /**
   * Makes the rows of these streams anew from the events where they are missing or older than their streams. Safe
   * beside writers of every kind. @returns how many were made anew
   */
  renew(ids: readonly string[]): Promise<number>;
  /**
   * The same for every stream of the kind, in one pass over their events, `pageEvents` at a time. What is appended while
   * the pass is under way may be missing. @returns how many streams there are
   */
  renewAll(pageEvents: number): Promise<number>;
  /** Where the states of these streams are. */
  readonly table: StateTable;
}

/** A transaction that met this many conflicts in a row gives up: something keeps rewriting the stream. */
const maxConflicts = 20;
/** Streams decided and stored in one transaction by `transactMany`. */
const chunkSize = 1_000;

const tracer = trace.getTracer('@interlock/event-store');
/** Commits of one turn share a transaction, and where they are one piece of work, their span as well. */
const spans = sharedSpans(tracer);
/** How many streams a span is about. */
const streamsCount = 'interlock.streams.count';

/** Opens the streams of one kind in a store. */
export const category = <State, Event extends EventOf>(
  store: EventStore,
  definition: CategoryDefinition<State, Event>,
): Category<State, Event> => {
  const streamOf = (id: string): StreamName => `${definition.name}-${id}`;
  const codec = eventCodec<Event>(definition.upcast ?? {});
  const rows = stateRows(store, definition);
  const { load, loadMany } = rows;

  const prepare = (loaded: Loaded<State>, decide: (state: State) => readonly Event[]): Prepared<State, Event> => {
    const { id, state: before, version: expected } = loaded;
    const events = decide(before);
    if (events.length === 0) return { id, state: before, version: expected, events, positions: [] };
    const next = { id, state: events.reduce(definition.evolve, before), version: expected + events.length };
    const append = { stream: streamOf(id), expected, events: events.map(codec.encode) };
    return { ...next, events, positions: [], append, row: rows.change(loaded, next) };
  };

  /** What is decided of a state that may be an old one: only what the store will compare with the stream. */
  const decidedOf = (known: Loaded<State>, decide: (state: State) => readonly Event[]) => {
    try {
      const prepared = prepare(known, decide);
      return prepared.append === undefined ? undefined : prepared;
    } catch (error) {
      if (error instanceof Rejection) return undefined;
      throw error;
    }
  };

  const storeOne = async (
    prepared: Prepared<State, Event>,
    cause: Cause,
    guard: CursorMove | undefined,
  ): Promise<Transacted<State, Event>> => {
    const { append, row, ...transacted } = prepared;
    if (!append || !row) return transacted;
    const attributes = { 'interlock.stream': append.stream, 'interlock.stream.version': prepared.version };
    return spans(`append ${definition.name}`, { attributes, count: streamsCount }, async () => {
      const commit = { appends: [append], rows: [row], ...(guard === undefined ? {} : { cursors: [guard] }) };
      const { positions } = await store.commit(commit, cause);
      return { ...transacted, positions };
    });
  };

  const loadedOf = async (streams: readonly (string | Loaded<State>)[]): Promise<readonly Loaded<State>[]> => {
    const ids = streams.filter((stream) => typeof stream === 'string');
    const known = streams.filter((stream) => typeof stream !== 'string');
    return ids.length === 0 ? known : [...known, ...(await loadMany(ids))];
  };

  const transactChunk = async (
    streams: readonly (string | Loaded<State>)[],
    decide: (state: State, id: string, version: number) => readonly Event[],
    cause: Cause,
    also: readonly RowChange[],
  ): Promise<{
    changed: Transacted<State, Event>[];
    rejected: { id: string; rejection: Rejection }[];
    moved: readonly string[];
  }> => {
    const rejected: { id: string; rejection: Rejection }[] = [];
    let left: Prepared<State, Event>[] = [];
    for (const loaded of await loadedOf(streams)) {
      try {
        const prepared = prepare(loaded, (state) => decide(state, loaded.id, loaded.version));
        if (prepared.append) left.push(prepared);
      } catch (error) {
        if (!(error instanceof Rejection)) throw error;
        rejected.push({ id: loaded.id, rejection: error });
      }
    }
    const moved: string[] = [];
    while (left.length + also.length > 0) {
      try {
        const rows = [...also, ...left.flatMap((p) => p.row ?? [])];
        const commit = { appends: left.flatMap((p) => p.append ?? []), rows };
        const { positions } = await inSpan(
          tracer,
          `append ${definition.name}`,
          { attributes: { [streamsCount]: left.length } },
          () => store.commit(commit, cause),
        );
        let next = 0;
        const changed = left.map(({ id, state, version, events }) => {
          const own = positions.slice(next, next + events.length);
          next += events.length;
          return { id, state, version, events, positions: own };
        });
        return { changed, rejected, moved };
      } catch (error) {
        if (!(error instanceof VersionConflict)) throw error;
        const conflicting = new Set<string>(error.streams);
        moved.push(...left.filter((p) => conflicting.has(streamOf(p.id))).map((p) => p.id));
        left = left.filter((p) => !conflicting.has(streamOf(p.id)));
      }
    }
    return { changed: [], rejected, moved };
  };

  const list = async (query: ListQuery): Promise<Page<State>> => {
    const found = await store.listRows({ table: rows.table.table, ...query, limit: query.limit + 1 });
    const items = found
      .slice(0, query.limit)
      .map(({ key, row, version }) => ({ id: key, state: row as State, version }));
    const last = items.at(-1);
    return found.length > query.limit && last ? { items, next: last.id } : { items };
  };

  return {
    definition,
    table: rows.table,
    renew: rows.renew,
    renewAll: rows.renewAll,
    load,
    loadMany,
    prepare,
    list,
    async transact(id, decide, cause, options = {}) {
      const { known, expected, guard } = options;
      const first = known && known.version === (expected ?? known.version) ? decidedOf(known, decide) : undefined;
      if (first) {
        try {
          return await storeOne(first, cause, guard);
        } catch (error) {
          if (!(error instanceof VersionConflict)) throw error;
        }
      }
      for (let attempt = 1; attempt <= maxConflicts; attempt++) {
        const loaded = await load(id);
        if (options.expected !== undefined && options.expected !== loaded.version)
          throw etagMismatch(id, options.expected, loaded.version);
        try {
          return await storeOne(prepare(loaded, decide), cause, guard);
        } catch (error) {
          if (!(error instanceof VersionConflict)) throw error;
        }
      }
      throw contention(id);
    },
    async transactMany(streams, decide, cause, options = {}) {
      const changed: Transacted<State, Event>[] = [];
      const rejected: { id: string; rejection: Rejection }[] = [];
      let round: readonly (string | Loaded<State>)[] = [...new Set(streams)];
      let also = options.rows ?? [];
      for (let attempt = 1; round.length + also.length > 0; attempt++) {
        if (attempt > maxConflicts) {
          const contended = round.map((stream) => (typeof stream === 'string' ? stream : stream.id));
          if (options.onContention !== 'reject') {
            throw new Rejection(
              'ABORTED',
              'CONTENTION',
              `${contended.length} streams are being changed by others all the time`,
              {},
            );
          }
          rejected.push(...contended.map((id) => ({ id, rejection: contention(id) })));
          break;
        }
        const moved: string[] = [];
        for (let start = 0; start < round.length + also.length; start += chunkSize) {
          const chunk = await transactChunk(round.slice(start, start + chunkSize), decide, cause, also);
          also = [];
          changed.push(...chunk.changed);
          rejected.push(...chunk.rejected);
          moved.push(...chunk.moved);
        }
        round = moved;
      }
      return { changed, rejected };
    },
    async listAll(query) {
      const items: Loaded<State>[] = [];
      let after = query.after;
      do {
        const page: Page<State> = await list({ ...query, ...(after === undefined ? {} : { after }), limit: chunkSize });
        items.push(...page.items);
        after = page.next;
      } while (after !== undefined);
      return items;
    },
  };
};

const contention = (id: string): Rejection =>
  new Rejection('ABORTED', 'CONTENTION', `${id} is being changed by others all the time; try again`, { name: id });

/** @returns the refusal of a change that was decided on another version of a stream than the one there is */
export const etagMismatch = (id: string, expected: number, actual: number): Rejection =>
  new Rejection(
    'ABORTED',
    'ETAG_MISMATCH',
    `${id} has etag ${actual}, not ${expected}: read it again and decide again`,
    {
      name: id,
      etag: String(actual),
      expected: String(expected),
    },
  );
