import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Grant } from '@interlock/access';
import { virtualClock } from '@interlock/runtime';
import { createKeyAccess as createOver } from './key-access.ts';
import type { KeyGrant, Refused, SentCall } from './lease.ts';

const ttlMs = 10_000;
const createKeyAccess = (clock = virtualClock()) => createOver(clock, { ttlMs });

const key = { set: 'set', keyVersion: 'one' };
const loss = (accessEpoch: number | undefined) =>
  ({ reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch }) as const;

const principal = 'principals/one';
const refused = (sent: SentCall, as = principal): Refused => ({ ...sent, principal: as });

test('CMK-112: a loss concerns only unwraps at an earlier epoch under the same set and key version', () => {
  const access = createKeyAccess();
  const dropped: boolean[] = [];
  const grant: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal };
  access.listen({ lost: (lost, concerns) => dropped.push(lost.keyVersion === 'one' && concerns(grant)) });
  access.lost(key, loss(5), 'fact');
  assert.deepEqual(dropped, [true]);
  assert.equal(access.lossConcerning(key, grant)?.reason, 'KEY_DISABLED');
  assert.equal(access.lossConcerning(key, { ...grant, accessEpoch: 5 }), undefined);
  assert.equal(access.lossOf({ ...key, keyVersion: 'two' }), undefined);
  assert.equal(access.lossOf({ ...key, set: 'other' }), undefined);
});

test('listeners receive a grant for many disks once, and also the next grant and the first one after a loss', async () => {
  const clock = virtualClock();
  const access = createKeyAccess(clock);
  const told: number[] = [];
  access.listen({ held: (_key, grant) => told.push(grant.sent.order) });
  const first: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal };
  for (let disk = 0; disk < 3; disk += 1) access.granted(key, { ...first }, 'unwrapped');
  assert.deepEqual(told, [first.sent.order]);
  await clock.drive(clock.sleep(1));
  const next: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal };
  access.granted(key, next, 'unwrapped');
  access.lost(key, loss(undefined), refused(first.sent));
  const last: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal };
  access.granted(key, last, 'unwrapped');
  access.granted(key, last, 'unwrapped');
  assert.deepEqual(
    told,
    [first, next, last].map(({ sent }) => sent.order),
  );
  assert.ok(access.lease(key).isHeld());
});

test('a late loss does not concern an unwrap at a higher epoch, and is not in force', () => {
  const access = createKeyAccess();
  const grant: KeyGrant = { accessEpoch: 9, sent: access.nextCall(), principal };
  access.granted(key, grant, 'unwrapped');
  access.lost(key, loss(5), 'fact');
  assert.equal(access.lossConcerning(key, grant), undefined);
  assert.equal(access.lossOf(key), undefined);
});

test('G3: the deletion of an identity concerns every grant to that identity, and no grant to another', () => {
  const access = createKeyAccess();
  const old: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal: 'principals/old' };
  const later = { monotonicMs: 1, bootMs: 1 };
  const next: KeyGrant = { accessEpoch: 6, sent: { ...access.nextCall(), at: later }, principal: 'principals/next' };
  access.granted(key, old, 'unwrapped');
  access.granted(key, next, 'unwrapped');
  const hit: boolean[] = [];
  access.listen({ lost: (_key, concerns) => hit.push(concerns(old), concerns(next)) });
  const end = { ...loss(Number.MAX_SAFE_INTEGER), reason: 'IDENTITY_DELETED', principal: 'principals/old' } as const;
  access.lost(key, end, 'fact');
  assert.deepEqual(hit, [true, false]);
  assert.equal(access.lossOf(key), undefined, 'the set has access');
  assert.ok(access.lease(key).isHeld());
  const renewed = { ...access.nextCall(), at: { monotonicMs: 2, bootMs: 2 } };
  access.granted(key, { ...next, accessEpoch: 7, sent: renewed }, 'unwrapped');
  assert.equal(access.lease(key).grant()?.accessEpoch, 7, 'and the lease is renewed');
});

