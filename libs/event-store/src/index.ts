export { storeInSpan } from './append-spans.ts';
export {
  type Category,
  category,
  type Page,
  type Prepared,
  type Transacted,
  type TransactOptions,
} from './category.ts';
export type { CategoryDefinition, Loaded } from './category-definition.ts';
export {
  type Cause,
  type CausedBy,
  type CauseKind,
  CauseTracker,
  callingEvent,
  continuing,
  eventId,
  followed,
  idsOf,
  storedCause,
  timedBy,
  withoutTracker,
} from './cause.ts';
export { type ConnectionOptions, openConnections, type Sql } from './connection.ts';
export { checkDriver, type Driver, UnpatchedDriver } from './driver-check.ts';
export { type EventOf, eventReader, type Upcasters } from './event-codec.ts';
export { forgetEventSpans, noteEventSpan, readEvent, writeEvent } from './event-spans.ts';
export { type MemoryStore, memoryStore, type StoreImage } from './memory-store.ts';
export { openPostgresStore, type PostgresStoreOptions } from './postgres-store.ts';
export { type ReadableData, type ReadableFields, readableData } from './readable-fields.ts';
export { etagMismatch } from './refusals.ts';
export { Rejection, type RejectionCode } from './rejection.ts';
export { type RowKeeper, rowKeeper } from './row-keeper.ts';
export { type Continued, type Stepping, type Steps, stepCauses, stepIds, withSteps } from './steps.ts';
export {
  type Append,
  type Commit,
  CursorConflict,
  type CursorMove,
  type EventStore,
  type IndexEntry,
  type Json,
  type JsonObject,
  type NewEvent,
  type RecordedEvent,
  type RowChange,
  type RowQuery,
  type RowRenewal,
  type StateTable,
  type StoredRow,
  type StoredState,
  StoreUnavailable,
  type StreamBehind,
  type StreamName,
  VersionConflict,
} from './store.ts';
export { pagesOf, type Table, type TableDefinition, type TableQuery, table } from './table.ts';
