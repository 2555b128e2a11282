import { openConnections, type Sql } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { benchOf } from './bench.ts';
import type { FactCounter } from './fleet/fact-counter.ts';
import type { Fleet } from './fleet/fleet.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { memoryMib } from './fleet/processes.ts';
import { growth, inFlight, rounded, timed } from './measure.ts';

const defaultSeconds = 3_600;
/** The key is rotated every this many rounds. */
const rotateEvery = 4;
/** Stops in flight: enough to keep both cores busy. */
const stopsInFlight = 64;
/** Deadline of a stop, six times the default: this bench shows the slowest one (`slowestStopMs`). */
const stopDeadlineMs = 60_000;
/** Limit for stops and for consumers to catch up, in milliseconds. */
const limitMs = 600_000;
/** Values of a memory series in a line. */
const seriesMax = 12;

/** State of the cloud after a round, when no consumer lags. */
interface Sample {
  /** Events stored by all services so far. */
  readonly events: number;
  /** Bytes of all databases. */
  readonly bytes: number;
  readonly mib: Readonly<Record<ServiceName, number>>;
  /** Dead rows ÷ live rows of `rows`, `row_index` and `cursors`, all services. */
  readonly deadRatio: number;
  /** How long consumers took to apply everything that was published, in ms. */
  readonly restMs: number;
}

/**
 * Growth of the databases in bytes per event, for `seconds` at full speed. In each round `size` machines start (a real unwrap
 * for each disk); then their key is disabled and enabled, or they are powered off; in some rounds the key is rotated. Floor: the
 * event's own row. Also: memory of each service, dead rows, and how long the consumers' gap lasted at the end.
 */
export const churn = benchOf(
  { name: 'churn', unit: 'bytes/event', sizes: [2_000], smoke: 2, isOfCloud: true },
  async ({ size, options, scope }) => {
    const { smoke, seconds = defaultSeconds } = options;
    const fleet = await openFleet(options, size, scope);
    const databases = serviceNames.map((service) => {
      const limits = { maxConnections: 1, transactionTimeoutMs: 120_000 };
      const sql = openConnections(fleet.cloud.databaseUrls[service], limits);
      scope.defer(`database of ${service}`, () => sql.end());
      return sql;
    });
    const stopped = await fleet.countFacts('VmStopped', scope);
    const started = await fleet.countFacts('VmStarted', scope);
    const since = performance.now();
    const first = await sampleAtRest(fleet, databases);
    const samples: Sample[] = [];
    let slowestStopMs = 0;
    do {
      const round = samples.length + 1;
      // The fleet starts running.
      if (round % 2 === 1) {
        await fleet.revoke(stopped);
        await fleet.enableKey();
      } else {
        slowestStopMs = Math.max(slowestStopMs, await powerOffAll(fleet, stopped));
      }
      await fleet.startMachines(size, started);
      if (round % rotateEvery === 0 || smoke) await fleet.rotate();
      samples.push(await sampleAtRest(fleet, databases));
    } while (!smoke && performance.now() - since < seconds * 1_000);

    const last = samples.at(-1) ?? first;
    const perEvent = samples.map(({ bytes, events }) => (bytes - first.bytes) / (events - first.events));
    const events = last.events - first.events;
    const tookSeconds = (performance.now() - since) / 1_000;
    const mibOf = (service: ServiceName) => [first, ...samples].map(({ mib }) => mib[service]);
    return {
      values: perEvent,
      floors: [await rowBytes(databases)],
      details: {
        seconds: Math.round(tookSeconds),
        rounds: samples.length,
        events,
        eventsPerSecond: Math.round(events / tookSeconds),
        deadShare: rounded(last.deadRatio),
        deadShareMost: rounded(Math.max(...samples.map(({ deadRatio }) => deadRatio))),
        gapGoneMs: Math.round(last.restMs),
        slowestStopMs: Math.round(slowestStopMs),
        memoryGrowth: rounded(Math.max(...serviceNames.map((service) => growth(mibOf(service))))),
        ...Object.fromEntries(serviceNames.map((service) => [`mib of ${service}`, thinned(mibOf(service))])),
      },
    };
  },
);

/** Powers every machine under the key off; resolves when the last stop is published. @returns ms of the slowest call */
const powerOffAll = async (fleet: Fleet, stopped: FactCounter): Promise<number> => {
  const machines = fleet.machines(({ stops }) => stops);
  let slowestMs = 0;
  stopped.reset();
  await inFlight(stopsInFlight, machines.length, async (n) => {
    const request = { name: machines[n]?.name ?? '' };
    const stop = () => fleet.clients.compute.powerOffVirtualMachine(request, { deadlineMs: stopDeadlineMs });
    slowestMs = Math.max(slowestMs, await timed(stop));
  });
  await stopped.reached(machines.length, limitMs);
  return slowestMs;
};

/** Waits until every consumer has applied everything, then samples. */
const sampleAtRest = async ({ cloud, clients }: Fleet, databases: readonly Sql[]): Promise<Sample> => {
  const restMs = await timed(() => until('no consumer has a gap', () => hasNoGap(clients), limitMs));
  const counts = await sumOver(
    databases,
    (sql) => sql`
      select (select position::float8 from head) as events, pg_database_size(current_database())::float8 as bytes,
        sum(n_dead_tup)::float8 as dead, sum(n_live_tup)::float8 as live
      from pg_stat_user_tables where relname in ('rows', 'row_index', 'cursors')`,
  );
  return {
    events: counts('events'),
    bytes: counts('bytes'),
    mib: mibOfServices(cloud),
    deadRatio: counts('dead') / Math.max(1, counts('live')),
    restMs,
  };
};

const hasNoGap = async (clients: Clients): Promise<boolean> => {
  const gaps = await Promise.all(
    serviceNames.map(async (service) => {
      const messaging = clients.messaging(service);
      const [relay, { consumers }] = await Promise.all([messaging.getRelay({}), messaging.listConsumers({})]);
      return relay.gap + consumers.reduce((sum, { gap }) => sum + gap, 0);
    }),
  );
  return gaps.every((gap) => gap === 0);
};

const mibOfServices = (cloud: LocalCloud): Sample['mib'] =>
  Object.fromEntries(serviceNames.map((service) => [service, memoryMib(cloud, service, 'VmRSS')])) as Sample['mib'];

/** Mean bytes of an event's row, all services. */
const rowBytes = async (databases: readonly Sql[]): Promise<number> => {
  const sums = await sumOver(
    databases,
    (sql) => sql`
      select count(*)::float8 as count, coalesce(sum(pg_column_size(events.*)), 0)::float8 as bytes from events`,
  );
  return sums('bytes') / sums('count');
};

/** Runs a query with one result row in each database. @returns the sum of a column */
const sumOver = async (
  databases: readonly Sql[],
  query: (sql: Sql) => PromiseLike<readonly Record<string, number>[]>,
): Promise<(column: string) => number> => {
  const found = await Promise.all(databases.map(query));
  return (column) => found.reduce((sum, [row]) => sum + (row?.[column] ?? 0), 0);
};

/** At most `seriesMax` values of a series, evenly spaced, the first and last among them. */
const thinned = (series: readonly number[]): readonly number[] => {
  const count = Math.min(seriesMax, series.length);
  return Array.from({ length: count }, (_, n) => series[Math.round((n * (series.length - 1)) / (count - 1))] ?? 0);
};
