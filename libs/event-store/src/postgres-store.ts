import { type Clock, certificateProblem, isSpaceError } from '@interlock/runtime';
import type { Attributes, Meter } from '@opentelemetry/api';
import postgres from 'postgres';
import { type Cause, eventId } from './cause.ts';
import { COMMIT_SETTINGS, type ConnectionOptions, openConnections, TRANSACTION_TIMEOUT_MS } from './connection.ts';
import { checkDriver } from './driver-check.ts';
import { BULK_WEIGHT, commitQueue, isBulk, RUNNING_MAX } from './group-commit.ts';
import { HeadWatch } from './head-watch.ts';
import { openLoopTurns } from './loop-turns.ts';
import { migrate } from './migration.ts';
import { type CloseIfSilent, type OpenConnection, openPool, type Pool, type UseConnection } from './pool.ts';
import { measureOperations, measurePools, type RecordOperation } from './pool-metrics.ts';
import { storeBatch } from './postgres-commit.ts';
import { rowReads } from './postgres-rows.ts';
import { recentEvents } from './recent-events.ts';
import type { EventStore, RecordedEvent, StreamName } from './store.ts';
import { StoreUnavailable } from './store.ts';

/** What the Postgres store needs from `main.ts`. */
export interface PostgresStoreOptions extends ConnectionOptions {
  /** Database of this service. */
  readonly url: string;
  readonly clock: Clock;
  /** Measures its connections; by default nothing is measured. */
  readonly meter?: Meter;
  /** How often a waiting feed looks for events of other processes; default 100 ms. Events of this process wake it at once. */
  readonly pollIntervalMs?: number;
  /**
   * Longest wait for a response of the server; default 2 s more than a transaction may take. After it a call fails as
   * unavailable, and a connection on which nothing arrived in that time is closed: TCP itself needs a quarter of an hour to
   * notice a paused server or a network that drops packets.
   */
  readonly answerTimeoutMs?: number;
}

/** Connections to the server, when `main.ts` gives no number. */
const CONNECTIONS_DEFAULT = 10;
/** Read connections that are opened at the start; more are opened on demand. */
const READ_CONNECTIONS_READY = 2;
/** Stored events kept in memory for followers of the feed: some transactions of the largest size. */
const RECENT_EVENTS_MAX = 4_000;
const POLL_INTERVAL_MS = 100;
/** Seconds that running queries get when the store closes. */
const CLOSE_TIMEOUT_S = 5;

/** Once in a process, because it takes some 10 ms. */
let driverChecked: Promise<void> | undefined;

/**
 * Opens the event store of one service in Postgres 17 or newer, and creates its tables where they are missing (safe
 * with several processes starting at once).
 * @throws StoreUnavailable when the server cannot be reached
 * @throws UnpatchedDriver when the driver of this installation loses queries
 */
export const openPostgresStore = async (options: PostgresStoreOptions): Promise<EventStore> => {
  driverChecked ??= checkDriver();
  await driverChecked;
  const { clock } = options;
  const { use, useForCommits, disconnect } = await connect(options);
  const recent = recentEvents(RECENT_EVENTS_MAX);
  const readHead = (): Promise<number> => use(async (sql) => positionIn(await sql`select position from head`));
  const head = new HeadWatch({ clock, readHead, pollIntervalMs: options.pollIntervalMs ?? POLL_INTERVAL_MS });
  const turn = openLoopTurns();

  const onStored = (events: readonly RecordedEvent[]): boolean => {
    const [first] = events;
    if (first) recent.add(first.position, events);
    return head.advance(events.at(-1)?.position ?? 0);
  };
  const commits = commitQueue(async (batch) => {
    // Assembling a page of a fleet takes about as long as deciding it, which happened in this turn.
    if (batch.some(isBulk)) await turn();
    return storeBatch(batch, { clock, use: useForCommits, onStored });
  });
  const readFeed = (after: number, limit: number): Promise<readonly RecordedEvent[]> =>
    use(async (sql) => {
      const rows = await sql<EventRow[]>`
        select * from events where position > ${after} order by position limit ${limit}`;
      return rows.map(toRecorded);
    });

  return {
    spanAttributes: spanAttributesOf(options.url),
    commit: (commit, cause) =>
      new Promise((resolve, reject) => {
        commits.push({ commit, cause, resolve, reject });
      }),
    read: (stream, after = 0) =>
      use(async (sql) => {
        const rows = await sql<EventRow[]>`
          select * from events where stream = ${stream} and version > ${after} order by version`;
        return rows.map(toRecorded);
      }),
    async feed(after, limit) {
      const events = recent.after(after, limit) ?? (await readFeed(after, limit));
      // A relay reads the next page in the same turn if that is in memory as well.
      if (events.length >= BULK_WEIGHT) await turn();
      return events;
    },
    head: readHead,
    waitForEvents: (position, signal) => head.waitFor(position, signal),
    ...rowReads(use, turn),
    cursor: (name) => use(async (sql) => positionIn(await sql`select position from cursors where name = ${name}`)),
    async close() {
      const watching = head.close();
      await commits.idle();
      await watching;
      await disconnect(CLOSE_TIMEOUT_S);
    },
  };
};

