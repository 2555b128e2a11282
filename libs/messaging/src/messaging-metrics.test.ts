import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import { testMeter } from '@interlock/runtime/test-meter';
import { meterMessaging } from './messaging-metrics.ts';
import { parkedFacts } from './parked.ts';
import type { PartitionStatus } from './partition.ts';
import type { Relay } from './relay.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };

test('metrics show the lag of consumers by source, the lag and outage of the relay, and copies of the stream', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const { meter, read } = testMeter();
  const part = (partition: number, gap: number, lagMs: number): PartitionStatus => ({
    source: 'key-vault',
    partition,
    position: 0,
    gap,
    lagMs,
  });
  const relay = { position: () => 0, outage: (): ReturnType<Relay['outage']> => undefined };
  const consumers = [{ source: 'key-vault', status: () => [part(0, 2, 500), part(1, 3, 1_500)], refused: () => 6 }];
  const bus = { stream: () => ({ copies: 1, copiesWanted: 3, problem: '', isVerified: true }) };
  const end = meterMessaging({ meter, store, clock, consumers, relay, bus });

  const row = { position: 7, stream: 'key-k', fact: '', error: 'no', reason: 'X', attempts: 8, time: 0 };
  const change = parkedFacts(store).put({ ...row, source: 'key-vault', partition: 1 }, undefined);
  await store.commit({ rows: [change] }, cause);
  await store.commit(
    { appends: [{ stream: 'a-1', expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
    cause,
  );

  const by = { 'messaging.destination.name': 'key-vault' };
  assert.deepEqual(await read('interlock.feed.gap'), [[by, 5]]);
  assert.deepEqual(await read('interlock.feed.lag'), [[by, 1.5]]);
  assert.deepEqual(await read('interlock.feed.parked'), [[by, 1]]);
  assert.deepEqual(await read('interlock.feed.refused'), [[by, 6]]);
  assert.deepEqual(await read('interlock.relay.gap'), [[{}, 1]]);
  assert.deepEqual(await read('interlock.relay.outage'), [[{}, 0]]);

  assert.deepEqual(await read('interlock.stream.copies'), [[{}, 1]]);
  assert.deepEqual(await read('interlock.stream.copies_wanted'), [[{}, 3]]);

  const since = clock.now();
  await clock.pass(4_000);
  Object.assign(relay, { position: () => 1, outage: () => ({ since, failures: 1, error: new Error('away') }) });
  assert.deepEqual(await read('interlock.relay.gap'), [[{}, 0]]);
  assert.deepEqual(await read('interlock.relay.outage'), [[{}, 4]]);
  end();
  assert.deepEqual(await read('interlock.relay.outage'), []);
});
