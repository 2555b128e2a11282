import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FINAL_EPOCH } from '@interlock/access';
import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { checkAccess } from '../key/access-check.ts';
import { reactions } from '../reactor.ts';
import { loseKey, questionKey } from '../set/access.ts';
import { completeCreation, startDeletion } from '../set/decider.ts';
import { removeIdentity, replaceIdentity } from '../set/identity.ts';
import { versionOf } from '../testing/test-neighbour-keys.ts';
import { creatingSet, failAtEach, principal, setName, type TestSets, testCause } from '../testing/test-sets.ts';
import { finishDeletion } from './deletion.ts';
import { reconcileIdentity } from './identity-change.ts';

const other = 'principals/00000000-0000-4000-8000-000000000002';
const third = 'principals/00000000-0000-4000-8000-000000000003';
const run = async (parts: TestSets): Promise<void> => {
  await reconcileIdentity(parts, setName, testCause);
};

/** A set whose identity was removed and replaced; the identity service has not been called yet. */
const begun = async (): Promise<TestSets> => {
  const parts = await creatingSet();
  parts.neighbours.principals.set(principal, { owner: setName, isDeleted: false });
  await parts.decide(completeCreation(2));
  await parts.decide(removeIdentity(3, ''));
  await parts.decide(replaceIdentity(4, other));
  return parts;
};

test('CMK-38: an outage at any step leaves the old identity deleted and one new identity created', async () => {
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
      { isMade: true, retiring: [], ungrantedSince: 4 },
    ]);
  });
  assert.equal(tried, 8, 'two calls and two commits, each before and after its effect');
});

test('CMK-40: a user-assigned identity is not deleted with its set, and the set cannot get it again', async () => {
  const parts = await creatingSet();
  const { principals, calls } = parts.neighbours;
  principals.set(principal, { owner: setName, isDeleted: false });
  for (const given of [other, third]) principals.set(given, { owner: '', isDeleted: false });
  await parts.decide(completeCreation(2));
  await assert.rejects(parts.decide(replaceIdentity(3, other, true)), { reason: 'IDENTITY_PRESENT' });
  await parts.decide(removeIdentity(3, ''));
  await parts.decide(replaceIdentity(4, other, true));
  await run(parts);
  assert.ok(!calls.includes('createManagedIdentity'));
  await assert.rejects(parts.decide(replaceIdentity(5, third)), { reason: 'IDENTITY_PRESENT' });
  await parts.decide(removeIdentity(5, ''));
  await run(parts);
  await assert.rejects(parts.decide(replaceIdentity(6, other, true)), { reason: 'IDENTITY_NOT_ASSIGNABLE' });
  await parts.decide(replaceIdentity(6, third, true));
  await run(parts);
  await parts.decide(startDeletion(7));
  await finishDeletion(parts, setName, testCause);
  assert.deepEqual(
    [...principals].map(([name, { isDeleted }]) => [name, isDeleted]),
    [
      [principal, true],
      [other, false],
      [third, false],
    ],
  );
});

test('G7: a set does not use an identity before it exists, and checks access once it does', async () => {
  const parts = await begun();
  const keyVersion = versionOf('1');
  await parts.decide(questionKey(keyVersion, { epoch: 5, since: 5, traceId: '' }));
  // A run from before the set got this identity: it created none, and continues with the questions.
  assert.equal(await checkAccess(parts, setName, testCause), false);
  assert.ok(!parts.neighbours.calls.includes('checkKeyAccess'));
  assert.equal(await reconcileIdentity(parts, setName, testCause), true, 'access has to be checked');
  assert.equal(await reconcileIdentity(parts, setName, testCause), false);
  parts.neighbours.epoch = 5;
  assert.equal(await checkAccess(parts, setName, testCause), true);
  const state = await parts.state();
  assert.deepEqual(state.status === 'active' && [state.access[keyVersion]?.state, state.questions], ['available', {}]);
});

test('two replicas that reconcile the same identity change create one identity', async () => {
  const parts = await begun();
  const settled = await Promise.all([1, 2].map(() => reconcileIdentity(parts, setName, testCause)));
  assert.deepEqual([...parts.neighbours.principals.keys()], [principal, other]);
  assert.deepEqual(settled.sort(), [false, true], 'and only one run has to check access');
  assert.equal((await parts.history()).filter((type) => type === 'IdentityMade').length, 1);
});

test('G10: the deletion of the old identity is no cause of the new one if another replica recorded it', async () => {
  const parts = await begun();
  const { deletePrincipal, createManagedIdentity } = parts.neighbours.identities;
  const trackers: unknown[] = [];
  const identities: TestSets['identities'] = {
    ...parts.identities,
    deletePrincipal(request, options) {
      trackers.push(options?.cause?.tracker);
      return deletePrincipal(request, options);
    },
    createManagedIdentity(request, options) {
      trackers.push(options?.cause?.tracker);
      return createManagedIdentity(request, options);
    },
  };
  await reconcileIdentity({ ...parts, identities }, setName, testCause);
  const [deleting, creating] = trackers;
  assert.ok(deleting !== undefined && creating !== undefined);
  assert.notEqual(deleting, creating, 'each answer is kept for the commit that follows it');
});

