import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { rateOf, tokenBuckets } from './token-buckets.ts';
import { virtualClock } from './virtual-clock.ts';

test('under any pattern of requests, at most the burst plus the rate over time is granted', async () => {
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

test('buckets of idle names are dropped: after a million names, few are left', async () => {
  const clock = virtualClock();
  const buckets = tokenBuckets({ perSecond: 100, burst: 10 }, clock);
  for (let hundred = 0; hundred < 10_000; hundred += 1) {
    for (let name = 0; name < 100; name += 1) buckets.take(`${hundred}-${name}`);
    await clock.pass(1);
  }
  // A bucket is full again 10 ms after its only request, so 1,000 of them are busy at a time.
  assert.ok(buckets.size() <= 2_000, `${buckets.size()} buckets`);
});

test('a returned token can be taken again, and a bucket never holds more than its burst', () => {
  const buckets = tokenBuckets({ perSecond: 1, burst: 2 }, virtualClock());
  assert.deepEqual([buckets.take('v'), buckets.take('v')], [0, 0]);
  assert.ok(buckets.take('v') > 0);
  buckets.refund('v');
  assert.equal(buckets.take('v'), 0);
  for (let count = 0; count < 5; count += 1) buckets.refund('v');
  assert.deepEqual([buckets.take('v'), buckets.take('v')], [0, 0]);
  assert.ok(buckets.take('v') > 0);
  buckets.refund('unknown');
});

test('a rate of 0 means no limit, and a burst of 0 means that of ten seconds', () => {
  assert.deepEqual(
    [rateOf(0, 5), rateOf(3, 0), rateOf(3, 5)],
    [undefined, { perSecond: 3, burst: 30 }, { perSecond: 3, burst: 5 }],
  );
});
