import { type Cause, CursorConflict, type EventStore, type Table, table } from '@interlock/event-store';
import { type Division, emptyDivision } from './division.ts';

const ROW_KEY = 'division';
const CURSOR = 'replicas';

/** The row in the store that holds the division of a service. */
export class DivisionRow {
  readonly #store: EventStore;
  readonly #rows: Table<Division>;
  readonly #cause: Cause;

  /** @param process id of this process, for the cause of its changes */
  constructor(store: EventStore, process: string) {
    this.#store = store;
    this.#rows = table<Division>(store, { name: 'replicas', version: 1 });
    this.#cause = { correlationId: process, causes: [], caller: 'system:replicas' };
  }

  async read(): Promise<Division> {
    return (await this.#rows.get(ROW_KEY)) ?? emptyDivision;
  }

  /** Changes the row; repeats on a conflict. @returns the stored division; undefined if `next` returns undefined */
  async change(next: (before: Division) => Division | undefined): Promise<Division | undefined> {
    for (;;) {
      const changes = await this.#store.cursor(CURSOR);
      const after = next(await this.read());
      if (after === undefined) return undefined;
      const cursors = [{ name: CURSOR, from: changes, to: changes + 1 }];
      try {
        await this.#store.commit({ rows: [this.#rows.put(ROW_KEY, after, undefined)], cursors }, this.#cause);
        return after;
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
      }
    }
  }
}
