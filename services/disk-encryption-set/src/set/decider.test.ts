import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FINAL_EPOCH, lossReasons } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import fc from 'fast-check';
import { urlOf, versionOf } from '../testing/test-neighbour-keys.ts';
import { grantAt, keyReference, newSet, principal } from '../testing/test-sets.ts';
import { ifIdentityIs, loseKey, questionKey, refuseKey, restoreKey } from './access.ts';
import {
  abandonCreation,
  completeCreation,
  completeDeletion,
  create,
  refuseDeletion,
  release,
  startDeletion,
} from './decider.ts';
import type { NewSet, SetEvent } from './events.ts';
import { completeIdentity, removeIdentity, replaceIdentity, retireIdentity } from './identity.ts';
import {
  assignKey,
  finishRotation,
  followNewest,
  missNewest,
  noticeNewer,
  progressRotation,
  resumeRotation,
  waitForKey,
} from './key-change.ts';
import { changeOptions } from './options.ts';
import { type DiskEncryptionSet, evolve, initial, type KeyAccess } from './state.ts';
import { sets } from './streams.ts';
import { setOnWire } from './wire.ts';

type Decision = (set: DiskEncryptionSet) => readonly SetEvent[];
const after = (...decisions: readonly Decision[]): DiskEncryptionSet =>
  decisions.reduce((set, decide) => decide(set).reduce(evolve, set), initial);
const typesOf = (events: readonly SetEvent[]): string[] => events.map(({ type }) => type);

const created = [create(1, newSet, keyReference('1')), completeCreation(2)];
const loss = (epoch: number, reason: (typeof lossReasons)[number] = 'KEY_DISABLED', digit = '1') => ({
  keyVersion: versionOf(digit),
  reason,
  epoch,
  since: 5,
  traceId: 'a'.repeat(32),
});
const otherKey = {
  keyVersion: `vaults/kv1/keys/k2/versions/${'9'.repeat(32)}`,
  keyUrl: `https://kv1.vault.test/keys/k2/${'9'.repeat(32)}`,
  sourceVault: '',
};
const granted = (epoch: number, digit = '1') => ({ keyVersion: versionOf(digit), epoch });

test('CMK-03: creating the same set again decides nothing, also after its key was changed', () => {
  const begin = create(9, newSet, keyReference('1'));
  assert.deepEqual(begin(after(...created)), []);
  assert.deepEqual(begin(after(...created, assignKey(3, keyReference('2'), grantAt(7)))), []);
});

test('CMK-03: a request for the name of a set that differs in any field is refused, and names every such field', () => {
  const { requestedKey, requestedOptions } = newSet;
  const others: Readonly<Record<string, Partial<NewSet>>> = {
    location: { location: 'elsewhere' },
    encryption_type: { encryptionType: 'platform_and_customer_keys' },
    key_url: { requestedKey: { ...requestedKey, keyUrl: urlOf('2') } },
    source_vault: { requestedKey: { ...requestedKey, sourceVault: 'vaults/kv1' } },
    key_expiry: { requestedOptions: { ...requestedOptions, keyExpiry: 'next_start' } },
    auto_restart: { requestedOptions: { ...requestedOptions, autoRestart: true } },
    auto_key_rotation_enabled: { requestedOptions: { ...requestedOptions, autoKeyRotation: true } },
    spread: { requestedOptions: { ...requestedOptions, spread: true } },
    user_assigned_identity: { requestedIdentity: principal },
  };
  const refused = (other: Partial<NewSet>, differs: string): void =>
    assert.throws(() => create(9, { ...newSet, ...other }, keyReference('1'))(after(...created)), {
      reason: 'DISK_ENCRYPTION_SET_ALREADY_EXISTS',
      message: `a set of this name exists with another ${differs}: choose another disk_encryption_set_id`,
      metadata: { field: 'disk_encryption_set_id', differs },
    });
  for (const [field, other] of Object.entries(others)) refused(other, field);
  refused({ ...others.location, ...others.auto_restart }, 'location, auto_restart');
});

