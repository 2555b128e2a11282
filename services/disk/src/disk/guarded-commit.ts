import {
  type Category,
  type Cause,
  type CursorMove,
  type EventOf,
  type EventStore,
  type Loaded,
  Rejection,
  type RowChange,
  type Transacted,
  VersionConflict,
} from '@interlock/event-store';

/** Conflicts in a row after which something else keeps rewriting the stream. */
const conflictsMax = 20;

/** What else there is to a commit. */
export interface CommitTerms<State> {
  /** A cursor that must be where it was: for what depends on the generation of a set. */
  readonly guard?: CursorMove | undefined;
  /** Stored with the events, where some are decided: the header that they describe, or that ends with them. */
  readonly rows?: readonly RowChange[];
  /**
   * The state as it was read before: on that it is decided first, and again on what it has become where it is not that any more.
   */
  readonly known?: Loaded<State>;
}

/**
 * Decides and stores like `transact`, with a guard and rows.
 * @throws CursorConflict when the cursor of the guard is elsewhere: nothing is stored
 */
export const transactGuarded = async <State, Event extends EventOf>(
  store: EventStore,
  category: Category<State, Event>,
  id: string,
  decide: (state: State) => readonly Event[],
  cause: Cause,
  { guard, rows = [], known }: CommitTerms<State>,
): Promise<Transacted<State, Event>> => {
  for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
    const loaded = conflicts === 0 && known !== undefined ? known : await category.load(id);
    const { append, row, ...transacted } = category.prepare(loaded, decide);
    if (!append || !row) return transacted;
    try {
      const { positions } = await store.commit(
        { appends: [append], rows: [row, ...rows], cursors: guard === undefined ? [] : [guard] },
        cause,
      );
      return { ...transacted, positions };
    } catch (error) {
      if (!(error instanceof VersionConflict)) throw error;
    }
  }
  throw new Rejection('ABORTED', 'CONTENTION', `${id} is being changed by others all the time; try again`, {
    name: id,
  });
};
