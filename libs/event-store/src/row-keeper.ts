import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import { type Category, type CategoryDefinition, category } from './category.ts';
import type { EventOf } from './event-codec.ts';
import { positionRanges } from './position-ranges.ts';
import type { Cause, EventStore, StreamBehind } from './store.ts';
import { CursorConflict, StoreUnavailable } from './store.ts';

/** Positions looked at in one query, and so the most rows made anew at once. */
const spanLength = 1_000;
/** A cursor is stored once in so many positions: so many are looked at again after a crash. */
const cursorStride = 10_000;
/** From so many positions on, a table that has come nowhere is made in one pass over the streams: it would look at most streams many times otherwise. */
const passFrom = 10_000;
/** Events read at once in such a pass. */
const pageEvents = 20_000;
/** Shortest time between two looks at what was appended. */
const lookIntervalMs = 500;
/** Pause before the store is asked again after it could not be reached. */
const retryMs = 1_000;

const cause: Cause = { correlationId: 'rows', causationId: 'rows', caller: 'system:rows' };

/** Keeps the state rows of one service complete: `<category>_v<stateVersion>` holds the fold of every stream. */
export interface RowKeeper {
  /**
   * Opens the streams of one kind and makes every row anew that is missing or older than its stream, page by page from
   * where this or another process came to. Resolves once the lists hold every event stored at the call.
   * @throws StoreUnavailable when the store is lost on the way; what was done is kept
   */
  open<State, Event extends EventOf>(definition: CategoryDefinition<State, Event>): Promise<Category<State, Event>>;
  /**
   * Goes on keeping the rows of everything opened until `signal` is aborted: a release with another state version
   * beside this one appends events and leaves our table alone.
   */
  follow(signal: AbortSignal): Promise<void>;
}

/** What is known of one table. */
interface Kept {
  readonly table: Category<never, EventOf>['table'];
  readonly renew: (ids: readonly string[]) => Promise<number>;
  readonly cursor: string;
  /** Value of the stored cursor as far as we know. */
  stored: number;
  /** Every event up to here is in the rows. */
  reached: number;
}

/**
 * Makes the keeper of a service's rows. Where a table has come to is a cursor, `rows/<table>`, which replicas share: rows
 * may be newer than it says, never older. What this process decides it stores with its rows, so nobody looks at that again; what
 * others of its release decide is new already too, and costs a look at its version.
 */
export const rowKeeper = (parts: {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** When and how a table is made in one pass; others than by default are for tests. */
  readonly pass?: { readonly from: number; readonly pageEvents: number };
}): RowKeeper => {
  const { store, clock, log, pass = { from: passFrom, pageEvents } } = parts;
  const all: Kept[] = [];
  const ownPositions = positionRanges();
  /** The store as categories have it: whatever they append has its row in the same commit. */
  const noting: EventStore = {
    ...store,
    async commit(commit, why) {
      const committed = await store.commit(commit, why);
      ownPositions.add(committed.positions);
      return committed;
    },
  };

  const saveCursors = async (tables: readonly Kept[]): Promise<void> => {
    const ahead = tables.filter(({ reached, stored }) => reached > stored);
    if (ahead.length === 0) return;
    const cursors = ahead.map(({ cursor, stored, reached }) => ({ name: cursor, from: stored, to: reached }));
    try {
      await store.commit({ cursors }, cause);
      for (const kept of ahead) kept.stored = kept.reached;
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      // Another replica moved one; what it says holds for the same rows.
      for (const kept of ahead) kept.stored = await store.cursor(kept.cursor);
    }
  };

  const renewAll = async (behind: readonly StreamBehind[], tables: readonly Kept[]): Promise<void> => {
    for (const { table, renew } of tables) {
      const ids = behind.filter((one) => one.table === table.table).map(({ id }) => id);
      const renewed = ids.length === 0 ? 0 : await renew(ids);
      if (renewed > 0) log.info('state rows made from events', { table: table.table, rows: renewed });
    }
  };

  /** Looks at the next span of positions for these tables, all of which have come to the same position. */
  const look = async (tables: readonly Kept[], after: number): Promise<number> => {
    const { behind, reached } = await store.streamsBehind({
      tables: tables.map(({ table }) => table),
      after,
      span: spanLength,
    });
    await renewAll(behind, tables);
    for (const kept of tables) kept.reached = reached;
    if (tables.some((kept) => kept.reached - kept.stored >= cursorStride) || behind.length > 0)
      await saveCursors(tables);
    return reached;
  };

  const lookToTheEnd = async (from: number, signal: AbortSignal): Promise<number> => {
    let position = from;
    while (!signal.aborted) {
      position = ownPositions.reach(position);
      const reached = await look(all, position);
      if (reached === position) break;
      position = reached;
    }
    return position;
  };

  return {
    async open(definition) {
      const opened = category(noting, definition);
      const cursor = `rows/${opened.table.table}`;
      const [head, stored] = await Promise.all([store.head(), store.cursor(cursor)]);
      const kept: Kept = { table: opened.table, renew: opened.renew, cursor, stored, reached: stored };
      if (stored === 0 && head >= pass.from) {
        // A pass that is cut short begins again: it takes as long as reading the events. Whatever is appended meanwhile is
        // behind the head of before, and looked at from there.
        const streams = await opened.renewAll(pass.pageEvents);
        log.info('state rows made from all events', { table: opened.table.table, streams });
        kept.reached = head;
      }
      while (kept.reached < head) await look([kept], kept.reached);
      await saveCursors([kept]);
      all.push(kept);
      return opened;
    },
    async follow(signal) {
      if (all.length === 0) return;
      const attempts = failureLog({
        log,
        clock,
        failing: 'state rows are not looked after',
        back: 'state rows are looked after again',
      });
      let position = Math.min(...all.map(({ reached }) => reached));
      while (!signal.aborted) {
        if (!(await store.waitForEvents(position, signal))) break;
        try {
          // Not at once: whoever acts on the same event goes first, and later ones are looked at together with it.
          await clock.sleep(lookIntervalMs, signal);
          position = await lookToTheEnd(position, signal);
          attempts.succeeded();
        } catch (error) {
          if (!(error instanceof StoreUnavailable)) throw error;
          attempts.failed(error);
          await clock.sleep(retryMs, signal);
        }
      }
      await saveCursors(all).catch((error: unknown) => {
        // The next start looks again at what the cursors do not tell.
        if (!(error instanceof StoreUnavailable)) throw error;
      });
    },
  };
};
