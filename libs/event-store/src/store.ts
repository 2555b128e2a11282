import type { Instant } from '@interlock/runtime';
import { isSpaceError } from '@interlock/runtime/space-error';
import type { Attributes, Tracer } from '@opentelemetry/api';
import type { Cause, CausedBy } from './cause.ts';

/** A value that survives `JSON.stringify` and back unchanged. Binary data travels as base64url text. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** A JSON object: the data of an event, a row. */
export type JsonObject = { readonly [key: string]: Json };

/** `<category>-<id>`, for example `key-vaults/kv1/keys/k1`. A category has no hyphen; an id may. */
export type StreamName = `${string}-${string}`;

/** An event before it is stored. `schema` is the version of the shape of its data. */
export interface NewEvent {
  readonly type: string;
  readonly schema: number;
  readonly data: JsonObject;
}

/** A stored event. */
export interface RecordedEvent extends NewEvent {
  /** Place in the store: 1, 2, 3 … without gaps, in commit order. */
  readonly position: number;
  readonly stream: StreamName;
  /** Place in its stream: 1, 2, 3 … */
  readonly version: number;
  /** `eventId` of stream and version: what follows from this event names it as its cause. */
  readonly id: string;
  readonly cause: Cause;
  readonly time: Instant;
}

/** The new events of one stream in a commit. */
export interface Append {
  readonly stream: StreamName;
  /** The version the stream must have; 0 for a stream without events. */
  readonly expected: number;
  /** At least one. */
  readonly events: readonly NewEvent[];
  /** Causes of these events in place of those of the commit: many streams change together, each for a cause of its own. */
  readonly causes?: readonly CausedBy[];
}

/** An entry of a table's index: rows are found by (index, value), in order of keys. */
export interface IndexEntry {
  readonly index: string;
  readonly value: string;
}

/** Stores a row (or, with `row: null`, removes it) and updates its index entries. */
export interface RowChange {
  /** Table name with its shape version, for example `vm_v1`. */
  readonly table: string;
  readonly key: string;
  readonly row: JsonObject | null;
  /** Version of the folded stream; 0 for other rows. A lower version never overwrites a higher one. */
  readonly version: number;
  /** Entries that the row loses. */
  readonly removed: readonly IndexEntry[];
  /** Entries that the row gains. */
  readonly added: readonly IndexEntry[];
}

/**
 * A named position that moves in the transaction of its effect: the place of a consumer in another service's feed, or of the
 * relay in its own. `from` must be the stored value (0 at first), else the commit fails with a `CursorConflict`.
 */
export interface CursorMove {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Changes that are stored together, or not at all. It names each stream, row and cursor at most once. */
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

/** A stored stream: its state row and its current version. */
export interface StoredState {
  readonly id: string;
  /** Absent if the stream has no row: its state is gone, or the row was not built yet. */
  readonly row?: JsonObject;
  /** Version of the stream when the row was folded; 0 without a row. */
  readonly rowVersion: number;
  /** Version of the stream; above `rowVersion` if a writer that does not use this table appended events. */
  readonly version: number;
}

/** Part of one stream, as `readStreams` returns it. */
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

/** A row that was rebuilt from the events of its stream. */
export interface RowRenewal {
  readonly stream: StreamName;
  readonly change: RowChange;
}

/** Which rows of a table to list, in order of their keys. */
export interface RowQuery {
  readonly table: string;
  /** Only rows with this entry; by default every row of the table. */
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
 * Positions are assigned in commit order and have no gaps, so a reader that has seen position n has seen everything up to n,
 * whatever the order in which transactions started.
 */
export interface EventStore {
  /** Which database it is, as attributes of the spans of its commits; absent for a store in memory. */
  readonly spanAttributes?: Attributes;
  /** Makes the spans of its commits; by default that of the global provider. */
  readonly tracer?: Tracer;
  /**
   * Stores the commit in one transaction and returns once it is durable. Concurrent calls of one process share a transaction;
   * each still succeeds or fails alone.
   * @returns positions of the events in the order of the commit
   * @throws VersionConflict when a stream is not at the expected version; nothing of the commit is stored
   * @throws CursorConflict when a cursor has another value; nothing of the commit is stored
   * @throws TypeError when it names a stream, a row or a cursor twice; nothing of the commit is stored
   */
  commit(commit: Commit, cause: Cause): Promise<{ readonly positions: readonly number[] }>;
  /** Events of one stream, oldest first, with versions above `after` (default 0). */
  read(stream: StreamName, after?: number): Promise<readonly RecordedEvent[]>;
  /**
   * At most `limit` events of one category, stream by stream in order of names, each oldest first, after the place `after`
   * (exclusive; default: the beginning). A stream that does not fit continues in the next result. Empty at the end.
   */
  readStreams(query: {
    readonly category: string;
    readonly after?: Pick<StreamPiece, 'stream' | 'version'>;
    readonly limit: number;
  }): Promise<readonly StreamPiece[]>;
  /** At most `limit` events with positions above `after`, in order. */
  feed(after: number, limit: number): Promise<readonly RecordedEvent[]>;
  /** Position of the newest event; 0 in an empty store. */
  head(): Promise<number>;
  /** Resolves true once an event above `position` may exist, false when `signal` is aborted. May wake early, and late by at most the poll interval. */
  waitForEvents(position: number, signal: AbortSignal): Promise<boolean>;
  /** The existing rows with these keys, in any order. */
  getRows(table: string, keys: readonly string[]): Promise<readonly StoredRow[]>;
  listRows(query: RowQuery): Promise<readonly StoredRow[]>;
  /** How many rows have an index entry, without reading them. */
  countRows(query: Required<Pick<RowQuery, 'table' | 'index'>>): Promise<number>;
  /** State rows and versions of these streams at one moment, in any order, without streams that have no events. */
  getStates(table: StateTable, ids: readonly string[]): Promise<readonly StoredState[]>;
  /**
   * Streams with an event in the `span` positions above `after` that their row does not contain (or that have no row, like gone
   * ones). `reached` is the last examined position; equal to `after` at the end of the store.
   */
  streamsBehind(query: {
    readonly tables: readonly StateTable[];
    readonly after: number;
    readonly span: number;
  }): Promise<{ readonly behind: readonly StreamBehind[]; readonly reached: number }>;
  /**
   * Stores rebuilt rows while no other transaction changes a row. Rows that are not older stay; streams that are no longer at the
   * version of their change are skipped.
   * @returns the skipped streams
   */
  renewRows(renewals: readonly RowRenewal[]): Promise<readonly StreamName[]>;
  /** Value of a cursor; 0 before its first move. */
  cursor(name: string): Promise<number>;
  /** Ends background work and connections, after running calls have finished. */
  close(): Promise<void>;
}

/** Streams of a commit were not at the expected version: read again and decide again. */
export class VersionConflict extends Error {
  override readonly name = 'VersionConflict';
  /** Every stream of the commit with another version; at least one. */
  readonly streams: readonly StreamName[];
  constructor(streams: readonly StreamName[]) {
    super(`no longer at the expected version: ${streams.join(', ')}`);
    this.streams = streams;
  }
}

/** The store could not be reached or did not respond in time. Whether the commit is stored is unknown: repeat it. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
  /** Whether its server has no space left: an operator must free some. */
  get isFull(): boolean {
    return isSpaceError(this.cause);
  }
}

/** A cursor did not have the expected value: another process moved it. */
export class CursorConflict extends Error {
  override readonly name = 'CursorConflict';
  readonly cursor: string;
  constructor(cursor: string) {
    super(`cursor ${cursor} was moved by another process`);
    this.cursor = cursor;
  }
}
