import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishDeletion } from './deletion.ts';
import { settleIdentity } from './identity-change.ts';
import { completeCreation, startDeletion } from './set/decider.ts';
import { removeIdentity, replaceIdentity } from './set/identity.ts';
import { creatingSet, failAtEach, principal, setName, type TestSets, testCause } from './test-sets.ts';

const other = 'principals/00000000-0000-4000-8000-000000000002';
const run = (parts: TestSets) => settleIdentity(parts, setName, testCause);

/** A set whose identity was removed, and another one chosen; nothing of it is done at identity yet. */
const begun = async (): Promise<TestSets> => {
  const parts = await creatingSet();
  parts.neighbours.principals.set(principal, { owner: setName, isDeleted: false });
  await parts.decide(completeCreation(2));
  await parts.decide(removeIdentity(3, ''));
  await parts.decide(replaceIdentity(4, other));
  return parts;
};

test('CMK-38: an outage at any step leaves the old identity deleted and one new one made', async () => {
  const tried = await failAtEach(begun, run, async (parts) => {
    const { principals } = parts.neighbours;
    assert.deepEqual(
      [...principals].map(([name, { isDeleted }]) => [name, isDeleted]),
      [
        [principal, true],
        [other, false],
      ],
    );
    const state = await parts.state();
    assert.deepEqual(state.status === 'active' && [state.principal, state.identity], [
      other,
      { isMade: true, retiring: [] },
    ]);
  });
  assert.equal(tried, 8, 'two calls and two commits, each before and after its effect');
});

test('two replicas that settle the same change make one identity', async () => {
  const parts = await begun();
  await Promise.all([run(parts), run(parts)]);
  assert.deepEqual([...parts.neighbours.principals.keys()], [principal, other]);
  assert.equal((await parts.history()).filter((type) => type === 'IdentityMade').length, 1);
});

test('CMK-39: a set deleted before its old identity was leaves neither behind', async () => {
  const parts = await begun();
  await parts.decide(startDeletion(5));
  await finishDeletion(parts, setName, testCause);
  assert.equal((await parts.state()).status, 'deleted');
  assert.ok([...parts.neighbours.principals.values()].every(({ isDeleted }) => isDeleted));
});