test('G5: after an identity is deleted, the first grant to another one wins the lease, without a fact of the set', () => {
  const access = createKeyAccess();
  access.granted(key, { accessEpoch: 4, sent: access.nextCall(), principal: 'principals/old' }, 'unwrapped');
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), principal: 'principals/old' }, 'fact');
  assert.equal(access.lease(key).isHeld(), false);
  access.granted(key, { accessEpoch: 6, sent: access.nextCall(), principal: 'principals/old' }, 'unwrapped');
  assert.equal(access.lease(key).isHeld(), false, 'a grant to the deleted identity does not win it');
  access.granted(key, { accessEpoch: 6, sent: access.nextCall(), principal: 'principals/next' }, 'unwrapped');
  assert.equal(access.lossOf(key), undefined);
  assert.ok(access.lease(key).isHeld());
});

test('G10: the deletion of an identity without a grant is the loss reason, whatever an earlier identity was granted', () => {
  const access = createKeyAccess();
  const end = (principal: string) => ({ ...loss(Number.MAX_SAFE_INTEGER), principal }) as const;
  access.granted(key, { accessEpoch: 4, sent: access.nextCall(), principal: 'principals/old' }, 'unwrapped');
  access.lost(key, end('principals/old'), 'fact');
  access.lost(key, { ...end('principals/next'), reason: 'IDENTITY_DELETED' }, 'fact');
  assert.equal(access.lossOf(key)?.reason, 'IDENTITY_DELETED');
});

test('G2, G10: the deletion of an identity of which this host knows nothing is in force, whatever it was granted as an earlier one', () => {
  const access = createKeyAccess();
  const end = { ...loss(Number.MAX_SAFE_INTEGER), reason: 'IDENTITY_DELETED', principal: 'principals/next' } as const;
  access.granted(key, { accessEpoch: 4, sent: access.nextCall(), principal: 'principals/old' }, 'unwrapped');
  access.lost(key, end, 'fact');
  assert.equal(access.lossOf(key)?.reason, 'IDENTITY_DELETED');
  access.granted(key, { accessEpoch: 5, sent: access.nextCall(), principal: 'principals/third' }, 'unwrapped');
  assert.equal(access.lossOf(key), undefined, 'and over with a later grant to another one');
});

test('G10: a late refusal to a deleted identity does not replace the loss that the set published', () => {
  const access = createKeyAccess();
  // After a restart the host remembers the last loss that the set published, but not the identity deletion before it.
  access.lost(key, { ...loss(8), reason: 'KEY_PURGED', since: 1, traceId: 'purge' }, 'fact');
  const late = {
    ...loss(undefined),
    reason: 'IDENTITY_DELETED',
    since: 2,
    traceId: 'end',
    principal: 'principals/old',
  } as const;
  access.lost(key, late, { ...access.nextCall(), principal: 'principals/old' });
  const { reason, since, traceId } = access.lossOf(key) ?? {};
  assert.deepEqual([reason, since, traceId], ['KEY_PURGED', 1, 'purge']);
});

test('G10: a loss published after the identity was deleted concerns the next identity and is in force', () => {
  const access = createKeyAccess();
  const end = { ...loss(Number.MAX_SAFE_INTEGER), principal: 'principals/old' } as const;
  access.lost(key, end, 'fact');
  access.lost(key, { ...loss(8), reason: 'ACCESS_DENIED' }, 'fact');
  assert.equal(access.lossOf(key)?.reason, 'ACCESS_DENIED');
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  access.restored(key, 9);
  assert.equal(access.lossOf(key), undefined);
});

/** A key of a set that published the deletion of its identity `old` and has `next` since. */
const replaced = () => {
  const access = createKeyAccess();
  const [old, next] = ['principals/old', 'principals/next'] as const;
  const sent = access.nextCall();
  access.granted(key, { accessEpoch: 4, sent, principal: old }, 'unwrapped');
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), reason: 'IDENTITY_DELETED', principal: old }, 'fact');
  return { access, old, next };
};

