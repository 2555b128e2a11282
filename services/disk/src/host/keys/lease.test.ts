import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ageMs, readingOf, usableMs, virtualClock } from '@interlock/runtime';
import fc from 'fast-check';
import { createKeyAccess } from './key-access.ts';
import { type KeyGrant, type LeaseWatch, nextStep, pacing, type SentCall } from './lease.ts';

const key = { set: 'set', keyVersion: 'version' };

const principal = 'principals/one';

/** What can happen to a lease. `question` selects one of the requests so far. */
type Happening =
  | { readonly type: 'check' }
  | { readonly type: 'renew'; readonly epoch: number; readonly afterMs: number }
  | { readonly type: 'yes'; readonly question: number; readonly epoch: number; readonly proof: 'unwrapped' | 'stated' }
  | { readonly type: 'no'; readonly question: number; readonly epoch: number | undefined }
  | { readonly type: 'fact'; readonly epoch: number }
  | { readonly type: 'restored'; readonly epoch: number }
  | { readonly type: 'pass' | 'suspend'; readonly ms: number };

const epoch = fc.integer({ min: 1, max: 8 });
const question = fc.nat({ max: 7 });
const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('check' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant('renew' as const), epoch, afterMs: fc.constantFrom(0, 0, 300, 700) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('yes' as const),
      question,
      epoch,
      proof: fc.constantFrom('unwrapped', 'unwrapped', 'stated'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('no' as const),
      question,
      epoch: fc.option(epoch, { nil: undefined, freq: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('fact' as const), epoch }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('restored' as const), epoch }) },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constantFrom('pass' as const, 'suspend' as const),
      ms: fc.integer({ min: 0, max: 400 }),
    }),
  },
);

interface Heard {
  readonly order: number;
  readonly epoch: number | undefined;
  /** Whether a grant at least as new, or a later loss, arrived before: then the time of receipt does not matter. */
  readonly wasOver: boolean;
}

test('G1: a lease is held only by a grant with an unwrap, within the lease time by both clocks, that no loss concerns', async () => {
  const ttlMs = 1_000;
  let held = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { maxLength: 60 }), async (happenings) => {
      const clock = virtualClock();
      const access = createKeyAccess(clock, { ttlMs });
      const questions: SentCall[] = [];
      const yeses: (KeyGrant & { readonly proof: string })[] = [];
      const losses: Heard[] = [];
      const granted = () => Math.max(0, ...yeses.map(({ accessEpoch }) => accessEpoch));
      for (const one of happenings) {
        if (one.type === 'check' || one.type === 'renew') questions.push(access.nextCall());
        const renewal = one.type === 'renew' ? questions.at(-1) : undefined;
        if (one.type === 'renew' && renewal) {
          await clock.pass(one.afterMs);
          const grant = { accessEpoch: one.epoch, sent: renewal, principal };
          access.granted(key, grant, 'unwrapped');
          yeses.push({ ...grant, proof: 'unwrapped' });
        }
        if (one.type === 'pass') await clock.pass(one.ms);
        if (one.type === 'suspend') clock.suspend(one.ms);
        // The set calls the vault before it publishes this, so the epoch is not lower than that of any loss.
        const highest = Math.max(0, ...losses.map((loss) => loss.epoch ?? 0));
        if (one.type === 'restored') access.restored(key, Math.max(one.epoch, highest));
        if (one.type === 'yes' || one.type === 'no') {
          const sent = questions.at(-1 - one.question);
          if (!sent) continue;
          if (one.type === 'yes') {
            const grant = { accessEpoch: one.epoch, sent, principal };
            access.granted(key, grant, one.proof);
            yeses.push({ ...grant, proof: one.proof });
          } else {
            const before = access.nextCall().order;
            const wasOver = one.epoch !== undefined && (one.epoch <= granted() || one.epoch < highest);
            access.lost(
              key,
              { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: one.epoch },
              { ...sent, principal },
            );
            losses.push({ order: before, epoch: one.epoch, wasOver });
          }
        }
        if (one.type === 'fact') {
          const before = access.nextCall().order;
          const wasOver = one.epoch <= granted() || one.epoch < highest;
          access.lost(key, { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: one.epoch }, 'fact');
          losses.push({ order: before, epoch: one.epoch, wasOver });
        }

        if (!access.lease(key).isHeld()) continue;
        held += 1;
        const now = readingOf(clock);
        const isGood = yeses.some(
          ({ proof, accessEpoch, sent }) =>
            proof === 'unwrapped' &&
            ageMs(sent.at, now) < ttlMs &&
            losses.every(
              (loss) =>
                (loss.epoch === undefined || accessEpoch >= loss.epoch) && (loss.wasOver || sent.order > loss.order),
            ),
        );
        assert.ok(isGood, 'a valid grant supports the lease');
        assert.equal(access.lossOf(key), undefined, 'a lost lease is not held');
      }
    }),
    { numRuns: 8_000 },
  );
  assert.ok(held > 500, `the histories have held leases: ${held}`);
});