test('CMK-43: a set shows the state of its work, and does not exist after a failed creation or a deletion', () => {
  const made = after(...created);
  const moving = assignKey(3, keyReference('2'), grantAt(5));
  const waiting = waitForKey(4, 2, { reason: 'KEY_DISABLED', keyVersion: versionOf('1') });
  const shownAs = (state: DiskEncryptionSet) => setOnWire({ id: 'd', state, version: 1 }).provisioningState;
  const states = [
    [after(create(1, newSet, keyReference('1'))), 'CREATING'],
    [made, 'SUCCEEDED'],
    [after(...created, moving), 'UPDATING'],
    [after(...created, moving, waiting), 'UPDATING'],
    [after(...created, moving, finishRotation(4, 2)), 'SUCCEEDED'],
    [after(...created, startDeletion(3)), 'DELETING'],
    [after(...created, startDeletion(3), release(4)), 'DELETING'],
    [after(...created, startDeletion(3), refuseDeletion(4)), 'SUCCEEDED'],
  ] as const;
  for (const [state, shown] of states) assert.equal(shownAs(state), shown);
  for (const gone of [
    after(create(1, newSet, keyReference('1')), abandonCreation(2, 'TENANT_NOT_FOUND')),
    after(...created, startDeletion(3), release(4), completeDeletion(5)),
  ]) {
    assert.throws(() => shownAs(gone), { code: 'NOT_FOUND', reason: 'DISK_ENCRYPTION_SET_NOT_FOUND' });
  }
});

test('G10, CMK-38: an identity that was removed during its creation does not affect the next one', () => {
  const [first, second] = [
    'principals/00000000-0000-4000-8000-000000000002',
    'principals/00000000-0000-4000-8000-000000000003',
  ];
  const replaced = after(
    ...created,
    removeIdentity(5, 'a'.repeat(32)),
    replaceIdentity(6, first),
    removeIdentity(7, 'b'.repeat(32)),
    replaceIdentity(8, second),
  );
  assert.deepEqual(completeIdentity(9, first)(replaced), []);
  assert.deepEqual(typesOf(completeIdentity(9, second)(replaced)).slice(0, 1), ['IdentityMade']);
});

test('CMK-39: after a deletion the name is free, and the new set has another identity', () => {
  const gone = after(...created, startDeletion(3), release(4), completeDeletion(5));
  const principal = 'principals/00000000-0000-4000-8000-000000000002';
  const again = create(6, { ...newSet, principal }, keyReference('1'))(gone).reduce(evolve, gone);
  assert.deepEqual(again.status === 'creating' && [again.principal, again.generation], [principal, 2]);
  assert.throws(() => create(6, newSet, keyReference('1'))(after(...created, startDeletion(3))), {
    reason: 'DISK_ENCRYPTION_SET_NOT_READY',
  });
});

test('CMK-112: a loss concerns a set only for a key version that the set has', () => {
  assert.deepEqual(loseKey(9, loss(7, 'KEY_DISABLED', '2'))(after(...created)), []);
  const moving = after(...created, assignKey(3, keyReference('2'), grantAt(5)));
  const [lost] = loseKey(9, loss(7, 'KEY_DISABLED', '1'))(moving);
  assert.equal(lost?.type === 'KeyAccessLost' && lost.partial, true, 'only some disks are under it');
  const moved = after(...created, assignKey(3, keyReference('2'), grantAt(5)), finishRotation(4, 2));
  assert.deepEqual(loseKey(9, loss(7, 'KEY_DISABLED', '1'))(moved), [], 'CMK-89');
});

test('CMK-89: after a rotation a set has neither access nor questions about its old keys any more', () => {
  const moving = after(...created, assignKey(3, keyReference('2'), grantAt(5)));
  const keys = (set: DiskEncryptionSet) =>
    set.status === 'active' ? [Object.keys(set.access), Object.keys(set.questions)] : [];
  const [one, two] = [versionOf('1'), versionOf('2')];
  const known = loseKey(4, loss(7, 'KEY_DISABLED', '1'))(moving).reduce(evolve, moving);
  assert.deepEqual(keys(known), [
    [two, one],
    [one, two],
  ]);
  assert.deepEqual(keys(finishRotation(5, 2)(known).reduce(evolve, known)), [[two], [two]]);
});

