import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { openConnections, type Sql } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import type { Scope } from '@interlock/runtime';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import type { BenchOptions } from './bench.ts';
import type { Fleet } from './fleet/fleet.ts';
import { openFleetCloud } from './fleet/fleet-cloud.ts';
import { planFleet } from './fleet/plan.ts';
import { giveBack, revoke } from './fleet/rounds.ts';
import type { ToldFacts } from './fleet/told-facts.ts';
import { growth, type Measurement, measurement, rounded, timed } from './measure.ts';
import { startSome } from './restore-fleet.ts';
import { rotate } from './rotate-fleet.ts';

/** Machines under the key, and how long to go on, when nothing is said. */
const sizeDefault = 2_000;
const secondsDefault = 3_600;
/** The data keys move to a new version in every so many rounds. */
const rotateEvery = 4;
/** Stops asked for at once: enough to keep both cores busy, few enough that one is answered long before its deadline on a busy machine. */
const askedAtOnce = 64;
/**
 * So long a stop may take, in ms: six times what a caller waits by default. What a busy machine has it wait for says nothing of
 * a long life, and is shown (`slowestStopMs`).
 */
const stopMsMax = 60_000;
/** Everything must have come to rest by then. */
const restMs = 600_000;
/** Values of a series that are shown: enough to see whether it is flat. */
const shownMax = 12;

/** How things stand after a round, everything at rest. */
interface Standing {
  /** Events stored by all services since the beginning of time. */
  readonly events: number;
  /** Bytes of all databases. */
  readonly bytes: number;
  /** Resident memory of each service, in MiB. */
  readonly mib: Readonly<Record<ServiceName, number>>;
  /** Dead rows of `rows`, `row_index` and `cursors` of all services ÷ live ones. */
  readonly deadShare: number;
  /** How long it took until nobody was behind with what was told, in ms. */
  readonly restMs: number;
}

/**
 * A long life, at full speed: machines are started (a real unwrap a disk), their key is taken away and given back or their user
 * stops them, and now and then it is rotated, round after round, until the time is over. What a database grows by an event is
 * held against the event's own row. Beside it: memory of each service after each round and how much the one grew that grew most,
 * how much of the hot tables is garbage, and how long the last fact took to be heard.
 */
export const churn = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const { smoke, size = smoke ? 2 : sizeDefault, seconds = secondsDefault } = options;
  const { cloud, clients, fleet, told: listen } = await openFleetCloud(options, size, scope);
  const databases = serviceNames.map((service) => {
    const sql = openConnections(cloud.databaseUrls[service], { maxConnections: 1, transactionTimeoutMs: 120_000 });
    scope.defer(`database of ${service}`, () => sql.end());
    return sql;
  });
  const stopped = await listen('VmStopped');
  const started = await listen('VmStarted');
  const endMs = performance.now() + (smoke ? 0 : seconds) * 1_000;
  const since = performance.now();
  let current: Fleet = fleet;
  const standings: Standing[] = [await stand(cloud, clients, databases)];
  let round = 0;
  let slowestStopMs = 0;
  do {
    round += 1;
    // A fleet is put in place running.
    if (round % 2 === 1) {
      await revoke(clients, current, stopped);
      await giveBack(clients, current);
    } else {
      slowestStopMs = Math.max(slowestStopMs, await powerOffAll(clients, current, stopped));
    }
    await startSome(clients, current, size, started);
    if (round % rotateEvery === 0 || smoke) current = { ...current, keyVersion: await rotate(clients, current) };
    standings.push(await stand(cloud, clients, databases));
  } while (performance.now() < endMs);

  const [first, last] = [standings[0], standings.at(-1)];
  if (!first || !last) throw new Error('a churn has a beginning and an end');
  const perEvent = standings.slice(1).map(({ bytes, events }) => (bytes - first.bytes) / (events - first.events));
  const events = last.events - first.events;
  const took = (performance.now() - since) / 1_000;
  return [
    measurement({ bench: 'churn', size, unit: 'bytes/event' }, perEvent, [await rowBytes(databases)], {
      seconds: Math.round(took),
      rounds: round,
      events,
      eventsPerSecond: Math.round(events / took),
      deadShare: Number(last.deadShare.toFixed(3)),
      deadShareMost: Number(Math.max(...standings.map(({ deadShare }) => deadShare)).toFixed(3)),
      gapGoneMs: Math.round(last.restMs),
      slowestStopMs: Math.round(slowestStopMs),
      memoryGrowth: rounded(
        Math.max(...serviceNames.map((service) => growth(standings.map(({ mib }) => mib[service])))),
      ),
      ...Object.fromEntries(
        serviceNames.map((service) => [`mib of ${service}`, shown(standings.map(({ mib }) => mib[service]))]),
      ),
    }),
  ];
};

