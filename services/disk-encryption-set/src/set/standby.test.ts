import assert from 'node:assert/strict';
import { test } from 'node:test';
import { versionOf } from '../test-neighbours.ts';
import { founding, keyReference, yesAt } from '../test-sets.ts';
import { loseKey } from './access.ts';
import { completeCreation, create } from './decider.ts';
import type { KeyReference, SetEvent } from './events.ts';
import { assignKey, finishRotation } from './key-change.ts';
import { changeOptions } from './options.ts';
import { type DiskEncryptionSet, evolve, initial } from './state.ts';

type Decision = (set: DiskEncryptionSet) => readonly SetEvent[];
const after = (...decisions: readonly Decision[]): DiskEncryptionSet =>
  decisions.reduce((set, decide) => decide(set).reduce(evolve, set), initial);
const created = [create(1, founding, keyReference('1')), completeCreation(2)];
const keyNamed = (key: string): KeyReference => ({
  keyVersion: `vaults/kv1/keys/${key}/versions/${'9'.repeat(32)}`,
  keyUrl: `https://kv1.vault.test/keys/${key}/${'9'.repeat(32)}`,
  sourceVault: '',
});
const [otherKey, thirdKey] = [keyNamed('k2'), keyNamed('k3')];
/** A standby that the owners of these versions agreed to. */
const agreed = (key: KeyReference, ...digits: readonly string[]) => ({ key, agreedFor: digits.map(versionOf) });
const standbyIn = (set: DiskEncryptionSet) => (set.status === 'absent' ? undefined : set.options.standbyKey);

test('CMK-10: a standby is named with the word of the owner of every key that something is under, and taken away without', () => {
  const name = changeOptions(5, { standby: agreed(otherKey, '2') });
  assert.equal(standbyIn(after(...created, name)), otherKey, 'the word is about the key, not one version');
  const unasked = changeOptions(5, { standby: agreed(otherKey) });
  assert.throws(() => unasked(after(...created)), { code: 'ABORTED', reason: 'KEY_CHANGED' });
  assert.deepEqual(unasked(after(...created, name)), [], 'the same again decides nothing');
  const moving = [...created, assignKey(3, thirdKey, yesAt(7))];
  assert.throws(() => name(after(...moving)), { reason: 'KEY_CHANGED' });
  assert.equal(standbyIn(after(...created, name, changeOptions(6, { standby: null }))), null);
});

test('CMK-10: a standby goes with the key it was agreed for, unless the owner of the new one agrees', () => {
  const named = [...created, changeOptions(3, { standby: agreed(otherKey, '1') })];
  const to = (key: KeyReference, word: string | null = null) => assignKey(4, key, yesAt(7), word);
  assert.equal(standbyIn(after(...named, to(keyReference('2')))), otherKey, 'another version of the same key');
  assert.equal(standbyIn(after(...named, to(thirdKey))), null);
  assert.equal(standbyIn(after(...named, to(thirdKey, otherKey.keyVersion))), otherKey);
  assert.equal(standbyIn(after(...named, to(thirdKey, versionOf('5')))), null, 'the word was about another standby');
  assert.equal(standbyIn(after(...named, to(otherKey, otherKey.keyVersion))), null, 'no key is its own standby');
  const loss = { keyVersion: versionOf('1'), reason: 'KEY_PURGED', epoch: 9, since: 5, traceId: '' } as const;
  const purged = loseKey(4, loss);
  assert.equal(
    standbyIn(after(...named, purged, to(keyReference('2')))),
    null,
    'a new key under the name of a purged one',
  );
});

test('CMK-108: what is under a standby stays a source of the move it was dropped by, and of the next, until all has moved', () => {
  const sourceOf = (set: DiskEncryptionSet) => set.status !== 'absent' && set.rotation?.standbySource;
  const named = [...created, changeOptions(3, { standby: agreed(otherKey, '1') })];
  const dropped = [...named, assignKey(4, thirdKey, yesAt(7))];
  assert.equal(sourceOf(after(...dropped)), otherKey);
  assert.equal(sourceOf(after(...dropped, assignKey(5, keyReference('2'), yesAt(8)))), otherKey);
  assert.equal(sourceOf(after(...dropped, finishRotation(5, 2), assignKey(6, keyReference('2'), yesAt(8)))), null);
});
