import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { create, startDeletion } from '../set/decider.ts';
import {
  creatingSet,
  failAtEach,
  keyReference,
  newSet,
  principal,
  setName,
  type TestSets,
  testCause,
} from '../testing/test-sets.ts';
import { finishCreation } from './creation.ts';
import { finishDeletion } from './deletion.ts';

const run = (parts: TestSets) => finishCreation(parts, setName, testCause);
const begun = creatingSet;

test('CMK-04: the identity is created with the set and belongs to it', async () => {
  const parts = await begun();
  await run(parts);
  assert.deepEqual(parts.neighbours.principals.get(principal), { owner: setName, isDeleted: false });
  assert.deepEqual(await parts.history(), ['SetCreating', 'SetCreated', 'SetOptionsChanged', 'KeyAccessQuestioned']);
});

test('CMK-04: an outage at any step leaves one identity and one set', async () => {
  const tried = await failAtEach(begun, run, async (parts) => {
    assert.equal((await parts.state()).status, 'active');
    assert.deepEqual([...parts.neighbours.principals.keys()], [principal]);
    assert.deepEqual(await parts.history(), ['SetCreating', 'SetCreated', 'SetOptionsChanged', 'KeyAccessQuestioned']);
  });
  assert.equal(tried, 4, 'one call and one commit, each before and after its effect');
});

test('two replicas that finish the same creation make one set', async () => {
  const parts = await begun();
  await Promise.all([run(parts), run(parts), run(parts)]);
  assert.deepEqual(await parts.history(), ['SetCreating', 'SetCreated', 'SetOptionsChanged', 'KeyAccessQuestioned']);
});

test('a creation whose identity is refused for good leaves no set', async () => {
  const parts = await begun();
  parts.neighbours.principals.set(principal, { owner: 'another owner', isDeleted: true });
  await assert.rejects(
    run(parts),
    (error) => error instanceof Rejection && error.reason === 'PRINCIPAL_ALREADY_EXISTS',
  );
  assert.equal((await parts.state()).status, 'deleted');
});

test('a creation continues later if the identity service is unavailable', async () => {
  const parts = await begun();
  const busy = () => Promise.reject(new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'try again'));
  const identities = { ...parts.identities, createManagedIdentity: busy };
  await assert.rejects(finishCreation({ ...parts, identities }, setName, testCause), { reason: 'STORE_UNAVAILABLE' });
  assert.equal((await parts.state()).status, 'creating');
  await run(parts);
  assert.equal((await parts.state()).status, 'active');
});

test('CMK-39: the identity of a deleted set does not affect the next set of its name', async () => {
  const next = 'principals/00000000-0000-4000-8000-000000000002';
  /** The response arrives once another replica finished the creation, the set was deleted, and another one was started. */
  const late = (parts: TestSets, made: 'before' | 'after'): TestSets['identities'] => ({
    ...parts.identities,
    async createManagedIdentity(...request) {
      const answer = made === 'before' ? await parts.identities.createManagedIdentity(...request) : undefined;
      await run(parts);
      await parts.decide(startDeletion(2));
      await finishDeletion(parts, setName, testCause);
      await parts.decide(create(3, { ...newSet, principal: next }, keyReference('1')));
      return answer ?? parts.identities.createManagedIdentity(...request);
    },
  });
  for (const made of ['before', 'after'] as const) {
    const parts = await begun();
    const finished = finishCreation({ ...parts, identities: late(parts, made) }, setName, testCause);
    if (made === 'before') await finished;
    else await assert.rejects(finished, { reason: 'PRINCIPAL_ALREADY_EXISTS' });
    const state = await parts.state();
    assert.deepEqual(state.status !== 'absent' && [state.status, state.principal], ['creating', next], made);
    await run(parts);
    assert.equal((await parts.state()).status, 'active');
    assert.deepEqual(
      [...parts.neighbours.principals].map(([name, { isDeleted }]) => [name, isDeleted]),
      [
        [principal, true],
        [next, false],
      ],
    );
  }
});
