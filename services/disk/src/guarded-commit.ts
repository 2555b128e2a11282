import {
  type Category,
  type Cause,
  type CursorMove,
  type EventOf,
  type EventStore,
  type Loaded,
  Rejection,
  type Transacted,
  VersionConflict,
} from '@interlock/event-store';

/** Conflicts in a row after which something else keeps rewriting the stream. */
const conflictsMax = 20;

/**
 * Decides and stores like `transact`, on condition that a cursor is where it was: for what depends on the generation of a set.
 * @param known the state as it was read before: on that it is decided first, and again on what it has become where it is not
 *   that any more
 * @throws CursorConflict when it is elsewhere: nothing is stored
 */
export const transactGuarded = async <State, Event extends EventOf>(
  store: EventStore,
  category: Category<State, Event>,
  id: string,
  decide: (state: State) => readonly Event[],
  cause: Cause,
  guard: CursorMove | undefined,
  known?: Loaded<State>,
): Promise<Transacted<State, Event>> => {
  for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
    const loaded = conflicts === 0 && known !== undefined ? known : await category.load(id);
    const { append, row, ...transacted } = category.prepare(loaded, decide);
    if (!append || !row) return transacted;
    try {
      const { positions } = await store.commit(
        { appends: [append], rows: [row], cursors: guard === undefined ? [] : [guard] },
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
