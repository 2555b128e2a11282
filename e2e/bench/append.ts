import { category, type EventStore, openConnections, openPostgresStore, type Sql } from '@interlock/event-store';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { benchOf, openDatabases } from './bench.ts';
import { benchCause, eventData } from './event.ts';
import { alternate, inFlight, median, rounded } from './measure.ts';

/** Postgres has no more connections to spare. */
const writersMax = 200;
/** Long enough for a steady state, short enough for several samples a minute. */
const eventsPerSample = 1_600;

/**
 * Durable commits of one event a second, by 1, 8 and 64 writers (`size`). A commit is the event, its version check and the
 * stream's state row.
 * - floor: raw INSERTs into a table like `events`, with as many rows a statement as there are writers, on as many connections
 * - `oneStatement`: the same statement on one connection: as many rows in flight as the writers have
 * - `emmett`: the same events and version checks in Emmett's Postgres store
 * - `eventOnly`: the commit without the state row, as in Emmett; `decided`: a whole command, which reads the state first
 */
export const append = benchOf(
  {
    name: 'append',
    unit: 'events/s',
    sizes: [1, 8, 64],
    accepts: (size) => size <= writersMax || `the number of writers, at most ${writersMax}`,
    setUp: async ({ size, data }, scope) => {
      const { urls } = await openDatabases('append', ['ours', 'emmett'], data, scope);
      const store = await openPostgresStore({ url: urls.ours, clock: systemClock });
      scope.defer('store', () => store.close());
      const appendToEmmett = await openEmmett(urls.emmett, scope);
      const sql = openConnections(urls.ours, { maxConnections: size ?? 64 });
      scope.defer('floor', () => sql.end());
      await sql`create table raw (like events including all)`;
      return { sql, appendToEmmett, commits: commitsOf(store) };
    },
  },
  async ({ size: writers, usually }, { sql, appendToEmmett, commits }) => {
    const each = usually(Math.ceil((writers === 1 ? eventsPerSample / 8 : eventsPerSample) / writers), 2);
    const events = writers * each;
    // The floor is faster: with more statements its samples are no shorter.
    const statements = usually(Math.max(each, 2 * writers), writers);
    const everyWriter = (write: (id: string, n: number) => Promise<unknown>) => () =>
      inFlight(writers, writers, async () => {
        const id = systemRandom.uuid();
        for (let n = 0; n < each; n++) await write(id, n);
      });
    const samples = await alternate(usually(5), {
      value: everyWriter(commits.withRow),
      floor: () => inFlight(writers, statements, () => insertRaw(sql, writers)),
      oneStatement: () => inFlight(1, each, () => insertRaw(sql, writers)),
      eventOnly: everyWriter(commits.eventOnly),
      decided: everyWriter(commits.decided),
      emmett: everyWriter(appendToEmmett),
    });
    await sql`truncate raw`;
    const rates = (name: keyof typeof samples, count = events): readonly number[] =>
      samples[name].map((ms) => (count / ms) * 1000);
    const rate = (name: keyof typeof samples): number => rounded(median(rates(name)));
    return {
      values: rates('value'),
      floors: rates('floor', statements * writers),
      details: {
        oneStatement: rate('oneStatement'),
        eventOnly: rate('eventOnly'),
        decided: rate('decided'),
        emmett: rate('emmett'),
        ratioToOneStatement: rounded(rate('value') / rate('oneStatement')),
        ratioToEmmett: rounded(rate('value') / rate('emmett')),
      },
    };
  },
);

const commitsOf = (store: EventStore) => {
  const counters = category<{ readonly count: number }, { readonly type: 'Counted' } & typeof eventData>(store, {
    name: 'counter',
    stateVersion: 1,
    initial: { count: 0 },
    evolve: ({ count }) => ({ count: count + 1 }),
  });
  const events = [{ type: 'Counted', schema: 1, data: eventData }];
  const append = (id: string, n: number) => ({ stream: `counter-${id}` as const, expected: n, events });
  const row = (key: string, n: number) => {
    const version = n + 1;
    return { table: counters.table.table, key, row: { count: version }, version, removed: [], added: [] };
  };
  return {
    withRow: (id: string, n: number) => store.commit({ appends: [append(id, n)], rows: [row(id, n)] }, benchCause),
    eventOnly: (id: string, n: number) => store.commit({ appends: [append(id, n)] }, benchCause),
    decided: (id: string) => counters.transact(id, () => [{ type: 'Counted', ...eventData }], benchCause),
  };
};

let position = 0;
const meta = benchCause;
/** One statement that inserts this number of rows. */
const insertRaw = (sql: Sql, rows: number) => {
  const batch = Array.from({ length: rows }, () => {
    position++;
    const stream = `raw-${position}`;
    return { position, stream, version: 1, type: 'Counted', schema: 1, data: eventData, meta, time_ms: Date.now() };
  });
  return sql`insert into raw ${sql(batch)}`;
};

/** Opens Emmett's Postgres store with its defaults in an empty database. @throws LauncherError if the package is not installed */
const openEmmett = async (url: string, scope: Scope): Promise<(id: string, n: number) => Promise<unknown>> => {
  const { getPostgreSQLEventStore } = await import('@event-driven-io/emmett-postgresql').catch((cause) => {
    throw new LauncherError(
      'append compares with Emmett, a development dependency of e2e. Install it with `npx pnpm install` (without --prod).',
      { cause },
    );
  });
  const store = getPostgreSQLEventStore(url);
  scope.defer('Emmett', () => store.close());
  await store.schema.migrate();
  return (id, n) =>
    store.appendToStream(`counter-${id}`, [{ type: 'Counted', data: eventData, metadata: { ...benchCause } }], {
      expectedStreamVersion: n === 0 ? 'STREAM_DOES_NOT_EXIST' : BigInt(n),
    });
};