/** Attributes by OpenTelemetry's conventions for calls of a database. */
const spanAttributesOf = (url: string): Attributes => {
  const { hostname, port, pathname } = new URL(url);
  return {
    'db.system.name': 'postgresql',
    'db.operation.name': 'COMMIT',
    'db.namespace': decodeURIComponent(pathname.slice(1)),
    ...(hostname === '' ? {} : { 'server.address': hostname }),
    ...(port === '' ? {} : { 'server.port': Number(port) }),
  };
};

interface EventRow {
  position: number;
  stream: StreamName;
  version: number;
  type: string;
  schema: number;
  data: RecordedEvent['data'];
  meta: Cause;
  time_ms: number;
}

const toRecorded = (row: EventRow): RecordedEvent => {
  const { position, stream, version, type, schema, data, meta: cause, time_ms: time } = row;
  return { position, stream, version, type, schema, data, id: eventId(stream, version), cause, time };
};

const positionIn = ([row]: readonly postgres.Row[]): number => row?.position ?? 0;

/** Opens the connections of a store and migrates its schema. */
const connect = async (
  options: PostgresStoreOptions,
): Promise<{
  readonly use: UseConnection;
  readonly useForCommits: UseConnection;
  readonly disconnect: (seconds: number) => Promise<void>;
}> => {
  const maxConnections = options.maxConnections ?? CONNECTIONS_DEFAULT;
  const openOne =
    (settings: NonNullable<ConnectionOptions['settings']>): OpenConnection =>
    (onSocket) =>
      openConnections(options.url, { ...options, maxConnections: 1, fetchTypes: false, settings, onSocket });
  // Commits have their own connections: they wait for no read, and each statement is planned once.
  const committing = openPool(Math.min(RUNNING_MAX, Math.ceil(maxConnections / 2)), openOne(COMMIT_SETTINGS));
  const reading = openPool(Math.max(1, maxConnections - committing.size), openOne({}));
  if (options.meter !== undefined) measurePools(options.meter, { commits: committing, reads: reading });
  const { 'db.operation.name': operation = '', ...common } = spanAttributesOf(options.url);
  const measured = (attributes: Attributes): RecordOperation =>
    options.meter === undefined ? () => undefined : measureOperations(options.meter, attributes);
  const use = useWithin(reading, options, measured(common));
  const disconnect = async (seconds: number): Promise<void> => {
    await Promise.all([committing.end(seconds), reading.end(seconds)]);
  };
  try {
    await use(async (sql) => {
      await Promise.all([migrate(sql), committing.connect(committing.size), reading.connect(READ_CONNECTIONS_READY)]);
    });
  } catch (error) {
    // The next attempt opens its own connections.
    await disconnect(0);
    throw error;
  }
  return {
    use,
    useForCommits: useWithin(committing, options, measured({ ...common, 'db.operation.name': operation })),
    disconnect,
  };
};

/** Runs work on a pool. Work without a response in time fails as unavailable, after its connection was closed if that is silent. */
const useWithin =
  (
    pool: Pool,
    { clock, answerTimeoutMs, transactionTimeoutMs = TRANSACTION_TIMEOUT_MS }: PostgresStoreOptions,
    record: RecordOperation,
  ): UseConnection =>
  (work) => {
    const startedMs = clock.monotonicMs();
    const tookMs = (): number => clock.monotonicMs() - startedMs;
    const timeoutMs = answerTimeoutMs ?? transactionTimeoutMs + 2_000;
    let closeIfSilent: CloseIfSilent | undefined;
    return new Promise((resolve, reject) => {
      // An alarm instead of an aborted sleep, which would cost three errors with stacks for each statement.
      const alarm = clock.alarm(timeoutMs, () => {
        const late = new StoreUnavailable(`the event store did not respond within ${timeoutMs} ms`);
        // First the close: a caller that repeats the work must not get the same connection.
        void (closeIfSilent?.() ?? Promise.resolve()).then(() => reject(late));
      });
      pool
        .use((sql, close) => {
          closeIfSilent = close;
          return work(sql);
        })
        .finally(() => alarm.cancel())
        .then(
          (result) => {
            record(tookMs());
            resolve(result);
          },
          (error: unknown) => {
            record(tookMs(), error);
            reject(asUnavailable(error));
          },
        );
    });
  };

/** SQLSTATE classes of an unavailable server: connection, resources, operator intervention, and our own time limits. */
const UNAVAILABLE_CLASSES: ReadonlySet<string> = new Set(['08', '53', '57', '25', '55']);

/** Everything but a definite response of the server to the statement becomes `StoreUnavailable`, with its cause. */
const asUnavailable = (error: unknown): unknown => {
  if (error instanceof postgres.PostgresError && !UNAVAILABLE_CLASSES.has(error.code.slice(0, 2))) return error;
  const untrusted = certificateProblem(error);
  if (untrusted !== undefined) {
    const message = `the certificate of the Postgres server is not trusted: ${untrusted}; check DATABASE_CA_FILE`;
    return new StoreUnavailable(message, { cause: error });
  }
  if (isSpaceError(error)) {
    return new StoreUnavailable(`the Postgres server of the event store has no space left: ${error.message}`, {
      cause: error,
    });
  }
  if (error instanceof Error && 'code' in error) {
    return new StoreUnavailable('the event store cannot be reached or did not respond in time', { cause: error });
  }
  return error;
};
