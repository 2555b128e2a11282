import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS, RpcFailure } from '@interlock/rpc';
import { usableMs } from '@interlock/runtime';
import { key, lossOf, principal, silent, startLoop, ttlMs } from './test-lease-loop.ts';

test('G1: when a lease ends, every user that has a data key drops it, except pinned disks', async () => {
  const { keyAccess, leases, grantOf, userOf, pass, setVault, stop } = startLoop();
  const grant = grantOf(4);
  keyAccess.granted(key, grant, 'unwrapped');
  const [open, pinned, without] = [userOf('open', grant), userOf('ultra', grant, true), userOf('closed', undefined)];
  for (const { user } of [open, pinned, without]) leases.join(key, user);
  setVault(silent);
  await pass(usableMs(ttlMs) - 1);
  assert.deepEqual(
    [open, pinned, without].flatMap(({ dropped }) => dropped),
    [],
  );
  await pass(2);
  assert.deepEqual(
    [open, pinned, without].map(({ dropped }) => dropped),
    [['ended'], [], []],
  );
  stop();
});

test('G1, G3: a loss drops data keys that were unwrapped before it, even if a newer grant has already ended it', async () => {
  const { keyAccess, leases, grantOf, userOf, stop } = startLoop();
  const [early, late] = [grantOf(4), grantOf(9)];
  keyAccess.granted(key, late, 'unwrapped');
  const [hit, spared, pinned] = [userOf('early', early), userOf('late', late), userOf('ultra', early, true)];
  for (const { user } of [hit, spared, pinned]) leases.join(key, user);
  keyAccess.lost(key, lossOf(5), 'fact');
  assert.deepEqual(
    [hit, spared, pinned].map(({ dropped }) => dropped),
    [['lost'], [], []],
  );
  assert.ok(keyAccess.lease(key).isHeld(), 'and the lease continues');
  assert.equal(leases.list()[0]?.endedAt, undefined);
  stop();
});

test('renewals keep the start of a lease, repeated refusals keep its end, and a grant after a loss starts it again', async () => {
  const { clock, keyAccess, leases, sent, userOf, only, pass, setVault, stop } = startLoop();
  const { user } = userOf('open', undefined);
  leases.join(key, user);
  await pass(1);
  const wonAt = only()?.wonAt;
  assert.equal(wonAt, clock.now() - 1);
  await pass(3 * ttlMs);
  assert.equal(only()?.wonAt, wonAt);
  keyAccess.lost(key, lossOf(5), 'fact');
  const endedAt = clock.now();
  assert.deepEqual([only()?.wonAt, only()?.endedAt], [undefined, endedAt]);
  setVault(() => new Rejection('FAILED_PRECONDITION', 'KEY_DELETED', 'gone'));
  await pass(3 * ttlMs);
  assert.equal(only()?.endedAt, endedAt, 'the end stays the same');
  const before = sent.length;
  keyAccess.restored(key, 9);
  assert.equal(only()?.endedAt, clock.now(), 'without a loss, the outage starts now');
  await pass(1);
  assert.equal(sent.length, before + 1, 'the vault is called at once');
  setVault(() => 10);
  await pass(ttlMs);
  assert.ok((only()?.wonAt ?? 0) > endedAt);
  assert.equal(only()?.endedAt, undefined);
  stop();
});

test('G2: a lease that is held when its first user joins starts then, and is renewed when its grant is old enough', async () => {
  const { clock, keyAccess, leases, sent, grantOf, userOf, only, pass, stop } = startLoop();
  keyAccess.granted(key, grantOf(4), 'unwrapped');
  await pass(1_000);
  leases.join(key, userOf('open', undefined).user);
  assert.equal(only()?.wonAt, clock.now());
  await pass(ttlMs / 3 - 1_001);
  assert.deepEqual(sent, []);
  await pass(ttlMs / 6 + 2);
  assert.equal(sent.length, 1);
  stop();
});

test('renewals are timed from the request, so a slow response does not delay the next one', async () => {
  const { leases, sent, userOf, pass, setVault, waitsFrom, stop } = startLoop();
  setVault(() => 4, 1_200);
  leases.join(key, userOf('open', undefined).user);
  await pass(10 * ttlMs);
  assert.ok(sent.length > 15);
  for (const ms of waitsFrom(1)) assert.ok(ms >= ttlMs / 3 && ms <= ttlMs / 2, `${ms}`);
  stop();
});

test('calls go through all users in turn, and up to three run at once if a response does not arrive', async () => {
  const { leases, sent, userOf, pass, setVault, waitsFrom, stop } = startLoop();
  for (const name of ['a', 'b', 'c']) leases.join(key, userOf(name, undefined).user);
  await pass(6 * ttlMs);
  assert.deepEqual(
    sent.slice(1, 7).map(({ by }) => by),
    ['a', 'b', 'c', 'a', 'b', 'c'],
  );
  const before = sent.length;
  setVault(() => 4, 100_000);
  await pass(2 * ttlMs);
  assert.equal(sent.length - before, 3, 'three at once, and no more');
  assert.deepEqual(waitsFrom(before), [ttlMs / 8, ttlMs / 8]);
  stop();
});