test('G10: a refusal to a deleted identity does not concern the next identity, unless the key itself is disabled', () => {
  const { access, old } = replaced();
  const end = { ...loss(undefined), reason: 'IDENTITY_DELETED', principal: old } as const;
  access.lost(key, { ...loss(8), reason: 'ACCESS_DENIED' }, 'fact');
  access.lost(key, end, refused(access.nextCall(), old));
  assert.equal(
    access.lossOf(key)?.reason,
    'ACCESS_DENIED',
    'the loss that the set published for the next identity stays',
  );
  access.restored(key, 9);
  access.lost(key, end, refused(access.nextCall(), old));
  access.lost(key, { ...loss(12), reason: 'ACCESS_DENIED' }, refused(access.nextCall(), old));
  assert.equal(
    access.lossOf(key),
    undefined,
    'access is restored, though this host still calls as the deleted identity',
  );
  access.lost(key, { ...loss(13), reason: 'KEY_DISABLED' }, refused(access.nextCall(), old));
  assert.equal(access.lossOf(key)?.reason, 'KEY_DISABLED', 'the key is disabled for every identity');
});

test('G1: a grant to a deleted identity never wins a lease, even after the next identity has access', () => {
  const { access, old, next } = replaced();
  access.restored(key, 9);
  access.granted(key, { accessEpoch: 10, sent: access.nextCall(), principal: old }, 'unwrapped');
  assert.equal(access.lease(key).isHeld(), false);
  access.granted(key, { accessEpoch: 10, sent: access.nextCall(), principal: next }, 'unwrapped');
  assert.ok(access.lease(key).isHeld());
});

test('G1: an identity counts as deleted if the set publishes it, not if the vault refuses with IDENTITY_DELETED', () => {
  const access = createKeyAccess();
  const end = { ...loss(undefined), reason: 'IDENTITY_DELETED', principal } as const;
  access.lost(key, end, refused(access.nextCall()));
  access.granted(key, { accessEpoch: 4, sent: access.nextCall(), principal }, 'unwrapped');
  assert.ok(access.lease(key).isHeld());
});

test('G3: a late identity deletion is not in force if the next identity has a grant, even at a lower epoch', () => {
  const access = createKeyAccess();
  access.granted(key, { accessEpoch: 6, sent: access.nextCall(), principal: 'principals/old' }, 'unwrapped');
  access.granted(key, { accessEpoch: 5, sent: access.nextCall(), principal: 'principals/next' }, 'unwrapped');
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), principal: 'principals/old' }, 'fact');
  assert.equal(access.lossOf(key), undefined);
});

test('a late loss still concerns a DEK that was unwrapped before it', () => {
  const access = createKeyAccess();
  const early = access.nextCall();
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  const hit: boolean[] = [];
  access.listen({ lost: (_key, concerns) => hit.push(concerns({ accessEpoch: 4, sent: early, principal })) });
  access.lost(key, loss(5), 'fact');
  assert.deepEqual(hit, [true]);
});

