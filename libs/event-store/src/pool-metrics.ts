import type { Attributes, Meter } from '@opentelemetry/api';
import type { Pool } from './pool.ts';

/** A pool by the name that its metrics have. */
export type NamedPools = Readonly<Record<string, Pool>>;

const POOL = 'db.client.connection.pool.name';
const STATE = 'db.client.connection.state';

/** Shows how much the connections of a store are in use, by OpenTelemetry's conventions for pools of database connections. */
export const measurePools = (meter: Meter, pools: NamedPools): void => {
  const all = Object.entries(pools);
  meter
    .createObservableUpDownCounter('db.client.connection.count', {
      unit: '{connection}',
      description: 'Connections to the store, by what they do',
    })
    .addCallback((result) => {
      for (const [name, pool] of all) {
        const { used } = pool.load();
        result.observe(used, { [POOL]: name, [STATE]: 'used' });
        result.observe(pool.size - used, { [POOL]: name, [STATE]: 'idle' });
      }
    });
  meter
    .createObservableUpDownCounter('db.client.connection.pending_requests', {
      unit: '{request}',
      description: 'Statements that wait behind another one on their connection',
    })
    .addCallback((result) => {
      for (const [name, pool] of all) result.observe(pool.load().waiting, { [POOL]: name });
    });
};

/** Bounds that the conventions give for durations of calls of a database, in seconds. */
const DURATION_BOUNDS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/** Records how long a call of the database took, in milliseconds, and why it failed. */
export type RecordOperation = (durationMs: number, error?: unknown) => void;

/** Measures calls of a database by the same conventions. @param attributes of all of them */
export const measureOperations = (meter: Meter, attributes: Attributes): RecordOperation => {
  const duration = meter.createHistogram('db.client.operation.duration', {
    unit: 's',
    description: 'How long calls of the database took, with the wait for a connection',
    advice: { explicitBucketBoundaries: DURATION_BOUNDS_S },
  });
  return (durationMs, error) =>
    duration.record(durationMs / 1_000, {
      ...attributes,
      ...(error === undefined ? {} : { 'error.type': error instanceof Error ? error.name : typeof error }),
    });
};
