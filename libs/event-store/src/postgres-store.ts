import { type Clock, certificateProblem, type Random } from '@interlock/runtime';
import postgres from 'postgres';
import { type ConnectionOptions, commitSettings, openConnections, transactionTimeoutMs } from './connection.ts';
import { checkDriver } from './driver-check.ts';
import { bulkWeight, commitQueue, isBulk, maxUnderWay } from './group-commit.ts';
import { type GiveUpIfSilent, type Lanes, type OpenLane, openLanes, type Reaching } from './lanes.ts';
import { openLoopTurns } from './loop-turns.ts';
import { migrate } from './migration.ts';
import { storeBatch } from './postgres-commit.ts';
import { rowMaintenance } from './postgres-rows.ts';
import { recentEvents } from './recent-events.ts';
import type { Cause, EventStore, RecordedEvent, StreamName } from './store.ts';
import { StoreUnavailable } from './store.ts';

/** What the Postgres store needs from `main.ts`. */
export interface PostgresStoreOptions extends ConnectionOptions {
  /** Database of this service alone. */
  readonly url: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How often a waiting feed looks for events that other processes committed; default 100 ms. Our own wake it at once. */
  readonly pollIntervalMs?: number;
  /**
   * Longest wait for an answer of the server; default 2 s more than a transaction may take. A server that is paused, or a
   * network that swallows what it is given, ends a call as unavailable too, and not never. A connection on
   * which nothing at all has come back in that time is given up: TCP itself takes a quarter of an hour to find its other end gone.
   */
  readonly answerTimeoutMs?: number;
}

/** Connections to the server, when `main.ts` names no number. */
const maxConnectionsDefault = 10;
/** Connections that read from the start on; more are opened where they are needed. */
const readyToRead = 2;
/** Events kept after they were stored, for followers of the feed: some transactions of the largest size. */
const recentEventsMax = 4_000;

/** Once a process: some 10 ms. */
let driverChecked: Promise<void> | undefined;

interface EventRow {
  position: number;
  stream: StreamName;
  version: number;
  type: string;
  schema: number;
  data: RecordedEvent['data'];
  meta: Cause & { id: string };
  time_ms: number;
}

const toRecorded = (row: EventRow): RecordedEvent => {
  const { id, ...cause } = row.meta;
  const { position, stream, version, type, schema, data } = row;
  return { position, stream, version, type, schema, data, id, cause, time: row.time_ms };
};

/**
 * Opens the event store of one service in Postgres 17 or newer, and creates its tables where they are missing (safe
 * with several processes starting at once).
 * @throws StoreUnavailable when the server cannot be reached
 * @throws UnpatchedDriver when the driver of this installation loses queries
 */