test('a grant requested before a loss arrived does not end that loss; a later one does', () => {
  const access = createKeyAccess();
  const sent = access.nextCall();
  access.lost(key, loss(undefined), refused(access.nextCall()));
  access.granted(key, { accessEpoch: 100, sent, principal }, 'unwrapped');
  assert.equal(access.lossOf(key)?.reason, 'KEY_DISABLED');
  access.granted(key, { accessEpoch: 100, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(access.lossOf(key), undefined);
});

test('G1: an early grant at a higher epoch does not end a loss, and wins no lease after another grant has ended it', () => {
  const access = createKeyAccess();
  const early: KeyGrant = { accessEpoch: 9, sent: access.nextCall(), principal };
  access.lost(key, loss(5), 'fact');
  access.granted(key, early, 'unwrapped');
  assert.equal(access.lossOf(key)?.accessEpoch, 5);
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'stated');
  assert.equal(access.lossOf(key), undefined);
  access.granted(key, early, 'unwrapped');
  assert.equal(access.lease(key).isHeld(), false);
});

test('a grant at a lower epoch than the loss does not end it, even if it was requested later', () => {
  const access = createKeyAccess();
  access.lost(key, loss(5), refused(access.nextCall()));
  access.granted(key, { accessEpoch: 4, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(access.lossOf(key)?.accessEpoch, 5);
});

test('a refusal that arrives after access restored reaches listeners, but is in force only if it is newer', () => {
  const access = createKeyAccess();
  const heard: string[] = [];
  access.listen({ lost: () => heard.push('lost'), returned: () => heard.push('returned') });
  const early = access.nextCall();
  access.restored(key, 8);
  access.lost(key, loss(9), refused(early));
  assert.equal(access.lossOf(key)?.accessEpoch, 9, 'a later loss');
  access.restored(key, 10);
  access.lost(key, loss(7), refused(early));
  assert.equal(access.lossOf(key), undefined);
  assert.deepEqual(heard, ['lost', 'returned', 'lost', 'returned']);
  access.lost(key, loss(10), refused(early));
  assert.equal(access.lossOf(key), undefined, 'the loss that access restored ended');
  access.lost(key, loss(10), refused(access.nextCall()));
  assert.equal(access.lossOf(key)?.accessEpoch, 10, 'requested after access restored');
  access.lost(key, loss(7), refused(early));
  assert.equal(access.lossOf(key)?.accessEpoch, 10, 'an older refusal that arrives late does not end a newer one');
});

test('a refusal without an epoch that arrives after access restored is in force, because their order is unknown', () => {
  const access = createKeyAccess();
  const early = access.nextCall();
  access.restored(key, 8);
  access.lost(key, loss(undefined), refused(early));
  assert.equal(access.lossOf(key)?.reason, 'KEY_DISABLED');
});

test('access restored ends the loss published before it, but not a newer refusal', () => {
  const access = createKeyAccess();
  access.lost(key, loss(5), 'fact');
  access.restored(key, 6);
  assert.equal(access.lossOf(key), undefined);
  access.lost(key, loss(9), refused(access.nextCall()));
  access.lost(key, loss(7), 'fact');
  access.restored(key, 8);
  assert.equal(access.lossOf(key)?.accessEpoch, 9);
  access.restored(key, 9);
  assert.equal(access.lossOf(key), undefined, 'a refusal at the same epoch');
  access.lost(key, loss(Number.MAX_SAFE_INTEGER), 'fact');
  access.restored(key, 10);
  assert.equal(access.lossOf(key), undefined, 'whatever epoch the set published');
});

test('G1: access restored that arrives after a grant neither lowers nor raises the epoch that a lease needs', () => {
  const lateMessage = createKeyAccess();
  lateMessage.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), reason: 'IDENTITY_DELETED' }, 'fact');
  lateMessage.lost(key, { ...loss(undefined), reason: 'IDENTITY_DELETED' }, refused(lateMessage.nextCall()));
  lateMessage.granted(key, { accessEpoch: 7, sent: lateMessage.nextCall(), principal }, 'stated');
  lateMessage.restored(key, 5);
  lateMessage.granted(key, { accessEpoch: 6, sent: lateMessage.nextCall(), principal }, 'unwrapped');
  assert.equal(lateMessage.lease(key).isHeld(), false);
  lateMessage.granted(key, { accessEpoch: 7, sent: lateMessage.nextCall(), principal }, 'unwrapped');
  assert.ok(lateMessage.lease(key).isHeld());

  const highWord = createKeyAccess();
  highWord.lost(key, loss(5), 'fact');
  highWord.granted(key, { accessEpoch: 6, sent: highWord.nextCall(), principal }, 'stated');
  highWord.restored(key, 20);
  highWord.granted(key, { accessEpoch: 6, sent: highWord.nextCall(), principal }, 'unwrapped');
  assert.ok(highWord.lease(key).isHeld());
});