test('a loss is published once, and an older one never overrides a newer loss or grant', () => {
  const lost = after(...created, loseKey(3, loss(7)));
  assert.deepEqual(loseKey(4, loss(7))(lost), []);
  assert.deepEqual(loseKey(4, loss(6))(lost), []);
  assert.deepEqual(typesOf(loseKey(4, loss(8))(lost)), ['KeyAccessLost']);
  assert.deepEqual(loseKey(4, loss(6))(after(...created, restoreKey(3, granted(6)))), []);
});

test('CMK-120: granted access restores an earlier loss, and access granted before the loss does not', () => {
  const lost = after(...created, loseKey(3, loss(7)));
  assert.deepEqual(
    restoreKey(4, granted(6))(lost).filter(({ type }) => type === 'KeyAccessRestored'),
    [],
  );
  assert.ok(typesOf(restoreKey(4, granted(7))(lost)).includes('KeyAccessRestored'));
});

test('CMK-120: a grant after a question publishes restored access, also if no loss was published', () => {
  const asked = questionKey(versionOf('1'), { epoch: 20, since: 5, traceId: '' });
  const doubted = after(...created, restoreKey(3, granted(5)), asked);
  assert.deepEqual(typesOf(restoreKey(4, granted(19))(doubted)), []);
  assert.deepEqual(typesOf(restoreKey(4, granted(20))(doubted)), ['KeyAccessRestored', 'KeyAccessAnswered']);
  const sure = after(...created, restoreKey(3, granted(25)), asked);
  assert.deepEqual(typesOf(restoreKey(4, granted(25))(sure)), ['KeyAccessAnswered']);
  assert.deepEqual(typesOf(restoreKey(4, granted(26))(after(...created, restoreKey(3, granted(5))))), []);
});

test('a loss that is older than the newest grant has no effect', () => {
  const asked = questionKey(versionOf('1'), { epoch: 20, since: 5, traceId: '' });
  const fine = after(...created, restoreKey(3, granted(5)), asked, restoreKey(4, granted(20)));
  assert.deepEqual(loseKey(5, loss(10))(fine), []);
});

test('CMK-105: the reasons keep their order of precedence, and a purge is published before all', () => {
  const reasonAfter = (...decisions: readonly Decision[]) => {
    const set = after(...created, ...decisions);
    const known = set.status === 'absent' ? undefined : set.access[versionOf('1')];
    return known?.state === 'lost' ? known.reason : undefined;
  };
  assert.equal(reasonAfter(loseKey(3, loss(7, 'KEY_DELETED')), loseKey(4, loss(8, 'KEY_DISABLED'))), 'KEY_DISABLED');
  assert.equal(reasonAfter(loseKey(3, loss(7, 'KEY_DISABLED')), loseKey(4, loss(8, 'KEY_DELETED'))), 'KEY_DISABLED');
  assert.equal(reasonAfter(loseKey(3, loss(7, 'KEY_DISABLED')), loseKey(4, loss(8, 'KEY_PURGED'))), 'KEY_PURGED');
  const answer = refuseKey(4, loss(8, 'KEY_DELETED'));
  assert.equal(reasonAfter(loseKey(3, loss(7, 'KEY_DISABLED')), answer), 'KEY_DELETED', 'an answer knows all reasons');
});

test('G10, CMK-108: the deletion of a later key of its name is no reason for a version that was purged', () => {
  const purged = [...created, restoreKey(3, granted(6)), loseKey(4, loss(7, 'KEY_PURGED'))];
  // The vault was created again, without a grant to the set, and with a key of the same name.
  const denied = after(
    ...purged,
    questionKey(versionOf('1'), { epoch: 8, since: 5, traceId: '' }),
    refuseKey(6, loss(9, 'ACCESS_DENIED')),
  );
  assert.deepEqual(typesOf(loseKey(7, loss(10, 'KEY_DELETED'))(denied)), ['KeyAccessQuestioned']);
  const restored = [
    ...purged,
    questionKey(versionOf('1'), { epoch: 8, since: 5, traceId: '' }),
    restoreKey(6, granted(9)),
  ];
  assert.deepEqual(
    typesOf(loseKey(7, loss(10, 'KEY_DELETED'))(after(...restored))),
    ['KeyAccessLost'],
    'from a backup',
  );
});

