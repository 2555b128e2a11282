import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import fc from 'fast-check';
import { rateLimit, tokenBuckets } from './rate-limit.ts';

const someone = { kind: 'managed_identity', name: 'principals/a' } as const;
const other = { kind: 'user', name: 'principals/b' } as const;

/** Milliseconds the refusal asks to wait; undefined when there is none. */
const waitOf = (ask: () => void): number | undefined => {
  try {
    ask();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof Rejection);
    assert.deepEqual([error.code, error.reason], ['RESOURCE_EXHAUSTED', 'THROTTLED']);
    return Number(error.metadata.retryAfterMs);
  }
};

test('KV-95: over the limit the wait told is true: a moment before it no, after it yes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 50 }), async (perSecond, burst) => {
      const clock = virtualClock();
      const limit = rateLimit({ vault: { perSecond, burst } }, clock);
      for (let request = 0; request < burst; request += 1) limit.admitToVault('v');
      const waitMs = waitOf(() => limit.admitToVault('v'));
      assert.ok(waitMs !== undefined && waitMs >= 1 && waitMs <= Math.ceil(1_000 / perSecond));
      if (waitMs > 1) {
        await clock.pass(waitMs - 1);
        assert.equal(
          waitOf(() => limit.admitToVault('v')),
          1,
        );
        await clock.pass(1);
      } else await clock.pass(waitMs);
      limit.admitToVault('v');
    }),
    { numRuns: 50 },
  );
});

test('the average over a long time is the rate, whatever the pattern of requests', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 50, maxLength: 200 }), async (gapsMs) => {
      const clock = virtualClock();
      const buckets = tokenBuckets({ perSecond: 5, burst: 3 }, clock);
      const start = clock.monotonicMs();
      let letIn = 0;
      for (const gapMs of gapsMs) {
        await clock.pass(gapMs);
        if (buckets.take('v') === 0) letIn += 1;
      }
      assert.ok(letIn <= 3 + (5 * (clock.monotonicMs() - start)) / 1_000 + 1e-6);
    }),
    { numRuns: 20 },
  );
});

test('one principal takes nothing from another, and a flood of one kind nothing from the other kinds', () => {
  const limit = rateLimit({ principal: { perSecond: 1, burst: 2 } }, virtualClock());
  for (const kind of ['use', 'check', 'manage'] as const) {
    for (let request = 0; request < 2; request += 1) limit.admit(someone, kind);
    assert.ok(waitOf(() => limit.admit(someone, kind)));
  }
  for (const kind of ['use', 'check', 'manage'] as const) limit.admit(other, kind);
});

test('without limits, and for services of the cloud, everything is let in', () => {
  const clock = virtualClock();
  const open = rateLimit({}, clock);
  const tight = rateLimit({ principal: { perSecond: 1, burst: 1 } }, clock);
  for (let request = 0; request < 1_000; request += 1) {
    open.admit(someone, 'use');
    open.admitToVault('v');
    tight.admit({ kind: 'workload', name: 'principals/disk' }, 'manage');
  }
});

test('names that are idle cost nothing: a million of them leave no more buckets than are busy', async () => {
  const clock = virtualClock();
  const buckets = tokenBuckets({ perSecond: 100, burst: 10 }, clock);
  for (let hundred = 0; hundred < 10_000; hundred += 1) {
    for (let name = 0; name < 100; name += 1) buckets.take(`${hundred}-${name}`);
    await clock.pass(1);
  }
  // A bucket is full again 10 ms after its only request, so 1,000 of them are busy at a time.
  assert.ok(buckets.size() <= 2_000, `${buckets.size()} buckets`);
});