test('CMK-102: a published loss does not concern an open at its epoch or later; a refusal concerns every open', () => {
  const access = createKeyAccess();
  access.lost(key, loss(5), 'fact');
  assert.deepEqual(
    [4, 5, 6].map((accessEpoch) => access.lossAfter(key, { accessEpoch })?.accessEpoch),
    [5, undefined, undefined],
  );
  access.lost(key, { ...loss(6), reason: 'KEY_DELETED' }, refused(access.nextCall()));
  assert.equal(access.lossAfter(key, { accessEpoch: 9 })?.accessEpoch, 6);
});

test('G3: after a restart, the deletion of an identity does not concern a disk that the next identity opened', () => {
  const access = createKeyAccess();
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), reason: 'IDENTITY_DELETED', principal }, 'fact');
  const reasonFor = (opened: Grant) => access.lossAfter(key, opened)?.reason;
  assert.equal(reasonFor({ accessEpoch: 9, principal: 'principals/next' }), undefined);
  assert.equal(reasonFor({ accessEpoch: 9, principal }), 'IDENTITY_DELETED');
  assert.equal(reasonFor({ accessEpoch: 9 }), 'IDENTITY_DELETED', 'an unknown identity may be the deleted one');
});

test('of two grants at one epoch the one requested later is newest; otherwise the one at the higher epoch is', () => {
  const access = createKeyAccess();
  const [first, second, third] = [access.nextCall(), access.nextCall(), access.nextCall()];
  access.granted(key, { accessEpoch: 5, sent: third, principal }, 'unwrapped');
  access.granted(key, { accessEpoch: 5, sent: first, principal }, 'unwrapped');
  access.lost(key, loss(5), refused(second));
  assert.equal(access.lossOf(key), undefined);
  const mixed = createKeyAccess();
  mixed.granted(key, { accessEpoch: 9, sent: mixed.nextCall(), principal: undefined }, 'unwrapped');
  mixed.granted(key, { accessEpoch: 5, sent: mixed.nextCall(), principal }, 'unwrapped');
  mixed.lost(key, loss(7), 'fact');
  assert.equal(mixed.lossOf(key), undefined, 'also if the identity of the newest grant is unknown');
});

test('after repeated and unordered losses the newest one is in force', () => {
  const access = createKeyAccess();
  access.lost(key, loss(7), 'fact');
  access.lost(key, loss(5), 'fact');
  access.lost(key, loss(7), 'fact');
  assert.equal(access.lossOf(key)?.accessEpoch, 7);
  access.lost(key, { ...loss(7), reason: 'KEY_DELETED' }, 'fact');
  assert.equal(access.lossOf(key)?.reason, 'KEY_DELETED', 'the same epoch with another reason corrects the reason');
  access.lost(key, { ...loss(undefined), reason: 'KEY_PURGED' }, refused(access.nextCall()));
  assert.equal(access.lossOf(key)?.reason, 'KEY_PURGED', 'a loss without an epoch is newer than any with an epoch');
});

test('CMK-39: a set recreated under the name of a deleted one has no loss', () => {
  const access = createKeyAccess();
  access.lost(key, loss(Number.MAX_SAFE_INTEGER), 'fact');
  access.lost({ ...key, set: 'set2' }, loss(5), 'fact');
  access.forget('set', () => false);
  assert.equal(access.lossOf(key), undefined);
  assert.equal(access.lossOf({ ...key, set: 'set2' })?.accessEpoch, 5, 'another set is not concerned');
});

