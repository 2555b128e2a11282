import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LossReason } from '@interlock/access';
import type { Call } from '@interlock/rpc';
import { fakeKey, versionOf } from '../testing/test-neighbour-keys.ts';
import { creatingSet, grantAt, keyReference, setName, testCause } from '../testing/test-sets.ts';
import { loseKey } from './access.ts';
import { completeCreation } from './decider.ts';
import { keyApi } from './key-api.ts';
import { assignKey, waitForKey } from './key-change.ts';

/** A set whose rotation waits, because it has lost version 1 for this reason and version 2 because it is disabled. */
const waitingSet = async (reason: LossReason) => {
  const parts = await creatingSet();
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3'));
  await parts.decide(completeCreation(2));
  await parts.decide(assignKey(3, keyReference('2'), grantAt(1)));
  await parts.decide(assignKey(4, keyReference('3'), grantAt(1)));
  const losses = [
    [versionOf('1'), reason],
    [versionOf('2'), 'KEY_DISABLED'],
  ] as const;
  for (const [keyVersion, why] of losses) {
    await parts.decide(loseKey(5, { keyVersion, reason: why, epoch: 7, since: 5, traceId: '' }));
  }
  await parts.decide(waitForKey(6, 3, { reason, keyVersion: versionOf('1') }));
  const chooseKey = () => assert.fail('no key is chosen');
  const api = keyApi({ ...parts, chooseKey, schedule: () => undefined });
  const resume = () =>
    api.resumeRotation({ name: setName, keyOwnerToken: 'owner', etag: '' }, { cause: testCause } as unknown as Call);
  return { parts, resume };
};
const moveOf = (digit: string) => `${versionOf(digit)} ${versionOf('3')}`;

test('CMK-108: no authorization is requested for a purged key, and the token counts for the other keys of its owner', async () => {
  const { parts, resume } = await waitingSet('KEY_PURGED');
  await resume();
  assert.deepEqual(parts.neighbours.authorizations, [moveOf('2')]);
});

test('CMK-121: the owner of a disabled or deleted key authorizes the move away from it, and of no other', async () => {
  for (const reason of ['KEY_DISABLED', 'KEY_DELETED'] as const) {
    const { parts, resume } = await waitingSet(reason);
    await resume();
    assert.deepEqual(parts.neighbours.authorizations.toSorted(), [moveOf('1'), moveOf('2')]);
  }
  const { parts, resume } = await waitingSet('ACCESS_DENIED');
  await resume();
  assert.deepEqual(parts.neighbours.authorizations, [moveOf('2')]);
});
