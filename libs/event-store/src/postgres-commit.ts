import type { Clock } from '@interlock/runtime';
import postgres from 'postgres';
import { batchRecords } from './commit-records.ts';
import { type CommitStatement, commitStatement, type Kind } from './commit-statement.ts';
import type { Sql } from './connection.ts';
import type { PendingCommit } from './group-commit.ts';
import type { UseConnection } from './pool.ts';
import type { RecordedEvent, StreamName } from './store.ts';
import { CursorConflict, StoreUnavailable, VersionConflict } from './store.ts';

/** Attempts of a transaction that lost a deadlock or a race, before its callers get the error. */
const ATTEMPTS_MAX = 5;

/** What storing a batch needs. */
export interface CommitParts {
  readonly clock: Clock;
  /** Runs work on the connections for commits. */
  readonly use: UseConnection;
  /** Receives the events of each transaction before the callers get their results. @returns whether a follower waited for them */
  readonly onStored: (events: readonly RecordedEvent[]) => boolean;
}

/**
 * Stores one batch in one transaction and resolves or rejects each of its commits. Conflicting commits are rejected, and the
 * rest is stored without them. Never rejects.
 * @returns the time of the transaction beyond the server's work, in ms (flush and network); undefined when it was not one
 *   transaction
 */
export const storeBatch = async (batch: readonly PendingCommit[], parts: CommitParts): Promise<number | undefined> => {
  let left = batch;
  for (let attempt = 1; left.length > 0; attempt += 1) {
    try {
      const { events, flushMs } = await parts.use((sql) => storeOnce(sql, left, parts));
      const stored = left;
      // A follower of the feed (the relay) gets the turn for itself: it publishes the events before the callers continue.
      if (parts.onStored(events)) setImmediate(() => resolveAll(stored, events));
      else resolveAll(stored, events);
      return attempt === 1 ? flushMs : undefined;
    } catch (error) {
      if (hasCode(error, 'IL001')) {
        left = withoutBrokenMoves(
          reject(left, namesIn(error), streamsOf, (names) => new VersionConflict(names as StreamName[])),
        );
      } else if (hasCode(error, 'IL002')) {
        left = withoutBrokenMoves(
          reject(left, namesIn(error), cursorsOf, (names) => new CursorConflict(names.join(', '))),
        );
      } else if (!isRace(error) || attempt === ATTEMPTS_MAX) {
        await failAll(left, error, parts);
        return undefined;
      }
    }
  }
  return undefined;
};

/** The database refuses one commit of the batch without saying which: each is stored alone. */
const failAll = async (batch: readonly PendingCommit[], error: unknown, parts: CommitParts): Promise<void> => {
  if (batch.length > 1 && !(error instanceof StoreUnavailable)) {
    for (const pending of batch) await storeBatch([pending], parts);
  } else {
    for (const pending of batch) pending.reject(error);
  }
};

const resolveAll = (batch: readonly PendingCommit[], events: readonly RecordedEvent[]): void => {
  let next = 0;
  for (const pending of batch) {
    const own = events.slice(next, next + countOf(pending));
    next += own.length;
    pending.resolve({ positions: own.map(({ position }) => position) });
  }
};

/** The result of one transaction. */
interface Stored {
  readonly events: readonly RecordedEvent[];
  /** Its time beyond the server's work (which includes waits for locks), in ms: flush and network. */
  readonly flushMs: number;
}

/** By kinds: as many as a service has kinds of commits. */
const statements = new Map<string, CommitStatement>();
const statementOf = (kinds: ReadonlySet<Kind>): CommitStatement => {
  const name = [...kinds].join(' ');
  const statement = statements.get(name) ?? commitStatement(kinds);
  statements.set(name, statement);
  return statement;
};

const storeOnce = async (sql: Sql, batch: readonly PendingCommit[], parts: CommitParts): Promise<Stored> => {
  const { kinds, parameters, events } = batchRecords(batch, parts);
  const { text, parameters: names } = statementOf(kinds);
  // Measured from here: while this process assembles a batch, another one can be stored.
  const since = parts.clock.monotonicMs();
  const [result] = await sql.unsafe<{ base: number; work_ms: number }[]>(
    text,
    names.map((name) => parameters[name]),
    { prepare: true },
  );
  const tookMs = parts.clock.monotonicMs() - since;
  if (!result) throw new Error('the statement of a commit returned no row');
  for (const [n, event] of events.entries()) event.position = result.base + n + 1;
  return { events, flushMs: tookMs - result.work_ms };
};

const countOf = ({ commit }: PendingCommit): number =>
  (commit.appends ?? []).reduce((sum, append) => sum + append.events.length, 0);
const streamsOf = ({ commit }: PendingCommit): readonly string[] => (commit.appends ?? []).map(({ stream }) => stream);
const cursorsOf = ({ commit }: PendingCommit): readonly string[] => (commit.cursors ?? []).map(({ name }) => name);

const hasCode = (error: unknown, code: string): error is postgres.PostgresError =>
  error instanceof postgres.PostgresError && error.code === code;
const namesIn = (error: postgres.PostgresError): ReadonlySet<string> => new Set(JSON.parse(error.detail ?? '[]'));

/** Rejects the commits that use a conflicting name. @returns the others */
const reject = (
  batch: readonly PendingCommit[],
  conflicting: ReadonlySet<string>,
  namesOf: (pending: PendingCommit) => readonly string[],
  conflict: (names: readonly string[]) => Error,
): readonly PendingCommit[] =>
  batch.filter((pending) => {
    const names = namesOf(pending).filter((name) => conflicting.has(name));
    if (names.length > 0) pending.reject(conflict(names));
    return names.length === 0;
  });

/** Rejects cursor moves that continue from a move that was rejected. @returns the other commits */
const withoutBrokenMoves = (batch: readonly PendingCommit[]): readonly PendingCommit[] => {
  const reached = new Map<string, number>();
  return batch.filter(({ commit: { cursors = [] }, reject }) => {
    const broken = cursors.filter(({ name, from }) => (reached.get(name) ?? from) !== from);
    if (broken.length > 0) reject(new CursorConflict(broken.map(({ name }) => name).join(', ')));
    else for (const { name, to } of cursors) reached.set(name, to);
    return broken.length === 0;
  });
};

/**
 * 40P01 deadlock, 40001 serialisation failure, 23505 another transaction appended to one of the streams while this one waited
 * for the head: nothing was stored, and a repeat succeeds or reports the conflict.
 */
const isRace = (error: unknown): boolean => ['40P01', '40001', '23505'].some((code) => hasCode(error, code));