test('G1: no wait goes beyond the end of the lease, and a due check is made', () => {
  const watch: fc.Arbitrary<LeaseWatch> = fc.record({
    leftMs: fc.option(fc.integer({ min: -50, max: 100 }), { nil: undefined }),
    isEnded: fc.boolean(),
    outageInMs: fc.option(fc.integer({ min: -50, max: 100 }), { nil: undefined }),
    checkInMs: fc.integer({ min: -50, max: 100 }),
    questions: fc.nat({ max: 3 }),
  });
  fc.assert(
    fc.property(watch, (seen) => {
      const step = nextStep(seen);
      const isOver = !seen.isEnded && (seen.leftMs === undefined || seen.leftMs <= 0);
      assert.equal(step.do === 'end', isOver);
      const isDue = seen.checkInMs <= 0 && seen.questions < 3;
      if (step.do === 'check') assert.ok(isDue);
      if (step.do !== 'wait') return;
      assert.ok(!isDue);
      if (seen.questions < 3) assert.ok(step.forMs <= seen.checkInMs);
      assert.ok(step.forMs > 0);
      if (!seen.isEnded && seen.leftMs !== undefined) assert.ok(step.forMs <= seen.leftMs);
      if (seen.outageInMs !== undefined) assert.ok(step.forMs <= seen.outageInMs);
    }),
  );
});

test('G1: at every allowed lease time, two lost responses still leave time to renew the lease', () => {
  for (const ttlMs of [1_000, 2_000, 10_000, 60_000, 3_600_000]) {
    for (const chance of [0, 0.5, 0.999]) {
      const renewMs = pacing.renewMs(ttlMs, chance);
      assert.ok(renewMs > ttlMs * 0.33 && renewMs < ttlMs * 0.5);
      assert.ok(renewMs + 2 * pacing.besideMs(ttlMs) < 0.8 * usableMs(ttlMs), 'responses that never arrive');
      const refusedMs = pacing.retryMs(ttlMs, 1, chance) + pacing.retryMs(ttlMs, 2, chance);
      assert.ok(renewMs + refusedMs < 0.8 * usableMs(ttlMs), 'an unreachable vault');
    }
    assert.ok(pacing.deadlineMs(ttlMs) <= ttlMs / 2, 'a response within the deadline leaves at least half a lease');
    assert.ok(usableMs(ttlMs) < ttlMs && usableMs(ttlMs) > ttlMs * 0.99);
  }
});

test('retries of an unreachable vault back off up to a sixth of the lease time, at most five seconds', () => {
  for (const chance of [0, 0.999]) {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8].map(
      (failures) => pacing.retryMs(60_000, failures, chance) / (0.5 + chance / 2),
    );
    assert.deepEqual(waits.map(Math.round), [500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000]);
  }
  assert.ok(pacing.retryMs(60_000, 1, 0) < pacing.retryMs(60_000, 1, 0.9), 'by chance');
  assert.equal(pacing.retryMs(6_000, 9, 1), 1_000);
});

test('a refused key is checked again after half to one lease time', () => {
  assert.deepEqual(
    [0, 0.5, 1].map((chance) => pacing.lostMs(60_000, chance)),
    [30_000, 45_000, 60_000],
  );
});

test('a call has a deadline of 10 s, at most half a lease; a second call follows after 2.5 s, at most an eighth', () => {
  assert.deepEqual([pacing.deadlineMs(60_000), pacing.deadlineMs(4_000)], [10_000, 2_000]);
  assert.deepEqual([pacing.besideMs(60_000), pacing.besideMs(4_000)], [2_500, 500]);
});
