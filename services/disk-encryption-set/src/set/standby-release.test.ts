import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ResumeRotationRequest } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Call } from '@interlock/rpc';
import { versionOf } from '../test-neighbours.ts';
import { creatingSet, keyReference, setName, testCause, yesAt } from '../test-sets.ts';
import { loseKey } from './access.ts';
import { completeCreation } from './decider.ts';
import { keyApi } from './key-api.ts';
import { assignKey } from './key-change.ts';
import { changeOptions } from './options.ts';

const standby = {
  keyVersion: `vaults/kv1/keys/k2/versions/${'9'.repeat(32)}`,
  keyUrl: `https://kv1.vault.test/keys/k2/${'9'.repeat(32)}`,
  sourceVault: '',
};
const loss = { keyVersion: versionOf('1'), reason: 'KEY_PURGED', epoch: 9, since: 5, traceId: '' } as const;

/** A set that waits for the word of the owner of its standby key, because its first key is purged. */
const waiting = async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(2));
  await parts.decide(changeOptions(3, { standby: { key: standby, agreedFor: [versionOf('1')] } }));
  await parts.decide(loseKey(4, loss));
  await parts.decide(assignKey(5, keyReference('2'), yesAt(10)));
  const isReleased = async () => {
    const state = await parts.state();
    return state.status === 'active' && state.rotation?.isStandbyReleased;
  };
  /** @param then what happens once the word is given */
  const resume = (then: () => Promise<void>) => {
    const authorizeRewrap: typeof parts.keyVault.authorizeRewrap = async (...asked) => {
      const given = await parts.keyVault.authorizeRewrap(...asked);
      await then();
      return given;
    };
    const chooseKey = () => Promise.reject(new Error('no key is chosen'));
    const keyVault = { ...parts.keyVault, authorizeRewrap };
    const { resumeRotation } = keyApi({ ...parts, keyVault, chooseKey, attend: () => undefined });
    const request = ResumeRotationRequest.fromPartial({ name: setName, keyOwnerToken: 'owner' });
    return resumeRotation(request, { cause: testCause } as Call);
  };
  return { parts, resume, isReleased };
};

test('CMK-10, CMK-108: the word of the owner of a standby key releases its wraps for the key it was given for', async () => {
  const { parts, resume, isReleased } = await waiting();
  await resume(async () => undefined);
  assert.deepEqual(parts.neighbours.words, [`${standby.keyVersion} ${versionOf('2')}`]);
  assert.equal(await isReleased(), true);
});

test('CMK-10: another key that was assigned while the word was given gets nothing by it', async () => {
  const { parts, resume, isReleased } = await waiting();
  const another = () => parts.decide(assignKey(6, keyReference('3'), yesAt(11)));
  await assert.rejects(resume(another), { code: 'ABORTED', reason: 'KEY_CHANGED' });
  assert.equal(await isReleased(), false);
});
