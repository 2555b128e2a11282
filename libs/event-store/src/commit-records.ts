import type { Clock, Random } from '@interlock/runtime';
import { assertOnceEach } from './commit-once.ts';
import { type CommitParameters, FIELD_END, type Kind, RECORD_END } from './commit-statement.ts';
import { isBulk, type Waiting } from './group-commit.ts';
import type { CursorMove, IndexEntry, RecordedEvent, RowChange } from './store.ts';

/** A batch as the statement of its kinds takes it. */
export interface BatchRecords {
  readonly kinds: ReadonlySet<Kind>;
  readonly parameters: CommitParameters;
  /** The events as they will be recorded, but for their positions, which the server gives out in this order. */
  readonly events: readonly Unplaced[];
}

/** An event that has no position yet. */
export type Unplaced = { -readonly [Field in keyof RecordedEvent]: RecordedEvent[Field] };

/** @throws TypeError for a name that holds what ends a field or a record */
const named = (name: string): string => {
  if (name.includes(RECORD_END) || name.includes(FIELD_END)) {
    throw new TypeError(`a name with a line break or a unit separator cannot be stored: ${JSON.stringify(name)}`);
  }
  return name;
};
const record = (...fields: readonly (string | number)[]): string => fields.join(FIELD_END);

/** Records in an order that every process chooses: two that change the same rows wait for each other, and never in a circle. */
const sorted = (records: string[]): string => (records.length > 1 ? records.sort() : records).join(RECORD_END);

/** The same order, of rows: by table and key, before their contents stand behind that. */
const inOrder = (rows: RowChange[]): readonly RowChange[] =>
  rows.sort((a, b) => compared(a.table, b.table) || compared(a.key, b.key));
const compared = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Takes the commits of a batch apart. @throws TypeError for a name that cannot be stored, or comes twice in one of them */
export const batchRecords = (
  batch: readonly Waiting[],
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): BatchRecords => {
  const timeMs = clock.now();
  const recorded: Unplaced[] = [];
  const appends: string[] = [];
  const events: string[] = [];
  const put: RowChange[] = [];
  const gone: string[] = [];
  const removed: string[] = [];
  const added: string[] = [];
  const cursors = new Map<string, CursorMove>();
  // Whoever changes many streams at once has one cause for all of them: it is sent once.
  const cause = JSON.stringify(batch[0]?.cause);

  const addRow = (change: RowChange): void => {
    const { table, key, row, version } = change;
    named(key);
    const entry = ({ index, value }: IndexEntry): string => record(table, index, named(value), key);
    if (row === null) gone.push(record(table, key, version));
    else put.push(change);
    for (const one of change.removed) removed.push(entry(one));
    for (const one of change.added) added.push(entry(one));
  };
  // In one piece with what stands around it, and not joined first: the list is put together in a single copy.
  const putRecord = ({ table, key, row, version }: RowChange): string =>
    `${table}${FIELD_END}${key}${FIELD_END}${version}${FIELD_END}${JSON.stringify(row)}`;

  for (const waiting of batch) {
    const { commit, cause: own } = waiting;
    // Of a page of a fleet the server looks by itself: it puts no row twice in one statement, but would put one and remove it.
    if (!isBulk(waiting) || commit.rows?.some(({ row }) => row === null)) assertOnceEach(commit);
    const ownCause = own === batch[0]?.cause ? cause : JSON.stringify(own);
    const causeField = ownCause === cause ? '' : ownCause;
    for (const { stream, expected, events: appended } of commit.appends ?? []) {
      appends.push(record(named(stream), expected));
      let version = expected;
      for (const { type, schema, data } of appended) {
        version += 1;
        const id = random.uuid();
        recorded.push({ position: 0, stream, version, type, schema, data, id, cause: own, time: timeMs });
        events.push(
          `${stream}${FIELD_END}${version}${FIELD_END}${named(type)}${FIELD_END}${schema}${FIELD_END}${id}${FIELD_END}${causeField}${FIELD_END}${JSON.stringify(data)}`,
        );
      }
    }
    for (const row of commit.rows ?? []) addRow(row);
    // Moves of one cursor go on from each other: they are one, from where the first begins to where the last ends.
    for (const { name, from, to } of commit.cursors ?? []) {
      cursors.set(named(name), { name, from: cursors.get(name)?.from ?? from, to });
    }
  }

  const moves = [...cursors.values()];
  const has: Readonly<Record<Kind, boolean>> = {
    put: put.length > 0,
    gone: gone.length > 0,
    removed: removed.length > 0,
    added: added.length > 0,
    cursors: moves.length > 0,
    newCursors: moves.some(({ from }) => from === 0),
    events: events.length > 0,
    single: [put, gone, removed, added, moves, appends, events].every(({ length }) => length <= 1),
  };
  return {
    kinds: new Set((Object.keys(has) as Kind[]).filter((kind) => has[kind])),
    events: recorded,
    parameters: {
      put: inOrder(put).map(putRecord).join(RECORD_END),
      gone: sorted(gone),
      removed: sorted(removed),
      added: sorted(added),
      cursors: sorted(moves.map(({ name, from, to }) => record(name, from, to))),
      appends: appends.join(RECORD_END),
      events: events.join(RECORD_END),
      eventCount: events.length,
      cause,
      timeMs,
    },
  };
};