test('CMK-05, G2: the first result about a set is published also if it is a refusal', () => {
  assert.deepEqual(typesOf(refuseKey(3, loss(7, 'ACCESS_DENIED'))(after(...created))), [
    'KeyAccessLost',
    'KeyAccessAnswered',
  ]);
});

test('CMK-104: under NEXT_START an expiry bars starts and is not published; every other loss is', () => {
  const lenient = [...created, changeOptions(3, { keyExpiry: 'next_start' })];
  const expired = after(...lenient, loseKey(4, loss(7, 'KEY_EXPIRED')));
  assert.deepEqual(typesOf(loseKey(4, loss(7, 'KEY_EXPIRED'))(after(...lenient))), ['KeyAccessBarred']);
  assert.deepEqual(typesOf(refuseKey(4, loss(7, 'KEY_EXPIRED'))(after(...lenient))), [
    'KeyAccessBarred',
    'KeyAccessAnswered',
  ]);
  const [deleted] = loseKey(5, loss(8, 'KEY_DELETED'))(expired);
  assert.deepEqual(deleted?.type === 'KeyAccessLost' && deleted.reason, 'KEY_DELETED');
});

test('CMK-104, G10: an expiry after a published loss corrects the reason and keeps the epoch of that loss', () => {
  const disabled = after(
    ...created,
    changeOptions(3, { keyExpiry: 'next_start' }),
    loseKey(4, loss(7, 'KEY_DISABLED')),
    questionKey(versionOf('1'), { epoch: 9, since: 5, traceId: '' }),
  );
  const [told, ...rest] = refuseKey(6, loss(10, 'KEY_EXPIRED'))(disabled);
  assert.ok(told?.type === 'KeyAccessLost');
  assert.deepEqual([told.reason, told.epoch, rest.map(({ type }) => type)], ['KEY_EXPIRED', 7, ['KeyAccessAnswered']]);
  const corrected = [told, ...rest].reduce(evolve, disabled);
  assert.deepEqual(refuseKey(7, loss(11, 'KEY_EXPIRED'))(corrected), [], 'published once');
  assert.deepEqual(typesOf(restoreKey(8, granted(12))(corrected)), ['KeyAccessRestored']);
});

test('KV-13, G10: a repeated loss keeps its time and trace, unless access may have been restored in between', () => {
  const set = after(...created, restoreKey(3, granted(6)), loseKey(4, loss(7, 'KEY_EXPIRED')));
  const again = { ...loss(9, 'KEY_EXPIRED'), since: 8, traceId: 'b'.repeat(32) };
  const [told] = loseKey(8, again)(set);
  assert.ok(told?.type === 'KeyAccessLost');
  assert.deepEqual([told.epoch, told.since, told.traceId], [9, 5, 'a'.repeat(32)]);
  const asked = questionKey(versionOf('1'), { epoch: 8, since: 6, traceId: '' })(set).reduce(evolve, set);
  const [repeated] = loseKey(8, again)(asked);
  assert.ok(repeated?.type === 'KeyAccessLost');
  assert.deepEqual([repeated.epoch, repeated.since, repeated.traceId], [9, 8, 'b'.repeat(32)]);
  const [other] = loseKey(8, { ...again, reason: 'KEY_DISABLED' })(set);
  assert.ok(other?.type === 'KeyAccessLost');
  assert.deepEqual([other.reason, other.since, other.traceId], ['KEY_DISABLED', 8, 'b'.repeat(32)]);
});

