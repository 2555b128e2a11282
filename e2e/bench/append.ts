import { type Cause, category, openConnections, openPostgresStore } from '@interlock/event-store';
import { startPostgres } from '@interlock/local/postgres.ts';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import type { BenchOptions } from './bench.ts';
import { inTurn, type Measurement, measurement } from './measure.ts';

const cause: Cause = {
  correlationId: 'bench',
  causationId: 'bench',
  caller: 'system:bench',
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
};
/** About the size of a real event: 200 bytes of data beside 150 of meta. */
const data = { name: 'x'.repeat(120), version: 'y'.repeat(32), at: 1_700_000_000_000 };

/**
 * Durable single-event appends per second at 1, 8 and 64 writers, through the store as services use it (version check,
 * state row, index entry), beside raw multi-row INSERTs of as many events into the same table shape on as many
 * connections (one row a transaction for one writer).
 */
export const append = async (
  { smoke, size, data: folder }: BenchOptions,
  scope: Scope,
): Promise<readonly Measurement[]> => {
  const postgres = await startPostgres(folder, process.env);
  scope.defer('Postgres', postgres.stop);
  const database = `bench_append_${process.pid}`;
  await postgres.createDatabases([database]);
  scope.defer('database', () => postgres.dropDatabases([database]));
  const url = postgres.shortUrl(database);
  const store = await openPostgresStore({ url, clock: systemClock, random: systemRandom });
  scope.defer('store', () => store.close());
  const sql = openConnections(url, { maxConnections: 64 });
  scope.defer('floor', () => sql.end());
  await sql`create table raw (like events including all)`;

  const counters = category<{ readonly count: number }, { readonly type: 'Counted' } & typeof data>(store, {
    name: 'counter',
    stateVersion: 1,
    initial: { count: 0 },
    evolve: ({ count }) => ({ count: count + 1 }),
  });
  let stream = 0;
  const results: Measurement[] = [];
  for (const writers of size === undefined ? [1, 8, 64] : [size]) {
    const each = smoke ? 2 : Math.ceil(2_000 / writers);
    const events = writers * each;
    // Every writer fills a stream of its own, one event after the other.
    const ours = () =>
      Promise.all(
        Array.from({ length: writers }, async () => {
          const id = `c${stream++}`;
          for (let n = 0; n < each; n++) await counters.transact(id, () => [{ type: 'Counted', ...data }], cause);
        }),
      );
    let position = 0;
    const meta = { id: systemRandom.uuid(), ...cause };
    const insert = (rows: number) => {
      const batch = Array.from({ length: rows }, () => {
        position++;
        return {
          position,
          stream: `raw-${writers}-${position}`,
          version: 1,
          type: 'Counted',
          schema: 1,
          data,
          meta,
          time_ms: Date.now(),
        };
      });
      return sql`insert into raw ${sql(batch)}`;
    };
    // The floor stores the same number of events, as many rows a statement as there are writers.
    const floor = async () => {
      const statements = Math.ceil(events / writers);
      let left = statements;
      const connections = Math.min(writers, 8);
      await Promise.all(
        Array.from({ length: connections }, async () => {
          while (left-- > 0) await insert(writers);
        }),
      );
    };
    await sql`truncate raw`;
    const samples = await inTurn(smoke ? 1 : 5, ours, floor);
    await sql`truncate raw`;
    const perSecond = (ms: number): number => (events / ms) * 1000;
    results.push(
      measurement(
        { bench: 'append', size: writers, unit: 'events/s' },
        samples.ours.map(perSecond),
        samples.floor.map(perSecond),
      ),
    );
  }
  return results;
};
