import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { createNoopMeter, type MeterProvider, type ObservableCallback } from '@opentelemetry/api';
import { createKeyAccess } from './key-access.ts';
import { leaseDefaults } from './lease.ts';
import { meterLeases } from './lease-metrics.ts';
import type { LeaseReport } from './leases.ts';

test('the age of a lease is a metric, in seconds, by set and key version, as long as it has a yes', async () => {
  const clock = virtualClock();
  const access = createKeyAccess(clock, leaseDefaults);
  const callbacks = new Set<ObservableCallback>();
  const names: (string | undefined)[] = [];
  const meters: MeterProvider = {
    getMeter: () => ({
      ...createNoopMeter(),
      createObservableGauge: (name, options) => {
        names.push(name, options?.unit);
        return {
          addCallback: (callback) => void callbacks.add(callback),
          removeCallback: (callback) => void callbacks.delete(callback),
        };
      },
    }),
  };
  const key = { set: 'set', keyVersion: 'version' };
  const report = { lease: access.lease(key), users: new Set() } as unknown as LeaseReport;
  const ending = new AbortController();
  meterLeases({ leases: { list: () => [report] }, clock, signal: ending.signal, meters });
  const observed = () => {
    const values: unknown[] = [];
    for (const callback of callbacks) callback({ observe: (...value) => values.push(value) });
    return values;
  };
  assert.deepEqual(names, ['interlock.lease.age', 's']);
  assert.deepEqual(observed(), []);
  access.granted(key, { accessEpoch: 1, asked: access.ask() }, 'unwrapped');
  await clock.pass(2_500);
  assert.deepEqual(observed(), [[2.5, { 'interlock.des': 'set', 'interlock.key.version': 'version' }]]);
  access.lost(key, { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 2 }, 'fact');
  assert.deepEqual(observed(), []);
  ending.abort();
  assert.equal(callbacks.size, 0);
});