test('G10: a refusal with the same number replaces a reason that no longer applies, once', () => {
  const lost = after(
    ...created,
    loseKey(4, loss(7, 'KEY_DISABLED')),
    questionKey(versionOf('1'), { epoch: 8, since: 5, traceId: '' }),
    loseKey(5, loss(9, 'KEY_EXPIRED')),
  );
  assert.ok(lost.status === 'active');
  const [told, ...rest] = refuseKey(6, loss(9, 'KEY_EXPIRED'))(lost);
  assert.ok(told?.type === 'KeyAccessLost');
  assert.deepEqual([told.reason, told.epoch, rest.map(({ type }) => type)], ['KEY_EXPIRED', 9, ['KeyAccessAnswered']]);
  assert.deepEqual(refuseKey(7, loss(9, 'KEY_EXPIRED'))([told, ...rest].reduce(evolve, lost)), []);
});

test('G10: a response older than a known loss leaves the question open; the next one gives the reason in force', () => {
  // Disabled at 7, enabled again at 8, expired at 9. The check because of 8 got a decision from before 9.
  const lost = after(
    ...created,
    loseKey(4, loss(7, 'KEY_DISABLED')),
    questionKey(versionOf('1'), { epoch: 8, since: 5, traceId: '' }),
    loseKey(5, loss(9, 'KEY_EXPIRED')),
  );
  assert.deepEqual(restoreKey(6, granted(8))(lost), []);
  assert.deepEqual(refuseKey(6, loss(8, 'KEY_DELETED'))(lost), []);
  const [told, ...rest] = refuseKey(7, loss(10, 'KEY_EXPIRED'))(lost);
  assert.equal(told?.type === 'KeyAccessLost' && told.reason, 'KEY_EXPIRED');
  assert.deepEqual(typesOf(rest), ['KeyAccessAnswered']);
  assert.deepEqual(typesOf(restoreKey(8, granted(11))(lost)), ['KeyAccessRestored', 'KeyAccessAnswered']);
});

test('CMK-104: when keyExpiry is set to stop, an expiry that only barred starts is published, once', () => {
  const barred = after(...created, changeOptions(3, { keyExpiry: 'next_start' }), loseKey(4, loss(7, 'KEY_EXPIRED')));
  const stricter = changeOptions(5, { keyExpiry: 'stop' });
  assert.deepEqual(typesOf(stricter(barred)), ['SetOptionsChanged', 'KeyAccessLost']);
  const told = stricter(barred).reduce(evolve, barred);
  assert.deepEqual(typesOf(changeOptions(6, { keyExpiry: 'next_start' })(told)), ['SetOptionsChanged']);
  const again = [changeOptions(6, { keyExpiry: 'next_start' }), changeOptions(7, { keyExpiry: 'stop' })].reduce(
    (set, decide) => decide(set).reduce(evolve, set),
    told,
  );
  assert.deepEqual(typesOf(stricter(again)), []);
});

test('an update changes what it names and nothing else', () => {
  const one = after(...created, changeOptions(3, { autoRestart: true }), changeOptions(4, { autoKeyRotation: true }));
  assert.ok(one.status === 'active');
  assert.deepEqual(one.options, { keyExpiry: 'stop', autoRestart: true, autoKeyRotation: true });
  // Sets from before there was the option do not spread.
  assert.deepEqual(changeOptions(5, { spread: false })(one), []);
  const spread = changeOptions(5, { spread: true })(one).reduce(evolve, one);
  assert.ok(spread.status === 'active');
  assert.deepEqual(spread.options, { ...one.options, spread: true });
});

test('a deleted identity is final: no later grant and no later question restores access', () => {
  const gone = after(...created, loseKey(3, loss(FINAL_EPOCH, 'IDENTITY_DELETED')));
  assert.deepEqual(
    restoreKey(4, granted(1_000_000))(gone).filter(({ type }) => type === 'KeyAccessRestored'),
    [],
  );
});

test('G3: the loss by a deleted identity names it, also under another reason; a loss of the key names none', () => {
  const deleted = after(...created, loseKey(3, loss(7, 'VAULT_DELETED')));
  assert.ok(deleted.status === 'active');
  const [end] = loseKey(4, loss(FINAL_EPOCH, 'IDENTITY_DELETED'))(deleted);
  assert.ok(end?.type === 'KeyAccessLost');
  assert.deepEqual([end.reason, end.principal], ['VAULT_DELETED', deleted.principal]);
  const [purged] = loseKey(5, loss(8, 'KEY_PURGED'))(evolve(deleted, end));
  assert.ok(purged?.type === 'KeyAccessLost' && purged.principal === deleted.principal);
  const [lost] = loseKey(3, loss(7, 'KEY_DISABLED'))(after(...created));
  assert.equal(lost?.type === 'KeyAccessLost' && 'principal' in lost, false);
});

