import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testMeter } from '@interlock/runtime/test-meter';
import { measurePools } from './pool-metrics.ts';

test('metrics show used and idle connections of a pool, and waiting statements', async () => {
  const { meter, read } = testMeter();
  const pool = { size: 3, load: () => ({ used: 2, waiting: 4 }) };
  measurePools(meter, {
    commits: { ...pool, connect: async () => undefined, use: () => Promise.reject(), end: async () => undefined },
  });
  assert.deepEqual(await read('db.client.connection.count'), [
    [{ 'db.client.connection.pool.name': 'commits', 'db.client.connection.state': 'used' }, 2],
    [{ 'db.client.connection.pool.name': 'commits', 'db.client.connection.state': 'idle' }, 1],
  ]);
  assert.deepEqual(await read('db.client.connection.pending_requests'), [
    [{ 'db.client.connection.pool.name': 'commits' }, 4],
  ]);
});
