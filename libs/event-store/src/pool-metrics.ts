import type { Meter } from '@opentelemetry/api';
import type { Pool } from './pool.ts';

/** A pool by the name that its metrics have. */
export type NamedPools = Readonly<Record<string, Pool>>;

const POOL = 'db.client.connection.pool.name';
const STATE = 'db.client.connection.state';

/** Shows how much the connections of a store are in use, by OpenTelemetry's conventions for pools of database connections. */
export const measurePools = (meter: Meter, pools: NamedPools): void => {
  const all = Object.entries(pools);
  meter
    .createObservableGauge('db.client.connection.count', {
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
    .createObservableGauge('db.client.connection.pending_requests', {
      unit: '{request}',
      description: 'Statements that wait behind another one on their connection',
    })
    .addCallback((result) => {
      for (const [name, pool] of all) result.observe(pool.load().waiting, { [POOL]: name });
    });
};