test('CMK-33, CMK-34, CMK-35: assigning a key raises the generation and keeps the old key until all disks moved', () => {
  const moving = after(...created, assignKey(3, keyReference('2'), grantAt(7)));
  assert.ok(moving.status === 'active');
  assert.deepEqual(
    [moving.generation, moving.activeKey, moving.previousKeys, moving.lastKeyRotationAt],
    [2, keyReference('2'), [keyReference('1')], 3],
  );
  assert.deepEqual(moving.access[versionOf('2')], { state: 'available', epoch: 7, since: 3 });
  const back = assignKey(4, keyReference('1'), grantAt(8))(moving).reduce(evolve, moving);
  assert.deepEqual(back.status === 'active' && [back.generation, back.previousKeys], [3, [keyReference('2')]]);
  assert.deepEqual(assignKey(4, keyReference('2'), grantAt(9))(moving), [], 'the active key again does nothing');
  assert.deepEqual(finishRotation(5, 2)(back), [], 'an overtaken move cannot finish the newer one');
});

test('CMK-34: a key assigned during a rotation keeps every earlier one, and its loss still concerns the set', () => {
  const twice = after(
    ...created,
    assignKey(3, keyReference('2'), grantAt(7)),
    assignKey(4, keyReference('3'), grantAt(8)),
  );
  assert.ok(twice.status === 'active');
  assert.deepEqual(twice.previousKeys, [keyReference('1'), keyReference('2')], 'oldest first');
  for (const digit of ['1', '2']) {
    assert.deepEqual(typesOf(loseKey(9, loss(9, 'KEY_DISABLED', digit))(twice)), ['KeyAccessLost'], digit);
  }
  const back = assignKey(5, keyReference('1'), grantAt(9))(twice).reduce(evolve, twice);
  assert.deepEqual(back.status === 'active' && back.previousKeys, [keyReference('2'), keyReference('3')]);
});

test('CMK-120, G10: a version that is assigned again keeps a loss newer than the check, and its open question', () => {
  const moving = after(...created, restoreKey(3, granted(5)), assignKey(4, keyReference('2'), grantAt(7)));
  const again = assignKey(6, keyReference('1'), grantAt(8));
  const lost = loseKey(5, loss(9))(moving).reduce(evolve, moving);
  const back = again(lost).reduce(evolve, lost);
  assert.ok(back.status === 'active');
  assert.equal(back.access[versionOf('1')]?.state, 'lost', 'the grant is older than the loss');
  assert.equal(back.questions[versionOf('1')]?.epoch, 8, 'the vault is called all the same');
  const asked = questionKey(versionOf('1'), { epoch: 9, since: 5, traceId: '' })(moving).reduce(evolve, moving);
  const doubted = again(asked).reduce(evolve, asked);
  assert.deepEqual(
    restoreKey(7, granted(8))(doubted).filter(({ type }) => type === 'KeyAccessAnswered'),
    [],
    'an earlier grant does not answer it',
  );
});

