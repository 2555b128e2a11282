import type { Clock, Random } from '@interlock/runtime';
import postgres from 'postgres';
import { batchRecords } from './commit-records.ts';
import { type CommitStatement, commitStatement, type Kind } from './commit-statement.ts';
import type { Sql } from './connection.ts';
import type { Waiting } from './group-commit.ts';
import type { Reaching } from './lanes.ts';
import type { RecordedEvent, StreamName } from './store.ts';
import { CursorConflict, StoreUnavailable, VersionConflict } from './store.ts';

/** How often a transaction that lost a deadlock or a race is tried again before its callers hear of it. */
const maxAttempts = 5;

/** What storing a batch needs. */
export interface CommitParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Reaches the connections that commit. */
  readonly reaching: Reaching;
  /** Told the events of each transaction, before the callers are. @returns whether somebody had waited for them */
  readonly stored: (events: readonly RecordedEvent[]) => boolean;
}

/**
 * Stores one batch in one transaction; answers each of its commits. What conflicts is refused, and the rest is stored
 * without it. Never rejects.
 * @returns how long the transaction took beyond the server's work on it, in ms: its flush, and the way there and back;
 * undefined when it was not one transaction
 */
export const storeBatch = async (batch: readonly Waiting[], parts: CommitParts): Promise<number | undefined> => {
  let left = batch;
  for (let attempt = 1; left.length > 0; attempt++) {
    try {
      const { events, flushMs } = await parts.reaching((sql) => storeOnce(sql, left, parts));
      const stored = left;
      // Whoever follows the feed, the relay before all, has the turn to itself: it hands over what is to be told before the
      // callers go on with what is left to do, which is as much again.
      if (parts.stored(events)) setImmediate(() => answer(stored, events));
      else answer(stored, events);
      return attempt === 1 ? flushMs : undefined;
    } catch (error) {
      if (error instanceof postgres.PostgresError && error.code === 'IL001') {
        left = goingOn(refuse(left, namesIn(error), streamsOf, (names) => new VersionConflict(names as StreamName[])));
      } else if (error instanceof postgres.PostgresError && error.code === 'IL002') {
        left = goingOn(refuse(left, namesIn(error), cursorsOf, (names) => new CursorConflict(names.join(', '))));
      } else if (!(isRace(error) && attempt < maxAttempts)) {
        if (left.length > 1 && !(error instanceof StoreUnavailable)) {
          // One of them holds what the database refuses, and nobody says which: each alone finds out.
          for (const waiting of left) await storeBatch([waiting], parts);
        } else {
          for (const waiting of left) waiting.reject(error);
        }
        return undefined;
      }
    }
  }
  return undefined;
};

const answer = (batch: readonly Waiting[], events: readonly RecordedEvent[]): void => {
  let next = 0;
  for (const waiting of batch) {
    const own = events.slice(next, next + countOf(waiting));
    next += own.length;
    waiting.resolve({ positions: own.map(({ position }) => position) });
  }
};

/** What one transaction stored. */
interface Stored {
  readonly events: readonly RecordedEvent[];
  /** How long it took beyond the server's work, waiting for locks included, in ms: the flush, and the way there and back. */
  readonly flushMs: number;
}

/** By kinds: a service has as many as kinds of commits. */
const statements = new Map<string, CommitStatement>();
const statementOf = (kinds: ReadonlySet<Kind>): CommitStatement => {
  const name = [...kinds].join(' ');
  const statement = statements.get(name) ?? commitStatement(kinds);
  statements.set(name, statement);
  return statement;
};

const storeOnce = async (sql: Sql, batch: readonly Waiting[], parts: CommitParts): Promise<Stored> => {
  const { kinds, parameters, events } = batchRecords(batch, parts);
  const { text, parameters: names } = statementOf(kinds);
  // From here on: what this process does to put a batch together, a second one can be stored beside.
  const since = parts.clock.monotonicMs();
  const [result] = await sql.unsafe<{ base: number; work_ms: number }[]>(
    text,
    names.map((name) => parameters[name]),
    { prepare: true },
  );
  const tookMs = parts.clock.monotonicMs() - since;
  if (!result) throw new Error('the statement of a commit answered no row');
  for (const [n, event] of events.entries()) event.position = result.base + n + 1;
  return { events, flushMs: tookMs - result.work_ms };
};

const countOf = ({ commit }: Waiting): number =>
  (commit.appends ?? []).reduce((sum, append) => sum + append.events.length, 0);
const streamsOf = (waiting: Waiting): readonly string[] =>
  (waiting.commit.appends ?? []).map((append) => append.stream);
const cursorsOf = (waiting: Waiting): readonly string[] => (waiting.commit.cursors ?? []).map((cursor) => cursor.name);
const namesIn = (error: postgres.PostgresError): ReadonlySet<string> => new Set(JSON.parse(error.detail ?? '[]'));

const refuse = (
  batch: readonly Waiting[],
  conflicting: ReadonlySet<string>,
  namesOf: (waiting: Waiting) => readonly string[],
  conflict: (names: readonly string[]) => Error,
): readonly Waiting[] =>
  batch.filter((waiting) => {
    const names = namesOf(waiting).filter((name) => conflicting.has(name));
    if (names.length > 0) waiting.reject(conflict(names));
    return names.length === 0;
  });

/** Refuses what would move a cursor on from where something that was refused was to leave it. */
const goingOn = (batch: readonly Waiting[]): readonly Waiting[] => {
  const reached = new Map<string, number>();
  return batch.filter(({ commit: { cursors = [] }, reject }) => {
    const lost = cursors.filter(({ name, from }) => (reached.get(name) ?? from) !== from);
    if (lost.length > 0) reject(new CursorConflict(lost.map(({ name }) => name).join(', ')));
    else for (const { name, to } of cursors) reached.set(name, to);
    return lost.length === 0;
  });
};

/**
 * 40P01 deadlock, 40001 serialisation, 23505 somebody appended to one of the streams while we waited for the head: nothing
 * was stored, and the same transaction may succeed or learns what is in its way.
 */
const isRace = (error: unknown): boolean =>
  error instanceof postgres.PostgresError && ['40P01', '40001', '23505'].includes(error.code);
