import type { Clock } from '@interlock/runtime';
import { afterFirst, type Cause, eventId, withoutTracker } from './cause.ts';
import { assertOnceEach } from './commit-once.ts';
import { type CommitParameters, FIELD_END, type Kind, RECORD_END } from './commit-statement.ts';
import { isBulk, type PendingCommit } from './group-commit.ts';
import type { Append, CursorMove, IndexEntry, NewEvent, RecordedEvent, RowChange, StreamName } from './store.ts';

/** A batch in the form that the statement of its kinds takes. */
export interface BatchRecords {
  readonly kinds: ReadonlySet<Kind>;
  readonly parameters: CommitParameters;
  /** The events as they will be recorded, without positions: the server assigns these in the same order. */
  readonly events: readonly UnplacedEvent[];
}

/** A recorded event without a position yet. */
export type UnplacedEvent = { -readonly [Field in keyof RecordedEvent]: RecordedEvent[Field] };

/** Splits the commits of a batch into records. @throws TypeError for a name that cannot be stored, or occurs twice in a commit */
export const batchRecords = (batch: readonly PendingCommit[], { clock }: { readonly clock: Clock }): BatchRecords => {
  const records = new Records(batch[0]?.cause, clock.now());
  for (const pending of batch) {
    const { commit, cause } = pending;
    // The server detects a row that a large commit puts twice, but not one that it puts and deletes.
    if (!isBulk(pending) || commit.rows?.some(({ row }) => row === null)) assertOnceEach(commit);
    records.addAppends(commit.appends ?? [], cause);
    for (const row of commit.rows ?? []) records.addRow(row);
    for (const move of commit.cursors ?? []) records.addCursor(move);
  }
  return records.complete();
};

/** @throws TypeError for a name that contains the end of a field or a record */
export const checkedName = (name: string): string => {
  if (name.includes(RECORD_END) || name.includes(FIELD_END)) {
    throw new TypeError(`a name with a line break or a unit separator cannot be stored: ${JSON.stringify(name)}`);
  }
  return name;
};
const record = (...fields: readonly (string | number)[]): string => fields.join(FIELD_END);

/** In the same order in every process: two transactions that change the same rows wait for each other, but never in a circle. */
const sorted = (records: string[]): string => (records.length > 1 ? records.sort() : records).join(RECORD_END);

/** The same order for rows: by table and key, before their content follows in the record. */
const compareRows = (a: RowChange, b: RowChange): number => compare(a.table, b.table) || compare(a.key, b.key);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** One template instead of a join of fields, so that the list is built in a single copy. */
const putRecord = ({ table, key, row, version }: RowChange): string =>
  `${table}${FIELD_END}${key}${FIELD_END}${version}${FIELD_END}${JSON.stringify(row)}`;

/** A cause as JSON, as it is stored. */
const causeText = (cause: Cause): string => JSON.stringify(withoutTracker(cause));

class Records {
  readonly #sharedCause: Cause | undefined;
  readonly #sharedCauseText: string;
  readonly #timeMs: number;
  readonly #recorded: UnplacedEvent[] = [];
  readonly #appends: string[] = [];
  readonly #events: string[] = [];
  readonly #put: RowChange[] = [];
  readonly #gone: string[] = [];
  readonly #removed: string[] = [];
  readonly #added: string[] = [];
  readonly #cursors = new Map<string, CursorMove>();

  /** @param sharedCause sent once for all events that have it: a change of many streams has one cause */
  constructor(sharedCause: Cause | undefined, timeMs: number) {
    this.#sharedCause = sharedCause;
    this.#sharedCauseText = sharedCause === undefined ? 'null' : causeText(sharedCause);
    this.#timeMs = timeMs;
  }

  addAppends(appends: readonly Append[], cause: Cause): void {
    const common = this.#causeField(cause);
    const plain = withoutTracker(cause);
    for (const { stream, expected, events, causes } of appends) {
      const own = causes === undefined ? plain : { ...plain, causes };
      const causeField = causes === undefined ? common : this.#causeField(own);
      this.#appends.push(record(checkedName(stream), expected));
      this.#addEvent(stream, expected + 1, events[0], own, causeField);
      if (events.length < 2) continue;
      const further = afterFirst(own, eventId(stream, expected + 1));
      const furtherField = this.#causeField(further);
      for (let n = 1; n < events.length; n += 1)
        this.#addEvent(stream, expected + 1 + n, events[n], further, furtherField);
    }
  }

  #addEvent(stream: StreamName, version: number, event: NewEvent | undefined, cause: Cause, causeField: string): void {
    if (event === undefined) return;
    const { type, schema, data } = event;
    const id = eventId(stream, version);
    this.#recorded.push({ position: 0, stream, version, type, schema, data, id, cause, time: this.#timeMs });
    this.#events.push(
      `${stream}${FIELD_END}${version}${FIELD_END}${checkedName(type)}${FIELD_END}${schema}${FIELD_END}${causeField}${FIELD_END}${JSON.stringify(data)}`,
    );
  }

  /** The cause as a field of an event; empty for the shared one. */
  #causeField(cause: Cause): string {
    if (cause === this.#sharedCause) return '';
    const text = causeText(cause);
    return text === this.#sharedCauseText ? '' : text;
  }

  addRow(change: RowChange): void {
    const { table, key, row, version } = change;
    checkedName(key);
    const entry = ({ index, value }: IndexEntry): string => record(table, index, checkedName(value), key);
    if (row === null) this.#gone.push(record(table, key, version));
    else this.#put.push(change);
    for (const one of change.removed) this.#removed.push(entry(one));
    for (const one of change.added) this.#added.push(entry(one));
  }

  /** Moves of one cursor in a batch follow each other: they become one move, from the first `from` to the last `to`. */
  addCursor({ name, from, to }: CursorMove): void {
    this.#cursors.set(checkedName(name), { name, from: this.#cursors.get(name)?.from ?? from, to });
  }

  complete(): BatchRecords {
    const moves = [...this.#cursors.values()];
    return {
      kinds: this.#kinds(moves),
      events: this.#recorded,
      parameters: {
        put: this.#put.sort(compareRows).map(putRecord).join(RECORD_END),
        gone: sorted(this.#gone),
        removed: sorted(this.#removed),
        added: sorted(this.#added),
        cursors: sorted(moves.map(({ name, from, to }) => record(name, from, to))),
        appends: this.#appends.join(RECORD_END),
        events: this.#events.join(RECORD_END),
        eventCount: this.#events.length,
        cause: this.#sharedCauseText,
        timeMs: this.#timeMs,
      },
    };
  }

  #kinds(moves: readonly CursorMove[]): ReadonlySet<Kind> {
    const lists = [this.#put, this.#gone, this.#removed, this.#added, moves, this.#appends, this.#events];
    const has: Readonly<Record<Kind, boolean>> = {
      put: this.#put.length > 0,
      gone: this.#gone.length > 0,
      removed: this.#removed.length > 0,
      added: this.#added.length > 0,
      cursors: moves.length > 0,
      newCursors: moves.some(({ from }) => from === 0),
      events: this.#events.length > 0,
      single: lists.every(({ length }) => length <= 1),
    };
    return new Set((Object.keys(has) as Kind[]).filter((kind) => has[kind]));
  }
}
