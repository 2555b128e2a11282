import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testMeter } from '@interlock/runtime/test-meter';
import { meterFleet } from './fleet-metrics.ts';
import { hashOf, type KnownHost } from './known-host.ts';

test('G10: metrics name each disk host that serves or does not, with its storage and what it has', async () => {
  const host = (name: string, more: Partial<KnownHost> = {}): KnownHost => ({
    ...{ name, nameHash: hashOf(name), status: 'open', isServing: true, lease: undefined, volumeCount: 3 },
    ...more,
  });
  const lease = { capacityBytes: 1_000, freeBytes: 90 } as KnownHost['lease'];
  const hosts = [
    host('disk-0', { lease }),
    host('disk-1', { isServing: false, status: 'cordoned' }),
    host('disk-2', { isServing: false, status: 'lost' }),
  ];
  const { meter, read, unitOf } = testMeter();
  const end = meterFleet({ fleet: { list: () => hosts }, meter, countsVolumes: true });
  const of = (number: number) => ({ 'interlock.disk_host': `disk-${number}` });
  assert.deepEqual(await read('interlock.disk_host.serving'), [
    [of(0), 1],
    [of(1), 0],
  ]);
  assert.deepEqual(await read('interlock.disk_host.capacity'), [[of(0), 1_000]]);
  assert.deepEqual(await read('interlock.disk_host.free'), [[of(0), 90]]);
  assert.equal(await unitOf('interlock.disk_host.free'), 'By');
  assert.deepEqual(await read('interlock.disk_host.volumes'), [
    [of(0), 3],
    [of(1), 3],
  ]);
  end();
  assert.deepEqual(await read('interlock.disk_host.serving'), []);
});
