import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call } from '@interlock/rpc';
import { creatingSet, setName } from '../testing/test-sets.ts';
import { completeCreation, completeDeletion, release, startDeletion } from './decider.ts';
import { removeIdentity, replaceIdentity } from './identity.ts';
import { watchApi } from './watch.ts';

test('CMK-38: a watch continues while the set loses its identity and gets another, until the set is deleted', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(2));
  const signal = AbortSignal.timeout(10_000);
  const shown: string[] = [];
  const changes = [
    removeIdentity(3, ''),
    replaceIdentity(4, 'principals/00000000-0000-4000-8000-000000000002'),
    startDeletion(5),
    release(6),
    completeDeletion(7),
  ];
  const { watchDiskEncryptionSet } = watchApi(parts);
  for await (const { identity, provisioningState } of watchDiskEncryptionSet({ name: setName }, { signal } as Call)) {
    shown.push(`${provisioningState} ${identity?.type}`);
    const change = changes.shift();
    if (change) await parts.decide(change);
  }
  assert.deepEqual(shown, [
    'SUCCEEDED SYSTEM_ASSIGNED',
    'SUCCEEDED NONE',
    'UPDATING SYSTEM_ASSIGNED',
    'DELETING SYSTEM_ASSIGNED',
    'DELETING SYSTEM_ASSIGNED',
  ]);
  assert.deepEqual(changes, [], 'until the deletion');
});
