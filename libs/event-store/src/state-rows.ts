import type { CategoryDefinition, Loaded } from './category-definition.ts';
import { type EventOf, eventCodec } from './event-codec.ts';
import { rowChange } from './row-change.ts';
import type {
  EventStore,
  IndexEntry,
  JsonObject,
  NewEvent,
  RowChange,
  RowRenewal,
  StateTable,
  StoredState,
  StreamName,
  StreamPiece,
} from './store.ts';

/** The states of one kind of stream: read from their rows, completed by newer events, and written back. */
export interface StateRows<State> {
  readonly table: StateTable;
  load(id: string): Promise<Loaded<State>>;
  loadMany(ids: readonly string[]): Promise<readonly Loaded<State>[]>;
  /** The change that replaces the row of `loaded` by the state `next`. */
  change(loaded: Loaded<State>, next: Loaded<State>): RowChange;
  /**
   * Rebuilds the rows of these streams from the events where they are missing or older than their streams. Safe beside
   * writers of every kind. @returns the number of rebuilt rows
   */
  renew(ids: readonly string[]): Promise<number>;
  /**
   * The same for every stream of the kind, in one pass over their events, `pageEvents` at a time. Events appended during
   * the pass may be missing. @returns the number of streams
   */
  renewAll(pageEvents: number): Promise<number>;
}

/** Rows rebuilt in one transaction. */
const CHUNK_SIZE = 1_000;

/** Opens the state rows of a category. */
export const stateRows = <State, Event extends EventOf>(
  store: EventStore,
  definition: CategoryDefinition<State, Event>,
): StateRows<State> => {
  const folding = new Folding(definition);
  const { table } = folding;
  const asLoaded = (id: string, stored: StoredState | undefined): Loaded<State> | Promise<Loaded<State>> => {
    if (!stored) return { id, state: definition.initial, version: 0 };
    const { row, rowVersion, version } = stored;
    // Older than the stream: gone, not yet rebuilt in this shape, or changed by a release that writes another table.
    const isCurrent = row !== undefined && rowVersion === version;
    return isCurrent ? { id, state: row as State, version } : foldStored(store, folding, stored);
  };
  return {
    table,
    change: (loaded, next) => folding.change(loaded, next),
    renew: (ids) => renew(store, folding, ids),
    renewAll: (pageEvents) => renewAll(store, folding, pageEvents),
    async load(id) {
      const [stored] = await store.getStates(table, [id]);
      return asLoaded(id, stored);
    },
    async loadMany(ids) {
      const found = new Map((await store.getStates(table, ids)).map((stored) => [stored.id, stored]));
      return Promise.all(ids.map((id) => asLoaded(id, found.get(id))));
    },
  };
};

/** The pure part: from events to states, and from states to rows with their index entries. */
class Folding<State, Event extends EventOf> {
  readonly table: StateTable;
  readonly #definition: CategoryDefinition<State, Event>;
  readonly #codec: ReturnType<typeof eventCodec<Event>>;

  constructor(definition: CategoryDefinition<State, Event>) {
    this.#definition = definition;
    this.#codec = eventCodec<Event>(definition.upcast ?? {});
    this.table = { category: definition.name, table: `${definition.name}_v${definition.stateVersion}` };
  }

  streamOf(id: string): StreamName {
    return `${this.table.category}-${id}`;
  }

  idOf(stream: StreamName): string {
    return stream.slice(this.table.category.length + 1);
  }

  isGone(state: State): boolean {
    return this.#definition.isGone?.(state) ?? false;
  }

