import { type Clock, type FailureLog, failureLog, type Logger } from '@interlock/runtime';
import { type Category, category } from './category.ts';
import type { CategoryDefinition } from './category-definition.ts';
import type { Cause } from './cause.ts';
import type { EventOf } from './event-codec.ts';
import { positionRanges } from './position-ranges.ts';
import type { EventStore, StreamBehind } from './store.ts';
import { CursorConflict, StoreUnavailable } from './store.ts';

/** Positions examined in one query, and so the most rows rebuilt at once. */
const SPAN_LENGTH = 1_000;
/** A cursor is stored once in this many positions; after a crash as many are examined again. */
const CURSOR_STRIDE = 10_000;
/** From this many positions on, a new table is built in one pass over the streams: span by span most streams would be read often. */
const PASS_FROM = 10_000;
/** Events read at once in such a pass. */
const PAGE_EVENTS = 20_000;
/** Shortest time between two examinations of new events. */
const LOOK_INTERVAL_MS = 500;
/** Pause after the store was unavailable. */
const RETRY_MS = 1_000;

const CAUSE: Cause = { correlationId: 'rows', causes: [], caller: 'system:rows' };

/** Keeps the state rows of one service complete: `<category>_v<stateVersion>` holds the fold of every stream. */
export interface RowKeeper {
  /**
   * Opens the streams of one kind and rebuilds every row that is missing or older than its stream, from the stored cursor on.
   * Resolves when the lists contain every event stored at the call.
   * @throws StoreUnavailable when the store is lost meanwhile; finished pages are kept
   */
  open<State, Event extends EventOf>(definition: CategoryDefinition<State, Event>): Promise<Category<State, Event>>;
  /**
   * Keeps the rows of everything opened complete until `signal` is aborted: during a rolling update a release with another
   * state version appends events and does not write our table.
   */
  follow(signal: AbortSignal): Promise<void>;
}

/** One table and how far it is complete. */
interface KeptTable {
  readonly table: Category<never, EventOf>['table'];
  readonly renew: (ids: readonly string[]) => Promise<number>;
  readonly cursor: string;
  /** Last known value of the stored cursor. */
  stored: number;
  /** The rows contain every event up to here. */
  reached: number;
}

/** What a row keeper needs. */
export interface RowKeeperOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** When and how a table is built in one pass; tests set it. */
  readonly pass?: { readonly from: number; readonly pageEvents: number };
}

/**
 * Creates the keeper of a service's rows. The cursor `rows/<table>`, which replicas share, says how far a table is complete:
 * rows may be newer than it says, never older. Events of this process are stored with their rows and are not examined again.
 * Events of other processes of the same release have their rows too; examining them costs a comparison of versions.
 */
export const rowKeeper = (options: RowKeeperOptions): RowKeeper => {
  const keeper = new Keeper(options);
  return {
    open: (definition) => keeper.open(definition),
    follow: (signal) => keeper.follow(signal),
  };
};

class Keeper {
  readonly #store: EventStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #pass: { readonly from: number; readonly pageEvents: number };
  readonly #tables: KeptTable[] = [];
  readonly #ownPositions = positionRanges();

  constructor({ store, clock, log, pass = { from: PASS_FROM, pageEvents: PAGE_EVENTS } }: RowKeeperOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#pass = pass;
  }

  async open<State, Event extends EventOf>(
    definition: CategoryDefinition<State, Event>,
  ): Promise<Category<State, Event>> {
    const opened = category(this.#notingStore(), definition);
    const { table, renew } = opened;
    const cursor = `rows/${table.table}`;
    const [head, stored] = await Promise.all([this.#store.head(), this.#store.cursor(cursor)]);
    const kept: KeptTable = { table, renew, cursor, stored, reached: stored };
    if (stored === 0 && head >= this.#pass.from) {
      // An interrupted pass starts again. Events appended meanwhile are behind `head`, and are examined below.
      const streams = await opened.renewAll(this.#pass.pageEvents);
      this.#log.info('state rows made from all events', { table: table.table, streams });
      kept.reached = head;
    }
    while (kept.reached < head) await this.#examineSpan([kept], kept.reached);
    await this.#saveCursors([kept]);
    this.#tables.push(kept);
    return opened;
  }

  async follow(signal: AbortSignal): Promise<void> {
    if (this.#tables.length === 0) return;
    const [log, clock] = [this.#log, this.#clock];
    const attempts = failureLog({ log, clock, failing: 'state rows are not kept', back: 'state rows are kept again' });
    let position = Math.min(...this.#tables.map(({ reached }) => reached));
    while (!signal.aborted) {
      if (!(await this.#store.waitForEvents(position, signal))) break;
      position = await this.#followOnce(position, signal, attempts);
    }
    await this.#saveCursors(this.#tables).catch((error: unknown) => {
      // The next start examines the positions behind the stored cursors again.
      if (!(error instanceof StoreUnavailable)) throw error;
    });
  }

  async #followOnce(position: number, signal: AbortSignal, attempts: FailureLog): Promise<number> {
    try {
      // Not at once: work that reacts to the same event goes first, and later events are examined together with it.
      await this.#clock.sleep(LOOK_INTERVAL_MS, signal);
      const reached = await this.#examineToTheEnd(position, signal);
      attempts.succeeded();
      return reached;
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      attempts.failed(error);
      await this.#clock.sleep(RETRY_MS, signal);
      return position;
    }
  }

  /** The store for categories: whatever they append has its row in the same commit. */
  #notingStore(): EventStore {
    return {
      ...this.#store,
      commit: async (commit, cause) => {
        const committed = await this.#store.commit(commit, cause);
        this.#ownPositions.add(committed.positions);
        return committed;
      },
    };
  }

  async #examineToTheEnd(from: number, signal: AbortSignal): Promise<number> {
    let position = from;
    while (!signal.aborted) {
      position = this.#ownPositions.reach(position);
      const reached = await this.#examineSpan(this.#tables, position);
      if (reached === position) break;
      position = reached;
    }
    return position;
  }

  /** Examines the next span of positions for tables that are complete up to the same position. @returns how far it examined */
  async #examineSpan(tables: readonly KeptTable[], after: number): Promise<number> {
    const query = { tables: tables.map(({ table }) => table), after, span: SPAN_LENGTH };
    const { behind, reached } = await this.#store.streamsBehind(query);
    await this.#renew(behind, tables);
    for (const kept of tables) kept.reached = reached;
    const isSaveDue = tables.some((kept) => kept.reached - kept.stored >= CURSOR_STRIDE) || behind.length > 0;
    if (isSaveDue) await this.#saveCursors(tables);
    return reached;
  }

  async #renew(behind: readonly StreamBehind[], tables: readonly KeptTable[]): Promise<void> {
    for (const { table, renew } of tables) {
      const ids = behind.filter((one) => one.table === table.table).map(({ id }) => id);
      const renewed = ids.length === 0 ? 0 : await renew(ids);
      if (renewed > 0) this.#log.info('state rows made from events', { table: table.table, rows: renewed });
    }
  }

  async #saveCursors(tables: readonly KeptTable[]): Promise<void> {
    const ahead = tables.filter(({ reached, stored }) => reached > stored);
    if (ahead.length === 0) return;
    const cursors = ahead.map(({ cursor, stored, reached }) => ({ name: cursor, from: stored, to: reached }));
    try {
      await this.#store.commit({ cursors }, CAUSE);
      for (const kept of ahead) kept.stored = kept.reached;
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      // Another replica moved one; its value holds for the same rows.
      for (const kept of ahead) kept.stored = await this.#store.cursor(kept.cursor);
    }
  }
}