test('CMK-38: without an identity every key is lost at once, and grants to the old one do not count for the next', () => {
  const moving = after(...created, restoreKey(3, granted(5)), assignKey(4, keyReference('2'), grantAt(7)));
  const cut = removeIdentity(5, 'a'.repeat(32))(moving).reduce(evolve, moving);
  assert.ok(cut.status === 'active');
  assert.deepEqual([cut.principal, cut.identity], ['', { isMade: false, retiring: [principal], ungrantedSince: null }]);
  for (const digit of ['1', '2']) {
    const known: KeyAccess | undefined = cut.access[versionOf(digit)];
    assert.equal(known?.state === 'lost' && known.reason, 'IDENTITY_DELETED');
  }
  assert.throws(() => assignKey(6, keyReference('1'), grantAt(9))(cut), { reason: 'IDENTITY_CHANGED' });
  const other = 'principals/00000000-0000-4000-8000-000000000002';
  const replaced = replaceIdentity(6, other)(cut).reduce(evolve, cut);
  assert.ok(replaced.status === 'active');
  assert.deepEqual(
    [replaced.principal, replaced.generation, replaced.rotation?.progress.status],
    [other, 3, 'running'],
  );
  assert.deepEqual(replaceIdentity(7, principal)(replaced), [], 'a new identity is set already');
  assert.deepEqual(
    ifIdentityIs(principal, restoreKey(7, granted(50)))(replaced),
    [],
    'a grant to the old one does not count',
  );
  assert.ok(typesOf(ifIdentityIs(other, restoreKey(7, granted(50)))(replaced)).includes('KeyAccessRestored'));
});

test('CMK-37: an identity that another caller deleted is replaced, and a usable one is not', () => {
  const well = after(...created, restoreKey(3, granted(5)));
  const replace = replaceIdentity(6, 'principals/00000000-0000-4000-8000-000000000002');
  assert.deepEqual(replace(well), []);
  const end = loseKey(5, loss(FINAL_EPOCH, 'IDENTITY_DELETED'));
  assert.deepEqual(typesOf(replace(end(well).reduce(evolve, well))), ['IdentityReplaced']);
  const disabled = loseKey(4, loss(7))(well).reduce(evolve, well);
  const both = end(disabled).reduce(evolve, disabled);
  assert.deepEqual(
    typesOf(replace(both)),
    ['IdentityReplaced'],
    'also if the key is disabled, which is the reason shown',
  );
});

test('a set that is being created refuses a key change and a deletion', () => {
  const creating = after(create(1, newSet, keyReference('1')));
  assert.throws(() => assignKey(3, keyReference('2'), grantAt(7))(creating), {
    reason: 'DISK_ENCRYPTION_SET_NOT_READY',
  });
  assert.throws(() => startDeletion(3)(creating), { reason: 'DISK_ENCRYPTION_SET_NOT_READY' });
  assert.throws(() => startDeletion(3)(initial), { reason: 'DISK_ENCRYPTION_SET_NOT_FOUND' });
});

