import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { testMeter } from '@interlock/runtime/test-meter';
import { createKeyAccess } from './key-access.ts';
import { leaseDefaults } from './lease.ts';
import { meterLeases } from './lease-metrics.ts';
import type { LeaseReport } from './leases.ts';

test('leases are counted by state, and a held lease has its age in seconds as a metric', async () => {
  const clock = virtualClock();
  const keyAccess = createKeyAccess(clock, leaseDefaults);
  const { meter, read, unitOf } = testMeter();
  const key = { set: 'set', keyVersion: 'version' };
  const report = { lease: keyAccess.lease(key), users: new Set() } as unknown as LeaseReport;
  const end = meterLeases({ leases: { list: () => [report] }, keyAccess, clock, meter, ttlMs: 20_000, host: 'disk-0' });
  const counts = async () =>
    Object.fromEntries(
      (await read('interlock.lease.count')).map(([by, value]) => [by['interlock.lease.state'], value]),
    );

  assert.deepEqual(await read('interlock.lease.age'), []);
  assert.deepEqual(await counts(), { HELD: 0, PAUSED: 1, LOST: 0, PINNED: 0 });
  keyAccess.granted(key, { accessEpoch: 1, sent: keyAccess.nextCall(), principal: undefined }, 'unwrapped');
  await clock.pass(2_500);
  const by = { 'interlock.disk_host': 'disk-0', 'interlock.des': 'set', 'interlock.key.version': 'version' };
  assert.deepEqual(await read('interlock.lease.age'), [[by, 2.5]]);
  assert.equal(await unitOf('interlock.lease.age'), 's');
  assert.deepEqual(await counts(), { HELD: 1, PAUSED: 0, LOST: 0, PINNED: 0 });
  keyAccess.lost(key, { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 2 }, 'fact');
  assert.deepEqual(await read('interlock.lease.age'), []);
  assert.deepEqual(await counts(), { HELD: 0, PAUSED: 0, LOST: 1, PINNED: 0 });
  assert.deepEqual(await read('interlock.lease.ttl'), [[{}, 20]]);
  end();
  assert.deepEqual(await counts(), {});
});