test('CMK-39: deleting a set also deletes a removed identity that still exists', async () => {
  const parts = await begun();
  await parts.decide(startDeletion(5));
  await finishDeletion(parts, setName, testCause);
  assert.equal((await parts.state()).status, 'deleted');
  assert.ok([...parts.neighbours.principals.values()].every(({ isDeleted }) => isDeleted));
});

test('G1: a removed identity is deleted although an outage keeps the deletion of its set from finishing', async () => {
  const parts = await begun();
  await parts.decide(startDeletion(5));
  parts.neighbours.outage = (_call, method) => (method === 'listEncryptedResources' ? 'before' : undefined);
  await assert.rejects(finishDeletion(parts, setName, testCause));
  assert.equal(await reconcileIdentity(parts, setName, testCause), false);
  const state = await parts.state();
  assert.deepEqual(state.status === 'deleting' && state.identity.retiring, []);
  assert.deepEqual([...parts.neighbours.principals], [[principal, { owner: setName, isDeleted: true }]]);
});

test('CMK-37: an identity that was deleted before its creation was recorded is detected and replaced', async () => {
  const parts = await begun();
  parts.neighbours.outage = (_call, method) => (method === 'createManagedIdentity' ? 'after' : undefined);
  await assert.rejects(run(parts));
  parts.neighbours.outage = undefined;
  await parts.neighbours.identities.deletePrincipal({ name: other });
  await run(parts);
  await checkAccess(parts, setName, testCause);
  await parts.decide(replaceIdentity(6, third));
  await run(parts);
  const state = await parts.state();
  assert.deepEqual(state.status === 'active' && [state.principal, state.identity.isMade], [third, true]);
});

test('CMK-39: an identity that is removed while it is being created is deleted', async () => {
  const parts = await begun();
  const { identities } = parts;
  const createManagedIdentity: typeof identities.createManagedIdentity = async (...request) => {
    // Another replica reconciles the removal before the principal exists.
    await parts.decide(removeIdentity(5, ''));
    await run(parts);
    return identities.createManagedIdentity(...request);
  };
  await reconcileIdentity({ ...parts, identities: { ...identities, createManagedIdentity } }, setName, testCause);
  assert.ok([...parts.neighbours.principals.values()].every(({ isDeleted }) => isDeleted));
});

test('CMK-39: an identity that is created after its set was deleted is deleted too', async () => {
  const parts = await begun();
  const { identities } = parts;
  const createManagedIdentity: typeof identities.createManagedIdentity = async (...request) => {
    // The set is deleted before the principal exists.
    await parts.decide(startDeletion(5));
    await finishDeletion(parts, setName, testCause);
    return identities.createManagedIdentity(...request);
  };
  await reconcileIdentity({ ...parts, identities: { ...identities, createManagedIdentity } }, setName, testCause);
  assert.equal((await parts.state()).status, 'deleted');
  assert.ok([...parts.neighbours.principals.values()].every(({ isDeleted }) => isDeleted));
});

test('G7: a late fact about a deleted identity does not affect the identity that replaced it', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(2));
  const end = {
    keyVersion: versionOf('1'),
    reason: 'IDENTITY_DELETED',
    epoch: FINAL_EPOCH,
    since: 3,
    traceId: '',
  } as const;
  // The other replica was quicker: by the time this one decides, the loss is published and the identity replaced.
  const transactMany: typeof parts.sets.transactMany = async (...transaction) => {
    await parts.decide(loseKey(3, end));
    await parts.decide(replaceIdentity(4, other));
    return parts.sets.transactMany(...transaction);
  };
  const { identity } = reactions({ ...parts, sets: { ...parts.sets, transactMany }, schedule: () => undefined });
  const event = IdentityEvent.fromPartial({ event: { $case: 'principalDeleted', value: { principal } } });
  const fact = Fact.fromPartial({
    type: 'PrincipalDeleted',
    payload: Buffer.from(IdentityEvent.encode(event).finish()),
  });
  await identity.PrincipalDeleted?.(fact, { cause: testCause, signal: new AbortController().signal });
  const state = await parts.state();
  assert.ok(state.status === 'active');
  assert.deepEqual([state.principal, state.access[versionOf('1')]?.epoch], [other, 0], 'no loss of the new one');
});

test('G10: a set without an identity shows IDENTITY_DELETED, whatever its loss was before', async () => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(2));
  const refused = { keyVersion: versionOf('1'), reason: 'ACCESS_DENIED', epoch: 7, since: 3, traceId: '' } as const;
  await parts.decide(loseKey(3, refused));
  const [, lost] = removeIdentity(4, '')(await parts.state());
  assert.ok(lost?.type === 'KeyAccessLost');
  assert.deepEqual([lost.reason, lost.principal], ['IDENTITY_DELETED', principal]);
});
