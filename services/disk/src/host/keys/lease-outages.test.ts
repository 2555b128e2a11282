import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection, StoreUnavailable } from '@interlock/event-store';
import { usableMs } from '@interlock/runtime';
import { key, lossOf, silent, startLoop, terms, ttlMs } from './test-lease-loop.ts';

test('G2: an outage counts as a loss after the grace period, from the end of the lease or earlier loss, until a grant', async () => {
  const { keyAccess, leases, reported, grantOf, userOf, only, pass, setVault, settled, stop } = startLoop();
  const { ttlMs: _ttl, unreachableGraceMs } = terms;
  setVault(() => 7);
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  setVault(silent);
  await pass(usableMs(ttlMs) + unreachableGraceMs - 100);
  assert.deepEqual([only()?.isCountedAsLost, leases.outageOf(key), leases.isAnyOut('set')], [false, undefined, false]);
  await pass(200);
  assert.deepEqual([only()?.isCountedAsLost, leases.isAnyOut('set'), leases.isAnyOut('other')], [true, true, false]);
  assert.deepEqual(leases.outageOf(key), { reason: 'KEY_VAULT_UNREACHABLE', since: only()?.endedAt });
  const { loss, reportedBy } = reported.get('one') ?? {};
  assert.deepEqual([loss?.reason, loss?.accessEpoch, reportedBy], ['KEY_VAULT_UNREACHABLE', 7, 'refusal']);

  keyAccess.lost(key, lossOf(8), 'fact');
  assert.deepEqual([only()?.isCountedAsLost, reported.get('one')?.loss.reason], [false, 'KEY_DISABLED']);
  await pass(2 * unreachableGraceMs);
  assert.equal(only()?.isCountedAsLost, false, 'a known loss is no outage, however long the vault is unreachable');
  keyAccess.restored(key, 8);
  await pass(unreachableGraceMs - 100);
  assert.equal(only()?.isCountedAsLost, false, 'the grace period starts when access is restored');
  assert.equal(reported.has('one'), false);
  await pass(200);
  assert.equal(only()?.isCountedAsLost, true);
  assert.equal(
    reported.get('one')?.loss.accessEpoch,
    3,
    'without a grant the epoch of the last unwrap on record is reported',
  );
  leases.join(key, userOf('later', grantOf(6)).user);
  assert.equal(reported.get('one')?.loss.accessEpoch, 6, 'of all users of the key');
  setVault(() => 8);
  await pass(ttlMs);
  await settled();
  assert.deepEqual([only()?.isCountedAsLost, reported.has('one')], [false, false]);
  stop();
});

for (const [why, error] of [
  ['is deleted', new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'gone')],
  ['moved to another host', new Rejection('FAILED_PRECONDITION', 'DISK_NOT_HERE', 'another host has it')],
] as const)
  test(`CMK-120: an outage is forgotten when the last disk, which was to check the key, ${why}`, async () => {
    const { leases, userOf, pass, setVault, stop } = startLoop();
    const { user } = userOf('one', undefined);
    leases.join(key, user);
    setVault(silent);
    await pass(2 * (ttlMs + terms.unreachableGraceMs));
    leases.leave(key, user);
    assert.notEqual(leases.outageOf(key), undefined);
    setVault(() => error);
    await pass(2 * ttlMs);
    assert.equal(leases.outageOf(key), undefined);
    stop();
  });

test('G3: an outage lasts until the vault replies, although the disk that checked the key last has moved away', async () => {
  const { leases, sent, userOf, pass, setVault, stop } = startLoop();
  const [stays, moves] = [userOf('stays', undefined).user, userOf('moves', undefined).user];
  for (const user of [stays, moves]) leases.join(key, user);
  setVault(silent);
  await pass(2 * (ttlMs + terms.unreachableGraceMs));
  for (const user of [stays, moves]) leases.leave(key, user);
  const moved = new Rejection('FAILED_PRECONDITION', 'DISK_NOT_HERE', 'another host has it');
  setVault((by) => (by === 'moves' ? moved : silent()));
  await pass(4 * ttlMs);
  assert.notEqual(leases.outageOf(key), undefined);
  assert.equal(sent.at(-1)?.by, 'stays');
  setVault(() => 9);
  await pass(2 * ttlMs);
  assert.equal(leases.outageOf(key), undefined);
  stop();
});

test('G3, G10: local failures are no outage of the vault, and the grace period of a later outage starts with that outage', async () => {
  const { leases, reported, userOf, only, pass, setVault, stop } = startLoop();
  const { unreachableGraceMs } = terms;
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  // The store of the host, or the header of the only disk under the key, is unavailable.
  for (const own of [
    new StoreUnavailable('no answer'),
    new Rejection('UNAVAILABLE', 'DISK_HOST_LEASE_OVER', 'not renewed'),
    new Rejection('DATA_LOSS', 'HEADER_CORRUPT', 'damaged'),
  ]) {
    setVault(() => own);
    await pass(2 * (ttlMs + unreachableGraceMs));
    assert.equal(only()?.lease.isHeld(), false);
    assert.deepEqual([only()?.isCountedAsLost, leases.outageOf(key), reported.size], [false, undefined, 0]);
  }
  setVault(silent);
  await pass(unreachableGraceMs - 100);
  assert.equal(only()?.isCountedAsLost, false);
  await pass(ttlMs);
  assert.deepEqual([only()?.isCountedAsLost, reported.get('one')?.loss.reason], [true, 'KEY_VAULT_UNREACHABLE']);
  stop();
});