/**
 * Has its user stop every machine under the key; resolves when the last is told as stopped.
 * @returns how long the slowest answer took, in ms
 */
const powerOffAll = async (clients: Clients, fleet: Fleet, stopped: ToldFacts): Promise<number> => {
  const names: string[] = [];
  for (const { name, stops } of planFleet(fleet.stopping, fleet)) if (stops) names.push(name);
  stopped.begin();
  let next = 0;
  let slowestMs = 0;
  const stop = (name: string) => clients.compute.powerOffVirtualMachine({ name }, { deadlineMs: stopMsMax });
  const asking = async (): Promise<void> => {
    for (let name = names[next++]; name !== undefined; name = names[next++])
      slowestMs = Math.max(slowestMs, await timed(() => stop(name)));
  };
  await Promise.all(Array.from({ length: Math.min(askedAtOnce, names.length) }, asking));
  await Promise.race([
    stopped.reached(names.length),
    delay(restMs, undefined, { ref: false }).then(() => {
      throw new Error(`${stopped.count()} of ${names.length} machines were told as stopped within ${restMs} ms`);
    }),
  ]);
  return slowestMs;
};

/** Waits until everybody has heard what everybody has told, and looks. */
const stand = async (cloud: LocalCloud, clients: Clients, databases: readonly Sql[]): Promise<Standing> => {
  const since = performance.now();
  await until(
    'nobody is behind',
    async () => {
      const gaps = await Promise.all(
        serviceNames.flatMap((service) => [
          clients.messaging(service).getRelay({}),
          clients.messaging(service).listConsumers({}),
        ]),
      );
      return gaps.every((one) => ('gap' in one ? one.gap === 0 : one.consumers.every(({ gap }) => gap === 0)));
    },
    restMs,
  );
  const restedMs = performance.now() - since;
  const found = await Promise.all(
    databases.map(
      (sql) => sql<{ events: number; bytes: number; dead: number; live: number }[]>`
        select (select position::float8 from head) as events, pg_database_size(current_database())::float8 as bytes,
          sum(n_dead_tup)::float8 as dead, sum(n_live_tup)::float8 as live
        from pg_stat_user_tables where relname in ('rows', 'row_index', 'cursors')`,
    ),
  );
  const sum = (of: 'events' | 'bytes' | 'dead' | 'live') => found.reduce((all, [row]) => all + (row?.[of] ?? 0), 0);
  const mibOf = (service: ServiceName): number => {
    const status = readFileSync(`/proc/${cloud.pid(service)}/status`, 'utf8');
    return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1_024);
  };
  return {
    events: sum('events'),
    bytes: sum('bytes'),
    mib: Object.fromEntries(serviceNames.map((service) => [service, mibOf(service)])) as Standing['mib'],
    deadShare: sum('dead') / Math.max(1, sum('live')),
    restMs: restedMs,
  };
};

/** Bytes of an event's row, in the mean of all services. */
const rowBytes = async (databases: readonly Sql[]): Promise<number> => {
  const found = await Promise.all(
    databases.map(
      (sql) => sql<{ count: number; bytes: number }[]>`
        select count(*)::float8 as count, coalesce(sum(pg_column_size(events.*)), 0)::float8 as bytes from events`,
    ),
  );
  const sum = (of: 'count' | 'bytes') => found.reduce((all, [row]) => all + (row?.[of] ?? 0), 0);
  return sum('bytes') / sum('count');
};

/** As many values of a series as can be looked at, the first and the last among them. */
const shown = (series: readonly number[]): readonly number[] => {
  const count = Math.min(shownMax, series.length);
  return Array.from({ length: count }, (_, n) => series[Math.round((n * (series.length - 1)) / (count - 1))] ?? 0);
};
