import type { CategoryDefinition, Loaded } from './category.ts';
import { type EventOf, eventCodec } from './event-codec.ts';
import { rowChange } from './row-change.ts';
import type {
  EventStore,
  IndexEntry,
  JsonObject,
  RowChange,
  StateTable,
  StoredState,
  StreamName,
  StreamPiece,
} from './store.ts';

/** The states of one kind of stream: read from their rows, from the events where those know more, and written back. */
export interface StateRows<State> {
  readonly table: StateTable;
  load(id: string): Promise<Loaded<State>>;
  loadMany(ids: readonly string[]): Promise<readonly Loaded<State>[]>;
  /** The row as it is to be with the state `next`, over what is stored for `loaded`. */
  change(loaded: Loaded<State>, next: Loaded<State>): RowChange;
  /** See `Category.renew`. */
  renew(ids: readonly string[]): Promise<number>;
  /** See `Category.renewAll`. */
  renewAll(pageEvents: number): Promise<number>;
}

/** Streams made anew in one transaction. */
const chunkSize = 1_000;

/** Opens the state rows of a category. */
export const stateRows = <State, Event extends EventOf>(
  store: EventStore,
  definition: CategoryDefinition<State, Event>,
): StateRows<State> => {
  const { name, initial, evolve } = definition;
  const table: StateTable = { category: name, table: `${name}_v${definition.stateVersion}` };
  const streamOf = (id: string): StreamName => `${name}-${id}`;
  const idOf = (stream: StreamName): string => stream.slice(name.length + 1);
  const codec = eventCodec<Event>(definition.upcast ?? {});
  const isGone = (state: State): boolean => definition.isGone?.(state) ?? false;
  const indexesOf = (state: State, id: string): readonly IndexEntry[] =>
    isGone(state) ? [] : (definition.indexes?.(state, id) ?? []);

  /** From the row as far as it goes, and from there by the events. */
  const fold = async ({ id, row, rowVersion }: StoredState): Promise<Loaded<State>> => {
    const events = await store.read(streamOf(id), rowVersion);
    let state = row === undefined ? initial : (row as State);
    const formerEntries = row === undefined ? [] : [...indexesOf(state, id)];
    for (const event of events) {
      state = evolve(state, codec.decode(event));
      formerEntries.push(...indexesOf(state, id));
    }
    return { id, state, version: rowVersion + events.length, formerEntries };
  };

  const asLoaded = (id: string, stored: StoredState | undefined): Loaded<State> | Promise<Loaded<State>> => {
    if (!stored) return { id, state: initial, version: 0 };
    const { row, rowVersion, version } = stored;
    // Not as new as the stream: gone, not yet made in this shape, or written by a release that keeps another table.
    return row !== undefined && rowVersion === version ? { id, state: row as State, version } : fold(stored);
  };

  const change: StateRows<State>['change'] = ({ formerEntries, ...loaded }, { id, state, version }) => {
    const after = indexesOf(state, id);
    const before = formerEntries ?? (loaded.version === 0 ? [] : indexesOf(loaded.state, id));
    const moved = rowChange(table.table, id, {
      row: isGone(state) ? null : (state as JsonObject),
      version,
      before,
      after,
    });
    // Which of the former entries are stored is not known: all that are to be there are put.
    return formerEntries === undefined ? moved : { ...moved, added: after };
  };

  /** Goes on folding a stream, from the beginning or from where a piece ended. */
  const foldOn = (before: Loaded<State>, piece: StreamPiece): Loaded<State> => {
    let state = before.state;
    const formerEntries = [...(before.formerEntries ?? [])];
    for (const event of piece.events) {
      state = evolve(state, codec.decode(event));
      for (const entry of indexesOf(state, before.id)) {
        if (!formerEntries.some(({ index, value }) => index === entry.index && value === entry.value))
          formerEntries.push(entry);
      }
    }
    return { id: before.id, state, version: piece.version, formerEntries };
  };

  /** Puts the rows of folded streams. Rows that are as new stay; a stream that moved has news behind whoever asked. */
  const put = async (folded: readonly Loaded<State>[]): Promise<void> => {
    for (let start = 0; start < folded.length; start += chunkSize) {
      const chunk = folded.slice(start, start + chunkSize);
      await store.renewRows(chunk.map((is) => ({ stream: streamOf(is.id), change: change(is, is) })));
    }
  };

  /** One look and one turn. @returns how many rows were put, and the streams somebody appended to in between */
  const renewOnce = async (ids: readonly string[]): Promise<{ renewed: number; moved: readonly string[] }> => {
    const stored = await store.getStates(table, ids);
    const behind = stored.filter(({ rowVersion, version }) => rowVersion < version);
    const folded = await Promise.all(
      behind.map(async (one) => ({ hasRow: one.row !== undefined, is: await fold(one) })),
    );
    const renewals = folded
      // A gone stream without a row is as it should be.
      .filter(({ hasRow, is }) => hasRow || !isGone(is.state))
      .map(({ is }) => ({ stream: streamOf(is.id), change: change(is, is) }));
    if (renewals.length === 0) return { renewed: 0, moved: [] };
    const moved = await store.renewRows(renewals);
    return { renewed: renewals.length - moved.length, moved: moved.map(idOf) };
  };

  const renewAll = async (pageEvents: number): Promise<number> => {
    const read = (after?: StreamPiece): Promise<readonly StreamPiece[]> => {
      const page = store.readStreams({ category: name, limit: pageEvents, ...(after === undefined ? {} : { after }) });
      // It may fail while the page before is put; then who waits for it hears of that failure first.
      page.catch(() => {});
      return page;
    };
    let total = 0;
    let open: Loaded<State> | undefined;
    for (let reading = read(); ; ) {
      const page = await reading;
      const last = page.at(-1);
      // The next page is read while this one is folded and put.
      if (last) reading = read(last);
      const complete: Loaded<State>[] = [];
      for (const piece of page) {
        const id = idOf(piece.stream);
        if (open && open.id !== id) complete.push(open);
        open = foldOn(open?.id === id ? open : { id, state: initial, version: 0 }, piece);
      }
      if (!last && open) complete.push(open);
      await put(complete);
      total += complete.length;
      if (!last) return total;
    }
  };

  return {
    table,
    change,
    renewAll,
    async load(id) {
      const [stored] = await store.getStates(table, [id]);
      return asLoaded(id, stored);
    },
    async loadMany(ids) {
      const found = new Map((await store.getStates(table, ids)).map((stored) => [stored.id, stored]));
      return Promise.all(ids.map((id) => asLoaded(id, found.get(id))));
    },
    async renew(ids) {
      let total = 0;
      for (let start = 0; start < ids.length; start += chunkSize) {
        let left = ids.slice(start, start + chunkSize);
        while (left.length > 0) {
          const { renewed, moved } = await renewOnce(left);
          total += renewed;
          left = [...moved];
        }
      }
      return total;
    },
  };
};
