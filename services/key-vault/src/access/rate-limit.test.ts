import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import fc from 'fast-check';
import { RateLimit } from './rate-limit.ts';

const someone = { kind: 'managed_identity', name: 'principals/a' } as const;
const other = { kind: 'user', name: 'principals/b' } as const;

/** Milliseconds to wait, from the refusal; undefined if the call is admitted. */
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

test('KV-95: a throttled call succeeds after the stated wait, and not a millisecond earlier', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 50 }), async (perSecond, burst) => {
      const clock = virtualClock();
      const limit = new RateLimit({ vault: { perSecond, burst } }, clock);
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

test('the calls of one principal do not use the limit of another; each kind of call has its own limit', () => {
  const limit = new RateLimit({ principal: { perSecond: 1, burst: 2 } }, virtualClock());
  for (const kind of ['use', 'check', 'manage'] as const) {
    for (let request = 0; request < 2; request += 1) limit.admit(someone, kind);
    assert.ok(waitOf(() => limit.admit(someone, kind)));
  }
  for (const kind of ['use', 'check', 'manage'] as const) limit.admit(other, kind);
});

test('no call is throttled if there are no limits, and no call by a cloud service', () => {
  const clock = virtualClock();
  const open = new RateLimit({}, clock);
  const tight = new RateLimit({ principal: { perSecond: 1, burst: 1 } }, clock);
  for (let request = 0; request < 1_000; request += 1) {
    open.admit(someone, 'use');
    open.admitToVault('v');
    tight.admit({ kind: 'workload', name: 'principals/disk' }, 'manage');
  }
});
