import type { Instant } from '@interlock/runtime';

/** A value that survives `JSON.stringify` and back unchanged. Binary data travels as base64url text. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** A JSON object: the data of an event, a row. */
export type JsonObject = { readonly [key: string]: Json };

/** `<category>-<id>`, for example `key-vaults/kv1/keys/k1`. A category has no hyphen; an id may. */
export type StreamName = `${string}-${string}`;

/** Why a change happens: copied onto every event of the change, and from there onto every message told about it. */
export interface Cause {
  /** The request (or timer) that began it all; a UUID. The same through every service the cause reaches. */
  readonly correlationId: string;
  /** What directly caused this change: the id of the consumed fact, or of the request. */
  readonly causationId: string;
  /** Who asked: `principals/<id>`, or `system:<part>` where no caller stands behind it. */
  readonly caller: string;
  /** W3C trace context of the span in which the change was decided. */
  readonly traceparent?: string;
}

/** An event about to be stored. `schema` is the version of its data's shape. */
export interface NewEvent {
  readonly type: string;
  readonly schema: number;
  readonly data: JsonObject;
}

/** A stored event. */
export interface RecordedEvent extends NewEvent {
  /** Place in the whole store: 1, 2, 3 … without holes, in commit order. */
  readonly position: number;
  readonly stream: StreamName;
  /** Place in its stream: 1, 2, 3 … */
  readonly version: number;
  /** A UUID; the causation id of whatever follows from this event. */
  readonly id: string;
  readonly cause: Cause;
  readonly time: Instant;
}

/** One stream's share of a commit. */
export interface Append {
  readonly stream: StreamName;
  /** The version the stream must have; 0 for a stream nobody wrote. */
  readonly expected: number;
  /** At least one. */
  readonly events: readonly NewEvent[];
}

/** An entry of a table's index: rows are found by (index, value), in order of their keys. */
export interface IndexEntry {
  readonly index: string;
  readonly value: string;
}

/** Puts a row (or, with `row: null`, removes it) and moves its index entries. */
export interface RowChange {
  /** Table name with its shape version, for example `vm_v1`. */
  readonly table: string;
  readonly key: string;
  readonly row: JsonObject | null;
  /** Version of the stream the row was folded from; 0 for a row of another kind. A lower version never overwrites a higher one. */
  readonly version: number;
  /** Entries the row had and has no longer. */
  readonly removed: readonly IndexEntry[];
  /** Entries the row has now and had not. */
  readonly added: readonly IndexEntry[];
}

/**
 * A named position moved in the same transaction as its effect: how far a consumer has come in another service's
 * feed, or a relay in its own. `from` must be the stored value (0 at first), else the commit fails with a `CursorConflict`.
 */