test('CMK-39: a recreated set has no deleted identity, and the lease of the deleted set is over', () => {
  const access = createKeyAccess();
  const lease = access.lease(key);
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  assert.ok(lease.isHeld());
  access.forget('set', () => false);
  assert.equal(lease.isHeld(), false);
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), principal }, 'fact');
  access.forget('set', () => false);
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  assert.ok(access.lease(key).isHeld());
});

test('CMK-39, G3: if a recreated set is in use, the losses of the deleted set end and its own grants stay', () => {
  const access = createKeyAccess();
  const returned: string[] = [];
  access.listen({ returned: ({ keyVersion }) => returned.push(keyVersion) });
  const granted = { ...key, keyVersion: 'two' };
  const lease = access.lease(granted);
  access.lost(key, loss(Number.MAX_SAFE_INTEGER), 'fact');
  access.granted(granted, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  access.forget('set', () => true);
  assert.ok(lease.isHeld());
  assert.equal(access.lease(granted), lease);
  assert.deepEqual([access.lossOf(key), returned], [undefined, ['one']]);
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  assert.ok(access.lease(key).isHeld());
  access.lost(key, loss(10), refused(access.nextCall()));
  access.forget('set', () => true);
  assert.equal(access.lossOf(key)?.accessEpoch, 10, 'the vault refused the recreated set');
});

test('G3: the deletion of an identity for one set does not concern another set with the same identity', () => {
  const access = createKeyAccess();
  const other = { ...key, set: 'other' };
  access.granted(other, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), principal }, 'fact');
  assert.deepEqual([access.isAnyLost('set'), access.isAnyLost('other')], [true, false]);
  access.lost(other, loss(5), 'fact');
  assert.equal(access.lossOf(other), undefined, 'this loss is older than the grant');
});

test('CMK-39: a loss of a recreated set is in force, whatever the deleted set was granted', () => {
  const access = createKeyAccess();
  access.granted(key, { accessEpoch: 9, sent: access.nextCall(), principal }, 'unwrapped');
  access.forget('set', () => false);
  access.lost(key, loss(5), 'fact');
  assert.equal(access.lossOf(key)?.accessEpoch, 5);
});

