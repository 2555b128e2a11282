import {
  type Cause,
  category,
  type EventStore,
  openConnections,
  openPostgresStore,
  type Sql,
} from '@interlock/event-store';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { startPostgres } from '@interlock/local/postgres.ts';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import type { BenchOptions } from './bench.ts';
import { type Emmett, openEmmett } from './emmett.ts';
import { inTurns, type Measurement, measurement, median, rounded } from './measure.ts';

const cause: Cause = {
  correlationId: 'bench',
  causationId: 'bench',
  caller: 'system:bench',
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
};
/** About the size of a real event: 200 bytes of data beside 150 of meta. */
const data = { name: 'x'.repeat(120), version: 'y'.repeat(32), at: 1_700_000_000_000 };
/** More connections than that the server does not offer beside its own. */
const writersMax = 200;
/** Events a sample stores, about: enough for a steady state, few enough for several samples within a minute. */
const eventsPerSample = 1_600;

/**
 * Durable single-event appends per second at 1, 8 and 64 writers (`--size`: only so many), each of which waits for its
 * own before the next. What is measured is a commit as services make it: the event, its version check, and the stream's
 * state row in the same transaction.
 *
 * - floor: raw INSERTs of as many rows a statement as there are writers, on as many connections, into the same table
 *   with the same indexes; with one writer that is a transaction of one row.
 * - `oneStatement`: the same statement on one connection. The floor has writers² rows under way, and its connections
 *   share flushes; this has as many as the writers have, which is what any store that lets each of them wait can share.
 * - `emmett`: Emmett's Postgres store, the same events and version checks.
 * - `eventOnly`: our commit without the state row, as Emmett's is. `decided`: the whole of a command, state read and
 *   decided on first.
 */
export const append = async (
  { smoke, size, data: folder }: BenchOptions,
  scope: Scope,
): Promise<readonly Measurement[]> => {
  if (size !== undefined && size > writersMax)
    throw new LauncherError(`--size is the number of writers here, at most ${writersMax}, not ${size}.`);
  const postgres = await startPostgres(folder, process.env);
  scope.defer('Postgres', postgres.stop);
  const databases = ['ours', 'emmett'].map((name) => `bench_append_${name}_${process.pid}`);
  const [ownName = '', emmettName = ''] = databases;
  await postgres.createDatabases(databases);
  scope.defer('databases', () => postgres.dropDatabases(databases));
  const url = postgres.shortUrl(ownName);
  const store = await openPostgresStore({ url, clock: systemClock, random: systemRandom });
  scope.defer('store', () => store.close());
  const emmett = await openEmmett(postgres.shortUrl(emmettName), scope);
  const sql = openConnections(url, { maxConnections: Math.max(size ?? 64, 1) });
  scope.defer('floor', () => sql.end());
  await sql`create table raw (like events including all)`;

  const results: Measurement[] = [];
  for (const writers of size === undefined ? [1, 8, 64] : [size]) {
    const each = smoke ? 2 : Math.ceil((writers === 1 ? eventsPerSample / 8 : eventsPerSample) / writers);
    const events = writers * each;
    // The floor is faster: it gets more to do, so that its samples are no shorter.
    const statements = smoke ? writers : Math.max(each, 2 * writers);
    const ways = oursIn(store, writers, each);
    const raw = rawInserts(sql);
    const samples = await inTurns(smoke ? 1 : 5, {
      value: ways.withRow,
      floor: () => raw(writers, writers, statements),
      oneStatement: () => raw(writers, 1, each),
      eventOnly: ways.eventOnly,
      decided: ways.decided,
      emmett: () => emmettAppends(emmett, writers, each),
    });
    await sql`truncate raw`;
    const rates = (took: readonly number[], count: number): readonly number[] => took.map((ms) => (count / ms) * 1000);
    const details = Object.fromEntries(
      (['oneStatement', 'eventOnly', 'decided', 'emmett'] as const).map((name) => [
        name,
        rounded(median(rates(samples[name], events))),
      ]),
    );
    const value = median(rates(samples.value, events));
    results.push(
      measurement(
        { bench: 'append', size: writers, unit: 'events/s' },
        rates(samples.value, events),
        rates(samples.floor, statements * writers),
        {
          ...details,
          ratioToOneStatement: rounded(value / median(rates(samples.oneStatement, events))),
          ratioToEmmett: rounded(value / median(rates(samples.emmett, events))),
        },
      ),
    );
  }
  return results;
};

/** Every writer fills a stream of its own, one event after the other. */
const allWriters = async (writers: number, write: (id: string) => Promise<void>): Promise<void> => {
  await Promise.all(Array.from({ length: writers }, () => write(systemRandom.uuid())));
};

const oursIn = (store: EventStore, writers: number, each: number) => {
  const counters = category<{ readonly count: number }, { readonly type: 'Counted' } & typeof data>(store, {
    name: 'counter',
    stateVersion: 1,
    initial: { count: 0 },
    evolve: ({ count }) => ({ count: count + 1 }),
  });
  const commit = (id: string, n: number) => ({
    stream: `counter-${id}` as const,
    expected: n,
    events: [{ type: 'Counted', schema: 1, data }],
  });
  const row = (key: string, n: number) => ({
    table: counters.table.table,
    key,
    row: { count: n + 1 },
    version: n + 1,
    removed: [],
    added: [],
  });
  return {
    withRow: () =>
      allWriters(writers, async (id) => {
        for (let n = 0; n < each; n++) await store.commit({ appends: [commit(id, n)], rows: [row(id, n)] }, cause);
      }),
    eventOnly: () =>
      allWriters(writers, async (id) => {
        for (let n = 0; n < each; n++) await store.commit({ appends: [commit(id, n)] }, cause);
      }),
    decided: () =>
      allWriters(writers, async (id) => {
        for (let n = 0; n < each; n++) await counters.transact(id, () => [{ type: 'Counted', ...data }], cause);
      }),
  };
};

/** INSERTs of so many rows each, on so many connections at once. */
const rawInserts = (sql: Sql) => {
  let position = 0;
  const meta = { id: systemRandom.uuid(), ...cause };
  const insert = (rows: number) => {
    const batch = Array.from({ length: rows }, () => {
      position++;
      const stream = `raw-${position}`;
      return { position, stream, version: 1, type: 'Counted', schema: 1, data, meta, time_ms: Date.now() };
    });
    return sql`insert into raw ${sql(batch)}`;
  };
  return async (rows: number, connections: number, statements: number): Promise<void> => {
    let left = statements;
    await Promise.all(
      Array.from({ length: connections }, async () => {
        while (left-- > 0) await insert(rows);
      }),
    );
  };
};

const emmettAppends = (emmett: Emmett, writers: number, each: number): Promise<void> =>
  allWriters(writers, async (id) => {
    const event = { type: 'Counted', data, metadata: { ...cause } };
    for (let n = 0; n < each; n++) await emmett.append(`counter-${id}`, n, event);
  });