const digit = fc.constantFrom('1', '2', '3');
const identityDigit = fc.constantFrom('1', '2', '3');
const identity = (d: string): string => `principals/00000000-0000-4000-8000-00000000000${d}`;
const anyChange = fc.record(
  {
    keyExpiry: fc.constantFrom('stop', 'next_start'),
    autoRestart: fc.boolean(),
    autoKeyRotation: fc.boolean(),
    spread: fc.boolean(),
  },
  { requiredKeys: [] },
);
const epoch = fc.integer({ min: 0, max: 12 });
const generation = fc.integer({ min: 1, max: 4 });
const reason = fc.constantFrom(...lossReasons);
const anyDecision: fc.Arbitrary<Decision> = fc.oneof(
  digit.map((d) => create(1, newSet, keyReference(d))),
  fc.constant(completeCreation(2)),
  fc.constant(abandonCreation(2, 'REFUSED')),
  fc.constant(startDeletion(3)),
  fc.constant(refuseDeletion(3)),
  anyChange.map((change) => changeOptions(3, change)),
  fc.constant(release(3)),
  fc.constant(completeDeletion(3)),
  fc.tuple(digit, epoch).map(([d, e]) => assignKey(4, keyReference(d), grantAt(e))),
  fc.constant(assignKey(4, otherKey, grantAt(5))),
  fc.tuple(digit, epoch, reason).map(([d, e, r]) => loseKey(5, loss(e, r, d))),
  fc.tuple(digit, reason).map(([d, r]) => loseKey(5, loss(FINAL_EPOCH, r, d))),
  fc.tuple(digit, epoch, reason).map(([d, e, r]) => refuseKey(5, loss(e, r, d))),
  fc.tuple(digit, epoch).map(([d, e]) => restoreKey(5, granted(e, d))),
  fc.tuple(digit, epoch).map(([d, e]) => questionKey(versionOf(d), { epoch: e, since: 5, traceId: '' })),
  fc.tuple(generation, epoch).map(([g, n]) => progressRotation(6, g, { resourcesCount: 12, doneCount: n })),
  fc.tuple(generation, digit, reason).map(([g, d, r]) => waitForKey(6, g, { reason: r, keyVersion: versionOf(d) })),
  fc.constant(resumeRotation(6)),
  fc.constant(removeIdentity(6, '')),
  identityDigit.map((d) => replaceIdentity(6, identity(d))),
  identityDigit.map((d) => retireIdentity(6, identity(d))),
  identityDigit.map((d) => completeIdentity(6, identity(d))),
  generation.map((g) => finishRotation(7, g)),
  epoch.map(noticeNewer),
  fc
    .tuple(generation, epoch, fc.option(digit, { nil: undefined }))
    .map(([g, e, d]) =>
      followNewest(8, { generation: g, position: e }, d && { key: keyReference(d), grant: grantAt(e) }),
    ),
  fc
    .tuple(generation, epoch, digit)
    .map(([g, e, d]) =>
      missNewest(8, { generation: g, position: e }, { keyVersion: versionOf(d), code: 'C', message: 'm' }),
    ),
);
const attempt = (decide: Decision, set: DiskEncryptionSet): readonly SetEvent[] => {
  try {
    return decide(set);
  } catch (error) {
    assert.ok(error instanceof Rejection, 'a decider throws nothing but rejections');
    return [];
  }
};
const anyHistory = fc
  .array(anyDecision, { maxLength: 25 })
  .map((decisions) => decisions.reduce((set, decide) => attempt(decide, set).reduce(evolve, set), initial));

test('from any history: a repeated command has no effect', () => {
  fc.assert(
    fc.property(anyHistory, anyDecision, (set, decide) => {
      const decided = attempt(decide, set);
      assert.deepEqual(attempt(decide, decided.reduce(evolve, set)), []);
    }),
    { numRuns: 500 },
  );
});

test('from any history: the state survives JSON, is listed without failing, and evolve takes any event', () => {
  fc.assert(
    fc.property(anyHistory, anyHistory, anyDecision, (set, stranger, decide) => {
      assert.deepEqual(JSON.parse(JSON.stringify(set)), set);
      const name = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d1';
      assert.ok(sets.indexes?.(set, name));
      const elsewhere = attempt(decide, stranger).reduce(evolve, set);
      assert.ok(elsewhere.status);
    }),
    { numRuns: 300 },
  );
});

test('CMK-32 from any history: the encryption type of a set is fixed, and a request with another type is refused', () => {
  const double = { ...newSet, encryptionType: 'platform_and_customer_keys' } as const;
  const made = after(create(1, double, keyReference('1')), completeCreation(2));
  assert.throws(() => create(9, newSet, keyReference('1'))(made), {
    code: 'ALREADY_EXISTS',
    reason: 'DISK_ENCRYPTION_SET_ALREADY_EXISTS',
  });
  fc.assert(
    fc.property(fc.array(anyDecision, { maxLength: 25 }), (decisions) => {
      let set = made;
      for (const decide of decisions) {
        set = attempt(decide, set).reduce(evolve, set);
        // After its deletion another set may have the name.
        if (set.status === 'deleted') return;
        assert.equal(set.status !== 'absent' && set.encryptionType, double.encryptionType);
      }
    }),
    { numRuns: 300 },
  );
});

test('CMK-34 from any history: previous keys exist only during a rotation', () => {
  fc.assert(
    fc.property(anyHistory, (set) => {
      if (set.status === 'absent') return;
      const isMoving = set.rotation !== null && set.rotation.progress.status !== 'finished';
      // A move to another identity under the same key has none.
      assert.ok(isMoving || set.previousKeys.length === 0);
      assert.ok(!set.previousKeys.some(({ keyVersion }) => keyVersion === set.activeKey.keyVersion));
    }),
    { numRuns: 300 },
  );
});
