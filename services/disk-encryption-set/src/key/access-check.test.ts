import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { questionKey, restoreKey } from '../set/access.ts';
import { completeCreation } from '../set/decider.ts';
import { completeIdentity, removeIdentity, replaceIdentity } from '../set/identity.ts';
import { versionOf } from '../testing/test-neighbours.ts';
import { creatingSet, setName, type TestSets, testCause } from '../testing/test-sets.ts';
import { checkAccess } from './access-check.ts';

const keyVersion = versionOf('1');
const ofVault = 'a'.repeat(32);
const ofRemoval = 'b'.repeat(32);

/** Asks a vault that says no and what that goes back to. @returns since when, and by what, the set has lost its key then */
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

test('G10: what is older than an identity that no vault ever said yes to took nothing from it', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(1_001));
  assert.deepEqual(await refused(parts, { since: 500, epoch: 7 }), [1_000, ''], 'it never had access');
  assert.deepEqual(await refused(parts, { since: 500, epoch: 8 }), [1_000, ''], 'nor when it is asked again');
  assert.deepEqual(await refused(parts, { since: 1_050, epoch: 9 }), [1_050, ofVault], 'granted and withdrawn unseen');
});

test('G10: what took access away from who had it is named as the vault says it, whatever its clock', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(1_001));
  await parts.decide(restoreKey(1_002, { keyVersion, epoch: 6 }));
  assert.deepEqual(await refused(parts, { since: 500, epoch: 7 }), [500, ofVault]);
});

test('G10: another identity has been without access from its beginning, because of what ended the one before', async () => {
  const parts = await creatingSet();
  const other = 'principals/00000000-0000-4000-8000-000000000002';
  await parts.decide(completeCreation(1_001));
  await parts.decide(restoreKey(1_002, { keyVersion, epoch: 6 }));
  await parts.decide(removeIdentity(1_100, ofRemoval));
  await parts.decide(replaceIdentity(1_200, other));
  await parts.decide(completeIdentity(1_201, other));
  assert.deepEqual(await refused(parts, { since: 500, epoch: 7 }), [1_200, ofRemoval]);
});