test('G1: an unreachable vault is retried soon, with growing intervals, and as soon as at first after a response', async () => {
  const { leases, sent, logged, userOf, only, pass, setVault, waitsFrom, stop } = startLoop();
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  for (let outage = 0; outage < 2; outage += 1) {
    const first = sent.length;
    setVault(silent);
    await pass(2 * ttlMs);
    const [soon = 0, later = 0] = waitsFrom(first);
    assert.ok(soon <= ttlMs / 24, `${soon} after the first failure`);
    assert.ok(later > soon, `${later} after the second`);
    for (const late of waitsFrom(first).slice(4)) assert.ok(late >= ttlMs / 12, `${late}, also when the lease ends`);
    assert.equal(only()?.unanswered?.why, 'DEPENDENCY_UNAVAILABLE');
    assert.equal(
      logged.filter((line) => line.includes('did not reply about a lease')).length,
      outage + 1,
      'logged once',
    );
    setVault(() => 4);
    await pass(ttlMs / 3);
    assert.equal(only()?.unanswered, undefined);
  }
  stop();
});

test('the retry delay that a throttling vault requests is respected, up to a sixth of the lease time', async () => {
  for (const [sentMs, waitMs] of [
    [1_500, 1_500],
    [600_000, ttlMs / 6],
    ['a while', undefined],
  ] as const) {
    const { leases, sent, userOf, pass, setVault, waitsFrom, stop } = startLoop();
    leases.join(key, userOf('open', undefined).user);
    await pass(1);
    const first = sent.length;
    const cause = new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', 'slower', { [RETRY_AFTER_MS]: String(sentMs) });
    setVault(() => new Rejection('UNAVAILABLE', 'THROTTLED', 'slower', {}, { cause }));
    await pass(ttlMs);
    if (waitMs === undefined) assert.ok(waitsFrom(first).length > 2, 'without a number the usual retry applies');
    else assert.equal(waitsFrom(first)[0], waitMs);
    stop();
  }
});

test('a refusal is a response: it ends the outage, is not logged, and the next call comes after half a lease or more', async () => {
  const { leases, sent, logged, userOf, only, pass, setVault, waitsFrom, stop } = startLoop();
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  setVault(() => new RpcFailure('DEADLINE_EXCEEDED', 'CheckAccess', 'key-vault', 'late'));
  await pass(ttlMs / 2);
  assert.equal(only()?.unanswered?.why, 'DEADLINE_EXCEEDED');
  const told = logged.length;
  setVault(() => new Rejection('FAILED_PRECONDITION', 'KEY_DELETED', 'gone'));
  await pass(ttlMs / 6 + 1);
  const first = sent.length - 1;
  await pass(5 * ttlMs);
  assert.deepEqual([only()?.unanswered, logged.length], [undefined, told]);
  for (const ms of waitsFrom(first)) assert.ok(ms >= ttlMs / 2 && ms <= ttlMs, `${ms}`);
  stop();
});

test('G2: a loss is reported with its source while the key has users, and the report ends with the last user', async () => {
  const { keyAccess, leases, reported, userOf, stop } = startLoop();
  const [one, other] = [userOf('one', undefined).user, userOf('other', undefined).user];
  keyAccess.lost(key, lossOf(5), 'fact');
  assert.equal(reported.size, 0);
  leases.join(key, one);
  assert.equal(reported.get('one')?.loss.accessEpoch, 5);
  leases.join(key, other);
  leases.leave(key, one);
  assert.equal(leases.list().length, 1);
  keyAccess.lost(key, lossOf(6), { ...keyAccess.nextCall(), principal });
  assert.deepEqual([reported.get('one')?.loss.accessEpoch, reported.get('one')?.reportedBy], [6, 'refusal']);
  leases.leave(key, other);
  assert.deepEqual([reported.size, leases.list()], [0, []]);
  stop();
});

test('a suspended machine checks at once when it wakes, and resolves the waits for a change', async () => {
  const { clock, keyAccess, leases, sent, userOf, only, pass, settled, stop } = startLoop();
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  clock.suspend(2 * ttlMs);
  assert.equal(only()?.lease.isHeld(), false);
  const before = sent.length;
  let isReported = false;
  const waiting = leases.changed(key, 60_000, new AbortController().signal).then(() => {
    isReported = true;
  });
  await settled();
  assert.ok(isReported && sent.length === before + 1);
  await waiting;
  assert.ok(keyAccess.lease(key).isHeld());
  const started = clock.monotonicMs();
  await clock.drive(leases.changed(key, 700, new AbortController().signal));
  assert.equal(clock.monotonicMs() - started, 700, 'nothing changes meanwhile');
  stop();
});

test('leases are listed in the order of their names', async () => {
  const { leases, userOf, stop } = startLoop();
  for (const keyVersion of ['two', 'one', 'three']) leases.join({ ...key, keyVersion }, userOf('open', undefined).user);
  assert.deepEqual(
    leases.list().map(({ lease }) => lease.key.keyVersion),
    ['one', 'three', 'two'],
  );
  stop();
});
