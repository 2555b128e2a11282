import assert from 'node:assert/strict';
import { test } from 'node:test';
import { after, before, checkedPolicy, noticeTime, rotationTime, type WrittenPolicy } from './rotation-policy.ts';

const none: WrittenPolicy = { rotateAfterCreate: '', rotateBeforeExpiry: '', notifyBeforeExpiry: '', expiryTime: '' };
const policy = (given: Partial<WrittenPolicy>) => checkedPolicy({ ...none, ...given });
const at = Date.UTC(2026, 0, 31);
const day = 86_400_000;

test('KV-50: durations are calendar months and days', () => {
  const span = policy({ expiryTime: 'p1y1m1w2d' })?.expiryTime;
  assert.deepEqual(span, { text: 'P1Y1M1W2D', months: 13, ms: 9 * day });
  assert.equal(after(at, { text: '', months: 1, ms: 0 }), Date.UTC(2026, 1, 28));
  assert.equal(before(at, { text: '', months: 2, ms: day }), Date.UTC(2025, 10, 29));
});

test('KV-51, KV-52: a policy is refused if a time does not fit its expiry time, or needs an expiry time that is missing', () => {
  for (const given of [
    { rotateAfterCreate: 'P6D' },
    { rotateAfterCreate: 'P90D', rotateBeforeExpiry: 'P30D', expiryTime: 'P2Y' },
    { rotateBeforeExpiry: 'P30D' },
    { notifyBeforeExpiry: 'P10D' },
    { expiryTime: 'P27D' },
    { expiryTime: 'P28D', rotateAfterCreate: 'P22D' },
    { expiryTime: 'P28D', rotateBeforeExpiry: 'P22D' },
    { expiryTime: 'PT5M' },
    { expiryTime: 'P' },
    { expiryTime: 'P9999Y' },
  ])
    assert.throws(() => policy(given), { reason: 'ROTATION_POLICY_INVALID' }, JSON.stringify(given));
  assert.equal(policy({ notifyBeforeExpiry: 'P30D' }), undefined, 'the default says nothing');
  assert.ok(policy({ expiryTime: 'P28D', rotateAfterCreate: 'P21D', notifyBeforeExpiry: 'P27D' }));
});

test('KV-52: a key rotates after its creation or before its expiry; a disabled version is not rotated', () => {
  const current = { enabled: true, createdAt: at, expiresAt: at + 100 * day };
  const afterCreate = policy({ rotateAfterCreate: 'P10D' });
  const beforeExpiry = policy({ rotateBeforeExpiry: 'P10D', expiryTime: 'P60D' });
  assert.equal(rotationTime(afterCreate, current), at + 10 * day);
  assert.equal(rotationTime(beforeExpiry, current), at + 90 * day);
  assert.equal(rotationTime(beforeExpiry, { enabled: true, createdAt: at }), undefined);
  assert.equal(rotationTime(afterCreate, { ...current, enabled: false }), undefined);
  assert.equal(rotationTime(undefined, current), undefined);
});

test('KV-51: notice of an expiry comes 30 days before it unless the policy says otherwise', () => {
  const expiresAt = at + 100 * day;
  assert.equal(noticeTime(undefined, { expiresAt }), at + 70 * day);
  assert.equal(noticeTime(policy({ notifyBeforeExpiry: 'P10D', expiryTime: 'P60D' }), { expiresAt }), at + 90 * day);
  assert.equal(noticeTime(undefined, {}), undefined);
});
