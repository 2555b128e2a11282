import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { questionKey, restoreKey } from '../set/access.ts';
import { completeCreation } from '../set/decider.ts';
import { completeIdentity, removeIdentity, replaceIdentity } from '../set/identity.ts';
import { versionOf } from '../testing/test-neighbour-keys.ts';
import { creatingSet, setName, type TestSets, testCause } from '../testing/test-sets.ts';
import { checkAccess } from './access-check.ts';

const keyVersion = versionOf('1');
const ofVault = 'a'.repeat(32);
const ofRemoval = 'b'.repeat(32);

/** Checks access at a vault that refuses with this time and epoch. @returns time and trace of the loss that the set then has */
const refused = async (
  parts: TestSets,
  { since, epoch }: { readonly since: number; readonly epoch: number },
): Promise<readonly (number | string)[]> => {
  const checkKeyAccess: typeof parts.disks.checkKeyAccess = async () => {
    throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no', {
      key_version: keyVersion,
      access_epoch: String(epoch),
      since: new Date(since).toISOString(),
      trace_id: ofVault,
    });
  };
  await parts.decide(questionKey(keyVersion, { epoch, since: 1_000, traceId: '' }));
  await checkAccess({ ...parts, disks: { ...parts.disks, checkKeyAccess } }, setName, testCause);
  const state = await parts.state();
  const known = state.status === 'active' ? state.access[keyVersion] : undefined;
  return known?.state === 'lost' ? [known.since, known.traceId] : [];
};

test('G10: a change older than an identity that never had access is not named as the cause of its loss', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(1_001));
  assert.deepEqual(await refused(parts, { since: 500, epoch: 7 }), [1_000, ''], 'it never had access');
  assert.deepEqual(await refused(parts, { since: 500, epoch: 8 }), [1_000, ''], 'nor when the check is repeated');
  assert.deepEqual(await refused(parts, { since: 1_050, epoch: 9 }), [1_050, ofVault], 'granted and withdrawn unseen');
});

test('G10: an identity that had access gets the time and trace of its loss from the vault, whatever the clock', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(1_001));
  await parts.decide(restoreKey(1_002, { keyVersion, epoch: 6 }));
  assert.deepEqual(await refused(parts, { since: 500, epoch: 7 }), [500, ofVault]);
});

test('G10: a new identity has no access from its start, because of what removed the identity before', async () => {
  const parts = await creatingSet();
  const other = 'principals/00000000-0000-4000-8000-000000000002';
  await parts.decide(completeCreation(1_001));
  await parts.decide(restoreKey(1_002, { keyVersion, epoch: 6 }));
  await parts.decide(removeIdentity(1_100, ofRemoval));
  await parts.decide(replaceIdentity(1_200, other));
  await parts.decide(completeIdentity(1_201, other));
  assert.deepEqual(await refused(parts, { since: 500, epoch: 7 }), [1_200, ofRemoval]);
});
