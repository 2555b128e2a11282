import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { seededRandom, virtualClock } from '@interlock/runtime';
import { type CopyPace, createCopyPace } from './copy-pace.ts';

const recorded = (stream: RecordedEvent['stream'], type: string, data: object): RecordedEvent => ({
  position: 1,
  stream,
  version: 1,
  id: 'e',
  type,
  schema: 1,
  data: { ...data },
  cause: { correlationId: 'c', causes: [], caller: 'principals/p', traceparent: '' },
  time: 1,
});
const begin = (pace: CopyPace, n: number): void =>
  pace.apply(recorded(`snapshot-${n}`, 'SnapshotCreating', { sourceDisk: 'd', volumeId: `v${n}` }));

/** The paces of many clouds, each with a copy that has started. */
const paces = () => {
  const clock = virtualClock();
  return Array.from({ length: 200 }, (_, n) => {
    const pace = createCopyPace(clock, seededRandom(n));
    pace.dawdle();
    begin(pace, n);
    return { clock, pace, volumeId: `v${n}`, n };
  });
};

test('no copy is slow before dawdle() is called', () => {
  for (let n = 0; n < 20; n += 1) {
    const pace = createCopyPace(virtualClock(), seededRandom(n));
    begin(pace, n);
    assert.equal(pace.step(`v${n}`), undefined);
  }
});

test('some copies are slow until they are recorded, and all else is not', async () => {
  const all = paces();
  const { clock } = all[0] ?? assert.fail();
  const slow = all.filter(({ pace, volumeId }) => pace.step(volumeId) !== undefined);
  assert.ok(slow.length > 0 && slow.length < all.length, `${slow.length} of ${all.length}`);
  const [first] = slow;
  assert.ok(first);
  assert.equal(first.pace.step('another'), undefined);
  const sinceMs = clock.monotonicMs();
  await clock.drive(first.pace.step(first.volumeId) ?? assert.fail());
  assert.ok(clock.monotonicMs() > sinceMs);
  first.pace.apply(recorded(`snapshot-${first.n}`, 'SnapshotCreated', {}));
  assert.equal(first.pace.step(first.volumeId), undefined);
});

test('once faults are over, slow copies continue at once, and no other copy is slow', async () => {
  for (const { clock, pace, volumeId, n } of paces()) {
    const step = pace.step(volumeId);
    pace.hurry();
    const sinceMs = clock.monotonicMs();
    await step;
    assert.equal(clock.monotonicMs(), sinceMs);
    begin(pace, n + 1_000);
    assert.equal(pace.step(`v${n + 1_000}`), undefined);
    assert.equal(pace.step(volumeId), undefined);
  }
});

test('each step of a move takes a moment at any time, until the disk has moved', async () => {
  const clock = virtualClock();
  const pace = createCopyPace(clock, seededRandom(1));
  pace.apply(recorded('disk-d', 'VolumeMoving', { host: 'h', volumeId: 'v' }));
  const sinceMs = clock.monotonicMs();
  await clock.drive(pace.step('v') ?? assert.fail());
  assert.ok(clock.monotonicMs() > sinceMs);
  pace.apply(recorded('disk-d', 'VolumeMoved', { host: 'h', volumeId: 'v' }));
  assert.equal(pace.step('v'), undefined);
});
