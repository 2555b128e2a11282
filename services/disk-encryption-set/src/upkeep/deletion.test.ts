import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuseDeletion, startDeletion } from '../set/decider.ts';
import { versionOf } from '../testing/test-neighbour-keys.ts';
import { creatingSet, failAtEach, principal, setName, type TestSets, testCause } from '../testing/test-sets.ts';
import { finishCreation } from './creation.ts';
import { finishDeletion } from './deletion.ts';

const run = (parts: TestSets) => finishDeletion(parts, setName, testCause);
const deleting = async (): Promise<TestSets> => {
  const parts = await creatingSet();
  await finishCreation(parts, setName, testCause);
  await parts.decide(startDeletion(2_000));
  return parts;
};
const disk = { set: setName, keyVersion: versionOf('1'), generation: 1 };

test('CMK-39: the identity is deleted with the set', async () => {
  const parts = await deleting();
  await run(parts);
  assert.equal(parts.neighbours.principals.get(principal)?.isDeleted, true);
  assert.equal((await parts.state()).status, 'deleted');
});

test('CMK-39: after an outage at any step set and identity are deleted', async () => {
  const tried = await failAtEach(deleting, run, async (parts) => {
    assert.equal((await parts.state()).status, 'deleted');
    assert.equal(parts.neighbours.principals.get(principal)?.isDeleted, true);
    assert.deepEqual((await parts.history()).slice(-3), ['SetDeleting', 'SetReleased', 'SetDeleted']);
  });
  assert.equal(tried, 8, 'two calls and two commits, each before and after its effect');
});

test('CMK-130: a set in use is not deleted, and the refusal names its users', async () => {
  const parts = await deleting();
  for (let n = 0; n < 12; n++) parts.neighbours.stock.set(`disk${String(n).padStart(2, '0')}`, { ...disk });
  const users = Array.from({ length: 10 }, (_, n) => `disk${String(n).padStart(2, '0')}`).join(', ');
  await assert.rejects(run(parts), {
    reason: 'DISK_ENCRYPTION_SET_IN_USE',
    metadata: { name: setName, resources: users },
  });
  assert.equal((await parts.state()).status, 'active');
  assert.equal(parts.neighbours.principals.get(principal)?.isDeleted, false);
});

test('CMK-130: an outage at any step of a refused deletion leaves the set and its identity', async () => {
  await failAtEach(
    async () => {
      const parts = await deleting();
      parts.neighbours.stock.set('disk', { ...disk });
      return parts;
    },
    async (parts) => {
      await run(parts).catch((error: unknown) => {
        if (!(error instanceof Error && error.message.includes('is used by'))) throw error;
      });
    },
    async (parts) => {
      assert.equal((await parts.state()).status, 'active');
      assert.equal(parts.neighbours.principals.get(principal)?.isDeleted, false);
    },
  );
});

test('CMK-130: a replica that saw users cannot restore a set that another replica has released', async () => {
  const parts = await deleting();
  parts.neighbours.stock.set('disk', { ...disk });
  // The other replica looks after the user is gone, while this one is about to store its refusal.
  let isOtherDone = false;
  const slow = {
    ...parts,
    disks: {
      ...parts.disks,
      listEncryptedResources: async (...asked: Parameters<typeof parts.disks.listEncryptedResources>) => {
        const answer = await parts.disks.listEncryptedResources(...asked);
        parts.neighbours.stock.clear();
        await run(parts);
        isOtherDone = true;
        return answer;
      },
    },
  };
  await finishDeletion(slow, setName, testCause);
  assert.ok(isOtherDone);
  assert.equal((await parts.state()).status, 'deleted');
});

test('CMK-130: a replica that saw no users before a refused deletion does not release the set in the next one', async () => {
  const parts = await deleting();
  let looks = 0;
  const listEncryptedResources: typeof parts.disks.listEncryptedResources = async (...asked) => {
    const answer = await parts.disks.listEncryptedResources(...asked);
    looks += 1;
    if (looks > 1) return answer;
    // Before this one stores what it saw, another replica refuses the deletion, a disk is created, and a new deletion starts.
    await parts.decide(refuseDeletion(2));
    parts.neighbours.stock.set('disk', { ...disk });
    await parts.decide(startDeletion(3));
    return answer;
  };
  const slow = { ...parts, disks: { ...parts.disks, listEncryptedResources } };
  await assert.rejects(finishDeletion(slow, setName, testCause), { reason: 'DISK_ENCRYPTION_SET_IN_USE' });
  assert.equal((await parts.state()).status, 'active');
  assert.equal(parts.neighbours.principals.get(principal)?.isDeleted, false);
});