export interface CursorMove {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Everything that changes together: all of it is stored, or none. A stream, a row or a cursor comes once in it. */
export interface Commit {
  readonly appends?: readonly Append[];
  readonly rows?: readonly RowChange[];
  readonly cursors?: readonly CursorMove[];
}

/** A stored row. */
export interface StoredRow {
  readonly key: string;
  readonly row: JsonObject;
  readonly version: number;
}

/** A stream as stored: its state row, and the version it really has. */
export interface StoredState {
  readonly id: string;
  /** The row, and the version it was folded at; absent for a stream without one: its state is gone, or in no row yet. */
  readonly row?: JsonObject;
  readonly rowVersion: number;
  /** Version of the stream; above `rowVersion` when somebody appended who does not write this table. */
  readonly version: number;
}

/** A piece of one stream, as `readStreams` gives it. */
export interface StreamPiece {
  readonly stream: StreamName;
  /** Version of the last event of the piece. */
  readonly version: number;
  /** At least one, oldest first. */
  readonly events: readonly NewEvent[];
}

/** The table that holds the states of one kind of stream. */
export interface StateTable {
  /** First part of the stream names. */
  readonly category: string;
  readonly table: string;
}

/** A stream whose row is older than its events. */
export interface StreamBehind extends StateTable {
  readonly id: string;
}

/** A row made anew from the events of its stream. */
export interface RowRenewal {
  readonly stream: StreamName;
  readonly change: RowChange;
}

/** Which rows of a table to list, in order of their keys. */
export interface RowQuery {
  readonly table: string;
  /** Only rows with this entry; without it every row of the table. */
  readonly index?: IndexEntry;
  /** Only keys that begin with this. */
  readonly prefix?: string;
  /** Only keys after this one (exclusive): the last key of the page before. */
  readonly after?: string;
  /** At most this many rows. */
  readonly limit: number;
}

/**
 * The record of one service: its events, the rows folded from them, and its cursors.
 *
 * Positions are given out in commit order and have no holes, so a reader that has seen position n has seen everything
 * up to n, whatever order transactions began in.
 */
export interface EventStore {
  /**
   * Stores everything in the commit in one transaction and returns once it is durable. Concurrent calls of one process
   * share a transaction; each still succeeds or fails alone.
   * @returns positions of the events in the order of the commit; empty for a commit without events.
   * @throws VersionConflict when a stream is not at the expected version; nothing of the commit is stored
   * @throws CursorConflict when a cursor is not where it should be; nothing of the commit is stored
   * @throws Error when a stream, a row or a cursor comes twice in it; nothing of the commit is stored
   */
  commit(commit: Commit, cause: Cause): Promise<{ readonly positions: readonly number[] }>;
  /** Events of one stream, oldest first, with versions above `after` (default 0). Empty for a stream nobody wrote. */
  read(stream: StreamName, after?: number): Promise<readonly RecordedEvent[]>;
  /**
   * At most `limit` events of one category, stream by stream in order of names, each oldest first, from behind a place on
   * (exclusive; from the beginning without one). A stream that does not fit goes on in the next answer. Empty at the end.
   */
  readStreams(query: {
    readonly category: string;
    readonly after?: Pick<StreamPiece, 'stream' | 'version'>;
    readonly limit: number;
  }): Promise<readonly StreamPiece[]>;
  /** At most `limit` events with positions above `after`, in order. Empty when there are none yet. */
  feed(after: number, limit: number): Promise<readonly RecordedEvent[]>;
  /** Position of the newest event; 0 in an empty store. */
  head(): Promise<number>;
  /** Resolves true as soon as an event above `position` may exist, false when `signal` is aborted. May wake early, never late by more than the poll interval. */
  waitForEvents(position: number, signal: AbortSignal): Promise<boolean>;
  /** The rows with these keys, in any order; a missing key has no row in the answer. */
  getRows(table: string, keys: readonly string[]): Promise<readonly StoredRow[]>;
  listRows(query: RowQuery): Promise<readonly StoredRow[]>;
  /** State rows and stream versions of these ids as of one moment, in any order; nothing for a stream nobody wrote. */
  getStates(table: StateTable, ids: readonly string[]): Promise<readonly StoredState[]>;
  /**
   * Looks at the `span` positions above `after`: which streams have an event there that their row has not taken in (or
   * no row, as a gone one). `reached` is how far was looked; equal to `after` at the end of the store.
   */
  streamsBehind(query: {
    readonly tables: readonly StateTable[];
    readonly after: number;
    readonly span: number;
  }): Promise<{ readonly behind: readonly StreamBehind[]; readonly reached: number }>;
  /**
   * Puts rows that lag behind their streams in place, while nobody else changes a row. A row that is already as new is
   * left alone; a stream that is not at the version of its change any more is passed over.
   * @returns the streams passed over
   */
  renewRows(renewals: readonly RowRenewal[]): Promise<readonly StreamName[]>;
  /** Value of a cursor; 0 for one that nobody moved. */
  cursor(name: string): Promise<number>;
  /** Ends background work and connections. Calls in flight finish first. */
  close(): Promise<void>;
}

/** Streams of a commit were not at the version their writer believed in: read again and decide again. */
export class VersionConflict extends Error {
  override readonly name = 'VersionConflict';
  /** Every stream of the commit that was elsewhere; at least one. */
  readonly streams: readonly StreamName[];
  constructor(streams: readonly StreamName[]) {
    super(`no longer at the expected version: ${streams.join(', ')}`);
    this.streams = streams;
  }
}

/** The store could not be reached or did not answer in time. Whether the commit is stored is unknown: ask again. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** A cursor was not where its mover believed: somebody else is moving it. */
export class CursorConflict extends Error {
  override readonly name = 'CursorConflict';
  readonly cursor: string;
  constructor(cursor: string) {
    super(`cursor ${cursor} was moved by somebody else`);
    this.cursor = cursor;
  }
}