test('CMK-104: a refusal at the same epoch, as when a key expires, ends grants that were requested before it', () => {
  const access = createKeyAccess();
  access.granted(key, { accessEpoch: 5, sent: access.nextCall(), principal }, 'unwrapped');
  assert.ok(access.lease(key).isHeld());
  access.lost(key, { ...loss(5), reason: 'KEY_EXPIRED' }, refused(access.nextCall()));
  assert.equal(access.lossOf(key)?.reason, 'KEY_EXPIRED');
  assert.equal(access.lease(key).isHeld(), false);
  access.granted(key, { accessEpoch: 5, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(access.lossOf(key), undefined);
  assert.ok(access.lease(key).isHeld());
});

test('G1: if a grant and a refusal cross, the one with the higher epoch is the newer', () => {
  for (const [yesEpoch, isHeld] of [
    [6, true],
    // The same epoch: the response to the later request is the newer.
    [5, false],
    [4, false],
  ] as const) {
    const access = createKeyAccess();
    const [first, second] = [access.nextCall(), access.nextCall()];
    access.granted(key, { accessEpoch: yesEpoch, sent: first, principal }, 'unwrapped');
    access.lost(key, loss(5), refused(second));
    assert.equal(access.lease(key).isHeld(), isHeld);
  }
});

test('G1: a refusal requested after the last grant arrived is in force, whatever epoch a restored vault gives it', () => {
  const access = createKeyAccess();
  access.granted(key, { accessEpoch: 50, sent: access.nextCall(), principal }, 'unwrapped');
  access.lost(key, loss(5), refused(access.nextCall()));
  assert.equal(access.lossOf(key)?.accessEpoch, 5);
  assert.equal(access.lease(key).isHeld(), false);
});

test('a late response to an earlier request neither shortens the lease nor replaces its grant', async () => {
  const clock = virtualClock();
  const access = createKeyAccess(clock);
  const early: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal };
  await clock.drive(clock.sleep(ttlMs / 2));
  const late: KeyGrant = { accessEpoch: 4, sent: access.nextCall(), principal };
  access.granted(key, late, 'unwrapped');
  access.granted(key, early, 'unwrapped');
  assert.equal(access.lease(key).grant(), late);
  await clock.drive(clock.sleep(0.9 * ttlMs));
  assert.ok(access.lease(key).isHeld());
  await clock.drive(clock.sleep(0.1 * ttlMs));
  assert.equal(access.lease(key).isHeld(), false);
});

test('G1: a lease ends when the first of its two clocks reaches the end', () => {
  for (const ahead of ['monotonicMs', 'bootMs'] as const) {
    const now = { monotonicMs: 0, bootMs: 0 };
    const clock = { ...virtualClock(), monotonicMs: () => now.monotonicMs, bootMs: () => now.bootMs };
    const access = createKeyAccess(clock);
    access.granted(key, { accessEpoch: 4, sent: access.nextCall(), principal }, 'unwrapped');
    assert.ok(access.lease(key).isHeld());
    now[ahead] = ttlMs;
    assert.equal(access.lease(key).isHeld(), false, ahead);
  }
});

test('G1: the term of a single grant ends when its remaining time has passed', async () => {
  const clock = virtualClock();
  const access = createKeyAccess(clock);
  const term = access.termOf({ accessEpoch: 4, sent: access.nextCall(), principal });
  assert.ok(term.isHeld());
  await clock.drive(clock.sleep(term.leftMs()));
  assert.deepEqual([term.leftMs(), term.isHeld()], [0, false]);
});

test('G1: a grant without an unwrap ends a loss but wins no lease', () => {
  const access = createKeyAccess();
  const heard: string[] = [];
  access.listen({ returned: () => heard.push('returned'), held: () => heard.push('held') });
  access.lost(key, loss(5), refused(access.nextCall()));
  access.granted(key, { accessEpoch: 5, sent: access.nextCall(), principal }, 'stated');
  assert.equal(access.lossOf(key), undefined);
  assert.equal(access.lease(key).isHeld(), false);
  assert.deepEqual(heard, ['returned']);
});

test('G1: after access restored, a grant requested before the loss or at a lower epoch wins no lease', () => {
  const access = createKeyAccess();
  const early = access.nextCall();
  access.lost(key, loss(5), 'fact');
  access.restored(key, 8);
  access.granted(key, { accessEpoch: 9, sent: early, principal }, 'unwrapped');
  assert.equal(access.lease(key).isHeld(), false);
  access.granted(key, { accessEpoch: 7, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(access.lease(key).isHeld(), false);
  access.granted(key, { accessEpoch: 8, sent: access.nextCall(), principal }, 'unwrapped');
  assert.ok(access.lease(key).isHeld());
});

test('CMK-38, CMK-39: a set with a new identity wins its lease again, even if the vault grants before the set publishes', () => {
  const access = createKeyAccess();
  const lease = access.lease(key);
  // The deletion of an identity has no epoch in the vault. The set publishes it with the highest one.
  access.lost(key, { ...loss(Number.MAX_SAFE_INTEGER), reason: 'IDENTITY_DELETED' }, 'fact');
  access.lost(key, { ...loss(undefined), reason: 'IDENTITY_DELETED' }, refused(access.nextCall()));
  access.granted(key, { accessEpoch: 7, sent: access.nextCall(), principal }, 'stated');
  access.granted(key, { accessEpoch: 7, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(lease.isHeld(), false, 'not before the set publishes access restored');
  access.restored(key, 7);
  access.granted(key, { accessEpoch: 6, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(lease.isHeld(), false, 'not by a grant older than the one that ended the loss');
  access.granted(key, { accessEpoch: 7, sent: access.nextCall(), principal }, 'unwrapped');
  assert.equal(lease.isHeld(), true);
});
