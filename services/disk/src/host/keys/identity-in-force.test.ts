import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { createKeyAccess } from './key-access.ts';

const set = 'set';
const key = { set, keyVersion: 'one' };
const [old, next] = ['principals/old', 'principals/next'];
const deleted = { reason: 'IDENTITY_DELETED', since: 1, traceId: '', accessEpoch: undefined } as const;

/** A host that calls the vault as `old`, in generation 1 of the set. */
const hostAsOld = () => {
  const access = createKeyAccess(virtualClock(), { ttlMs: 10_000 });
  access.inForce(set, { principal: old, generation: 1 });
  const refuse = (principal: string, facts = deleted) =>
    access.lost(key, { ...facts, principal }, { ...access.nextCall(), principal });
  return { access, refuse };
};

test('G7 G10: a refusal to a deleted identity is over when the host calls as the next one', () => {
  const { access, refuse } = hostAsOld();
  const returned: string[] = [];
  access.listen({ returned: ({ keyVersion }) => returned.push(keyVersion) });
  access.restored(key, 8);
  refuse(old);
  assert.equal(access.lossOf(key)?.reason, 'IDENTITY_DELETED', 'until then the host cannot use the key');
  access.inForce('another set', { principal: next, generation: 2 });
  access.inForce(set, { principal: old, generation: 2 });
  assert.equal(access.lossOf(key)?.reason, 'IDENTITY_DELETED', 'only another identity of this set ends it');
  access.inForce(set, { principal: next, generation: 3 });
  assert.equal(access.lossOf(key), undefined);
  assert.deepEqual(returned, ['one']);
});

test('G1: after a refusal to a deleted identity only a grant that was requested later wins the lease of the next one', () => {
  const { access, refuse } = hostAsOld();
  const early = { accessEpoch: 9, sent: access.nextCall(), principal: old };
  refuse(old);
  access.inForce(set, { principal: next, generation: 2 });
  access.granted(key, early, 'unwrapped');
  assert.ok(!access.lease(key).isHeld());
});

test('G10: a late refusal to an earlier identity is no loss, also if a late read says that it is in force', () => {
  const { access, refuse } = hostAsOld();
  access.inForce(set, { principal: next, generation: 2 });
  access.inForce(set, { principal: old, generation: 1 });
  refuse(old);
  assert.equal(access.lossOf(key), undefined);
  refuse(next);
  assert.equal(access.lossOf(key)?.principal, next, 'the identity in force');
});

test('G10: a loss that the set published, and a loss of the key itself, do not end with another identity', () => {
  const published = hostAsOld().access;
  published.lost(key, { ...deleted, principal: old }, 'fact');
  published.inForce(set, { principal: next, generation: 2 });
  assert.equal(published.lossOf(key)?.reason, 'IDENTITY_DELETED', 'the set publishes its end');
  const { access, refuse } = hostAsOld();
  access.lost(key, { ...deleted, reason: 'KEY_DISABLED', accessEpoch: 5 }, { ...access.nextCall(), principal: old });
  // The vault refuses that first, whatever the state of the key.
  refuse(old);
  access.inForce(set, { principal: next, generation: 2 });
  assert.equal(access.lossOf(key)?.reason, 'KEY_DISABLED');
});

test('G7: a loss that the set published before a refusal to a deleted identity does not end with that refusal', () => {
  const { access, refuse } = hostAsOld();
  const returned: string[] = [];
  access.listen({ returned: ({ keyVersion }) => returned.push(keyVersion) });
  // The next identity has no permission yet, and the host still calls as the deleted one.
  access.lost(key, { ...deleted, reason: 'ACCESS_DENIED', accessEpoch: 5 }, 'fact');
  refuse(old);
  refuse(old);
  access.inForce(set, { principal: next, generation: 2 });
  assert.equal(access.lossOf(key)?.reason, 'ACCESS_DENIED', 'the set publishes its end');
  assert.ok(access.isPublished(key));
  assert.deepEqual(returned, []);
  access.restored(key, 6);
  assert.equal(access.lossOf(key), undefined);
  assert.deepEqual(returned, ['one']);
});

test('G5: a loss that the set ended does not come back when a refusal to a deleted identity ends', () => {
  const { access, refuse } = hostAsOld();
  access.lost(key, { ...deleted, reason: 'ACCESS_DENIED', accessEpoch: 5 }, 'fact');
  refuse(old);
  access.restored(key, 6);
  refuse(old);
  access.inForce(set, { principal: next, generation: 2 });
  assert.equal(access.lossOf(key), undefined);
});

test('CMK-39: a set that was created again under its name has its own identity in force', () => {
  const { access, refuse } = hostAsOld();
  access.inForce(set, { principal: next, generation: 7 });
  access.forget(set, () => false);
  access.inForce(set, { principal: old, generation: 1 });
  refuse(old);
  assert.equal(access.lossOf(key)?.principal, old);
});
