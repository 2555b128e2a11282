import {
  type Cause,
  type CursorMove,
  type EventStore,
  type RowChange,
  type Table,
  table,
} from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** What a VM host reported with its newest renewal. */
export interface Renewal {
  /** UUID of the run of its process. */
  readonly run: string;
  /** `host:port` at which compute reaches it. */
  readonly address: string;
  /** Where it is, for placement; `''` if not known. */
  readonly zone: string;
  /** Most guests that it takes. */
  readonly capacity: number;
  /** Whether its process ends soon; absent in rows of earlier versions. */
  readonly isLeaving?: boolean;
  /** Number of the renewal: rises by one each time. */
  readonly number: number;
  /** By the clock of the process that stored it: shown, and compared with nothing. */
  readonly at: Instant;
}

/** The newest renewals of VM hosts, by their short names: one row and one cursor each. */
export class Renewals {
  readonly #store: EventStore;
  readonly #rows: Table<Renewal>;

  constructor(store: EventStore) {
    this.#store = store;
    this.#rows = table<Renewal>(store, { name: 'vm_host', version: 1 });
  }

  readMany(hosts: readonly string[]): Promise<ReadonlyMap<string, Renewal>> {
    return this.#rows.getMany(hosts);
  }

  /** How many times the host has renewed: read it before the row that a `write` is decided on. */
  count(host: string): Promise<number> {
    return this.#store.cursor(cursorOf(host));
  }

  /** @param count as it was read @returns what was stored @throws CursorConflict after another renewal */
  async write(host: string, count: number, given: Omit<Renewal, 'number'>, cause: Cause): Promise<Renewal> {
    const renewal = { ...given, number: count + 1 };
    const cursor: CursorMove = { name: cursorOf(host), from: count, to: renewal.number };
    await this.#store.commit({ rows: [this.#rows.put(host, renewal, undefined)], cursors: [cursor] }, cause);
    return renewal;
  }

  /** The change that removes the row of a deleted host. */
  removal(host: string, newest: Renewal): RowChange {
    return this.#rows.remove(host, newest);
  }
}

const cursorOf = (host: string): string => `vm-host/${host}`;