  /** A stream without events. */
  unwritten(id: string): Loaded<State> {
    return { id, state: this.#definition.initial, version: 0, formerEntries: [] };
  }

  /** The state that is stored in a row, whose index entries are stored too. */
  ofRow(id: string, row: JsonObject, version: number): Loaded<State> {
    const state = row as State;
    return { id, state, version, formerEntries: this.#indexesOf(state, id) };
  }

  /** Continues the fold of a stream with its next events. */
  apply(before: Loaded<State>, events: readonly NewEvent[]): Loaded<State> {
    let { state } = before;
    const formerEntries = [...(before.formerEntries ?? [])];
    for (const [index, event] of events.entries()) {
      state = this.#definition.evolve(state, this.#codec.decode(event), before.version + index + 1);
      for (const entry of this.#indexesOf(state, before.id)) {
        if (!formerEntries.some(({ index, value }) => index === entry.index && value === entry.value))
          formerEntries.push(entry);
      }
    }
    return { id: before.id, state, version: before.version + events.length, formerEntries };
  }

  change({ formerEntries, ...loaded }: Loaded<State>, { id, state, version }: Loaded<State>): RowChange {
    const after = this.#indexesOf(state, id);
    const before = formerEntries ?? (loaded.version === 0 ? [] : this.#indexesOf(loaded.state, id));
    const row = this.isGone(state) ? null : (state as JsonObject);
    const change = rowChange(this.table.table, id, { row, version, before, after });
    // Which of the former entries are stored is unknown, so every current entry is added.
    return formerEntries === undefined ? change : { ...change, added: after };
  }

  /** The rebuilt row of a folded stream. */
  renewal(folded: Loaded<State>): RowRenewal {
    return { stream: this.streamOf(folded.id), change: this.change(folded, folded) };
  }

  #indexesOf(state: State, id: string): readonly IndexEntry[] {
    return this.isGone(state) ? [] : (this.#definition.indexes?.(state, id) ?? []);
  }
}

/** Starts from the stored row, if it exists, and applies the newer events. */
const foldStored = async <State, Event extends EventOf>(
  store: EventStore,
  folding: Folding<State, Event>,
  { id, row, rowVersion }: StoredState,
): Promise<Loaded<State>> => {
  const events = await store.read(folding.streamOf(id), rowVersion);
  const start = row === undefined ? folding.unwritten(id) : folding.ofRow(id, row, rowVersion);
  return folding.apply(start, events);
};

const renew = async <State, Event extends EventOf>(
  store: EventStore,
  folding: Folding<State, Event>,
  ids: readonly string[],
): Promise<number> => {
  let total = 0;
  for (let start = 0; start < ids.length; start += CHUNK_SIZE) {
    let left = ids.slice(start, start + CHUNK_SIZE);
    while (left.length > 0) {
      const { renewed, moved } = await renewOnce(store, folding, left);
      total += renewed;
      left = [...moved];
    }
  }
  return total;
};

/** @returns the number of stored rows, and the streams that got new events in between */
const renewOnce = async <State, Event extends EventOf>(
  store: EventStore,
  folding: Folding<State, Event>,
  ids: readonly string[],
): Promise<{ readonly renewed: number; readonly moved: readonly string[] }> => {
  const stored = await store.getStates(folding.table, ids);
  const behind = stored.filter(({ rowVersion, version }) => rowVersion < version);
  const folded = await Promise.all(
    behind.map(async (one) => ({ hasRow: one.row !== undefined, stream: await foldStored(store, folding, one) })),
  );
  const renewals = folded
    // A gone stream has no row.
    .filter(({ hasRow, stream }) => hasRow || !folding.isGone(stream.state))
    .map(({ stream }) => folding.renewal(stream));
  if (renewals.length === 0) return { renewed: 0, moved: [] };
  const moved = await store.renewRows(renewals);
  return { renewed: renewals.length - moved.length, moved: moved.map((stream) => folding.idOf(stream)) };
};

const renewAll = async <State, Event extends EventOf>(
  store: EventStore,
  folding: Folding<State, Event>,
  pageEvents: number,
): Promise<number> => {
  const { category } = folding.table;
  const read = (after?: StreamPiece): Promise<readonly StreamPiece[]> => {
    const page = store.readStreams({ category, limit: pageEvents, ...(after === undefined ? {} : { after }) });
    // It may fail while the page before is stored; that failure is reported when the page is awaited.
    page.catch(() => {});
    return page;
  };
  let total = 0;
  let open: Loaded<State> | undefined;
  for (let reading = read(); ; ) {
    const page = await reading;
    const last = page.at(-1);
    // The next page is read while this one is folded and stored.
    if (last) reading = read(last);
    const complete: Loaded<State>[] = [];
    for (const piece of page) {
      const id = folding.idOf(piece.stream);
      if (open && open.id !== id) complete.push(open);
      open = folding.apply(open?.id === id ? open : folding.unwritten(id), piece.events);
    }
    if (!last && open) complete.push(open);
    await renewInChunks(store, folding, complete);
    total += complete.length;
    if (!last) return total;
  }
};

/** Stores the rows of folded streams. Rows of the same version stay; streams with newer events are skipped. */
const renewInChunks = async <State, Event extends EventOf>(
  store: EventStore,
  folding: Folding<State, Event>,
  folded: readonly Loaded<State>[],
): Promise<void> => {
  for (let start = 0; start < folded.length; start += CHUNK_SIZE) {
    await store.renewRows(folded.slice(start, start + CHUNK_SIZE).map((one) => folding.renewal(one)));
  }
};
