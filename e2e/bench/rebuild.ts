import { once } from 'node:events';
import { openConnections, openPostgresStore, rowKeeper, type Sql } from '@interlock/event-store';
import { logger, systemClock } from '@interlock/runtime';
import { benchOf, openDatabases } from './bench.ts';
import { alternate } from './measure.ts';

const eventsPerStream = 10;

/**
 * Seconds until all state rows are folded again from position 0, as a service does before it serves a new version of a state.
 * `size` is the number of events, 10 a stream, with interleaved streams.
 * Floor: the events are read with COPY, and one row a stream is written with COPY into a table with the same index.
 */
export const rebuild = benchOf(
  {
    name: 'rebuild',
    unit: 's',
    sizes: [1_000_000],
    smoke: 1_000,
    accepts: (size) => size % eventsPerStream === 0 || `a number of events, a multiple of ${eventsPerStream}`,
  },
  async ({ size: events, options: { data }, scope, usually }) => {
    const streams = events / eventsPerStream;
    const { urls } = await openDatabases('rebuild', ['ours'], data, scope);
    const store = await openPostgresStore({ url: urls.ours, clock: systemClock });
    scope.defer('store', () => store.close());
    const sql = openConnections(urls.ours, { maxConnections: 1, transactionTimeoutMs: 300_000 });
    scope.defer('floor', () => sql.end());
    await fill(sql, events, streams);
    await sql`create table raw (like rows including all)`;

    let stateVersion = 0;
    const fold = async (): Promise<void> => {
      stateVersion++;
      const log = logger({ service: 'bench', clock: systemClock, write: () => {} });
      const counters = await rowKeeper({ store, clock: systemClock, log }).open({
        name: 'counter',
        stateVersion,
        initial: { count: 0, latest: '' },
        evolve: ({ count }, { name }: { readonly type: 'Counted'; readonly name: string }) => ({
          count: count + 1,
          latest: name,
        }),
      });
      const [found] = await sql<{ rows: number; events: number }[]>`
        select count(*) as rows, coalesce(sum((row->>'count')::bigint), 0)::bigint as events
        from rows where table_name = ${counters.table.table}`;
      if (found?.rows !== streams || found.events !== events)
        throw new Error(`the rows do not match the events: ${JSON.stringify(found)}`);
    };
    const samples = await alternate(usually(3), {
      value: fold,
      floor: async () => {
        await copyOut(sql);
        await copyIn(sql, streams);
      },
      // Not measured: restores the start state of the next round.
      cleaning: async () => {
        await sql`truncate rows, raw`;
        await sql`delete from cursors`;
      },
    });
    const seconds = (took: readonly number[]): readonly number[] => took.map((ms) => ms / 1000);
    return {
      values: seconds(samples.value),
      floors: seconds(samples.floor),
      details: { streams, eventsPerSecond: Math.round((events * 1000) / Math.min(...samples.value)) },
    };
  },
);

/** Stores events as long as real ones. */
const fill = async (sql: Sql, events: number, streams: number): Promise<void> => {
  await sql`
    insert into events (position, stream, version, type, schema, data, meta, time_ms)
    select n, 'counter-' || (n % ${streams}::bigint), 1 + (n - 1) / ${streams}::bigint, 'Counted', 1,
      json_build_object('name', repeat('x', 120), 'version', repeat('y', 32), 'at', 1700000000000 + n),
      json_build_object('correlationId', gen_random_uuid(), 'causes', json_build_array(json_build_object('id', 'counter-' || n || '@1', 'kind', 'message')), 'caller', 'system:bench'),
      1700000000000 + n
    from generate_series(1, ${events}::bigint) n`;
  await sql`update head set position = ${events}`;
  await sql`analyze events`;
};

const copyOut = async (sql: Sql): Promise<void> => {
  let bytes = 0;
  for await (const chunk of await sql`copy events to stdout`.readable()) bytes += (chunk as Uint8Array).byteLength;
  if (bytes === 0) throw new Error('COPY returned no bytes');
};

const copyIn = async (sql: Sql, streams: number): Promise<void> => {
  const into = await sql`copy raw from stdin`.writable();
  const row = JSON.stringify({ count: eventsPerStream, latest: 'x'.repeat(120) });
  const rowsAtOnce = 1_000;
  for (let from = 0; from < streams; from += rowsAtOnce) {
    let text = '';
    for (let n = from; n < Math.min(streams, from + rowsAtOnce); n++)
      text += `counter_v1\t${n}\t${eventsPerStream}\t${row}\n`;
    if (!into.write(text)) await once(into, 'drain');
  }
  const finished = once(into, 'finish');
  into.end();
  await finished;
};