export const openPostgresStore = async (options: PostgresStoreOptions): Promise<EventStore> => {
  driverChecked ??= checkDriver();
  await driverChecked;
  const { clock, random } = options;
  const maxConnections = options.maxConnections ?? maxConnectionsDefault;
  const openOne =
    (settings: NonNullable<ConnectionOptions['settings']>): OpenLane =>
    (onSocket) =>
      openConnections(options.url, { ...options, maxConnections: 1, fetchTypes: false, settings, onSocket });
  // Commits have connections of their own: they wait for no read, and plan a statement once and for all.
  const committing = openLanes(Math.min(maxUnderWay, Math.ceil(maxConnections / 2)), openOne(commitSettings));
  const reading = openLanes(Math.max(1, maxConnections - committing.count), openOne({}));
  const answerTimeoutMs = options.answerTimeoutMs ?? (options.transactionTimeoutMs ?? transactionTimeoutMs) + 2_000;
  const reachingBy =
    (lanes: Lanes): Reaching =>
    (work) => {
      let giveUpIfSilent: GiveUpIfSilent | undefined;
      const begin = () =>
        lanes.use((sql, giveUp) => {
          giveUpIfSilent = giveUp;
          return work(sql);
        });
      return answered(begin, { clock, timeoutMs: answerTimeoutMs, onLate: async () => giveUpIfSilent?.() });
    };
  const reaching = reachingBy(reading);
  const reachingCommit = reachingBy(committing);
  const disconnect = async (seconds: number): Promise<void> => {
    await Promise.all([committing.end(seconds), reading.end(seconds)]);
  };
  try {
    await reaching(async (sql) => {
      await Promise.all([migrate(sql), committing.connect(committing.count), reading.connect(readyToRead)]);
    });
  } catch (error) {
    // Whoever tries again opens connections of its own.
    await disconnect(0);
    throw error;
  }
  let knownHead = 0;
  const recent = recentEvents(recentEventsMax);
  const waiters = new Set<() => void>();
  const closing = new AbortController();
  let polling: Promise<void> | undefined;

  /** @returns whether somebody had waited for that */
  const learnHead = (position: number): boolean => {
    if (position <= knownHead) return false;
    knownHead = position;
    const isAwaited = waiters.size > 0;
    for (const wake of waiters) wake();
    return isAwaited;
  };

  const stored = (events: readonly RecordedEvent[]): boolean => {
    const [first] = events;
    if (first) recent.add(first.position, events);
    return learnHead(events.at(-1)?.position ?? 0);
  };
  const turn = openLoopTurns();
  const commits = commitQueue(async (batch) => {
    // To put a page of a fleet together takes about as long as to decide it, which was done in this turn.
    if (batch.some(isBulk)) await turn();
    return storeBatch(batch, { clock, random, reaching: reachingCommit, stored });
  });

  const head = (): Promise<number> =>
    reaching(async (sql) => {
      const [row] = await sql<{ position: number }[]>`select position from head`;
      return row?.position ?? 0;
    });

  const poll = async (): Promise<void> => {
    while (waiters.size > 0 && !closing.signal.aborted) {
      await clock.sleep(options.pollIntervalMs ?? 100, closing.signal);
      if (waiters.size === 0 || closing.signal.aborted) break;
      // Unreachable for a moment: whoever waits goes on waiting, and its next read says what is wrong.
      await head().then(learnHead, (error: unknown) => {
        if (!(error instanceof StoreUnavailable)) throw error;
      });
    }
    polling = undefined;
  };

  return {
    commit(commit, cause) {
      return new Promise((resolve, reject) => {
        commits.push({ commit, cause, resolve, reject });
      });
    },
    read(stream, after = 0) {
      return reaching(async (sql) => {
        const rows = await sql<EventRow[]>`
          select * from events where stream = ${stream} and version > ${after} order by version`;
        return rows.map(toRecorded);
      });
    },
    async feed(after, limit) {
      const events =
        recent.after(after, limit) ??
        (await reaching(async (sql) => {
          const rows = await sql<EventRow[]>`
          select * from events where position > ${after} order by position limit ${limit}`;
          return rows.map(toRecorded);
        }));
      // A relay goes on with the next page at once where that is known as well.
      if (events.length >= bulkWeight) await turn();
      return events;
    },
    head,
    async waitForEvents(position, signal) {
      while (knownHead <= position && !signal.aborted && !closing.signal.aborted) {
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            waiters.delete(wake);
            signal.removeEventListener('abort', wake);
            resolve();
          };
          waiters.add(wake);
          signal.addEventListener('abort', wake);
          polling ??= poll();
        });
      }
      return !signal.aborted && !closing.signal.aborted;
    },
    ...rowMaintenance(reaching, turn),
    cursor(name) {
      return reaching(async (sql) => {
        const [row] = await sql<{ position: number }[]>`select position from cursors where name = ${name}`;
        return row?.position ?? 0;
      });
    },
    async close() {
      closing.abort();
      for (const wake of waiters) wake();
      await commits.idle();
      await polling;
      await disconnect(5);
    },
  };
};

/** SQLSTATE classes that say the server is not there for us: connection, resources, operator intervention, and our own time limits. */
const unavailableClasses = new Set(['08', '53', '57', '25', '55']);

/** Anything that is not the server's definite word on our statement is unavailability, with the cause attached. */
const asUnavailable = (error: unknown): unknown => {
  if (error instanceof postgres.PostgresError && !unavailableClasses.has(error.code.slice(0, 2))) return error;
  const untrusted = certificateProblem(error);
  if (untrusted !== undefined) {
    const message = `the certificate of the Postgres server is not trusted: ${untrusted}; look at DATABASE_CA_FILE`;
    return new StoreUnavailable(message, { cause: error });
  }
  if (error instanceof Error && 'code' in error) {
    return new StoreUnavailable('the event store cannot be reached or did not answer in time', { cause: error });
  }
  return error;
};

/** An alarm and not an aborted sleep: that would cost three errors with their stacks for each statement. */
const answered = <T>(
  work: () => Promise<T>,
  {
    clock,
    timeoutMs,
    onLate,
  }: { readonly clock: Clock; readonly timeoutMs: number; readonly onLate: () => Promise<void> },
): Promise<T> =>
  new Promise((resolve, reject) => {
    const patience = clock.alarm(timeoutMs, () => {
      const late = new StoreUnavailable(`the event store did not answer within ${timeoutMs} ms`);
      // Whoever hears of it and asks again is not to be given the same connection.
      void onLate().then(() => reject(late));
    });
    work()
      .finally(() => patience.cancel())
      .then(resolve, (error: unknown) => reject(asUnavailable(error)));
  });
