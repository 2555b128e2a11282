import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { type Cause, memoryStore, Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import { openSetKeys } from './set-keys.ts';

const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/s';
const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };

/** Five concurrent calls for the key of a set that has none on record here. @param answers of the set, in order */
const fiveAtOnce = async (answers: readonly (() => DiskEncryptionSet)[]) => {
  let asked = 0;
  const store = memoryStore({ clock: virtualClock() });
  const sets = {
    getDiskEncryptionSet: async () => {
      const answer = answers[asked];
      asked += 1;
      assert.ok(answer, 'asked more often than there are answers');
      return answer();
    },
  };
  const keys = openSetKeys(store, sets, { note: () => {} });
  const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => keys.inForce(set, cause)));
  return { asked, outcomes };
};

const known = (): DiskEncryptionSet =>
  DiskEncryptionSet.fromPartial({
    name: set,
    identity: { principal: 'principals/i' },
    activeKey: { keyVersion: 'vaults/v/keys/k/versions/1' },
    generation: 3,
  });
const failing = (error: Error) => (): never => {
  throw error;
};
const silent = (code: ConstructorParameters<typeof RpcFailure>[0]) =>
  failing(new RpcFailure(code, 'GetDiskEncryptionSet', 'disk-encryption-set', 'no answer'));

test('concurrent calls for the key of a set share one call to the set', async () => {
  const { asked, outcomes } = await fiveAtOnce([known]);
  assert.equal(asked, 1);
  for (const outcome of outcomes) assert.equal(outcome.status === 'fulfilled' && outcome.value.generation, 3);
});

test('the reply of the set, or its failure, is the result of all calls made together', async () => {
  const gone = new Rejection('NOT_FOUND', 'DISK_ENCRYPTION_SET_NOT_FOUND', 'gone', {});
  for (const answer of [failing(gone), silent('UNAVAILABLE')]) {
    const { asked, outcomes } = await fiveAtOnce([answer]);
    assert.equal(asked, 1, 'no call waits for the failures of the others');
    for (const { status } of outcomes) assert.equal(status, 'rejected');
  }
});

test('a shared call whose first caller runs out of time still serves the others', async () => {
  for (const code of ['CANCELLED', 'DEADLINE_EXCEEDED'] as const) {
    const { asked, outcomes } = await fiveAtOnce([silent(code), known]);
    assert.equal(asked, 2);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
  }
});

test('CMK-38: encryption under a set without an identity is refused with the reason, time and trace of the loss', async () => {
  const store = memoryStore({ clock: virtualClock() });
  const cut = DiskEncryptionSet.fromPartial({
    ...known(),
    identity: { principal: '', type: 'NONE' },
    provisioningState: 'SUCCEEDED',
    keyAccess: [
      {
        keyVersion: 'vaults/v/keys/k/versions/1',
        state: 'LOST',
        reason: 'IDENTITY_DELETED',
        since: new Date(1_000),
        traceId: 'ab'.repeat(16),
      },
    ],
  });
  const keys = openSetKeys(store, { getDiskEncryptionSet: async () => cut }, { note: () => {} });
  const disk = { name: 'subscriptions/s/resourceGroups/g/disks/d', location: 'l' };
  const encryption = { type: 'customer', set } as const;
  await assert.rejects(keys.forEncrypting(encryption, disk, cause), (error) => {
    assert.ok(error instanceof Rejection);
    const { since, trace_id, disk: named } = error.metadata;
    assert.deepEqual(
      [error.reason, since, trace_id, named],
      ['IDENTITY_DELETED', new Date(1_000).toISOString(), 'ab'.repeat(16), disk.name],
    );
    return true;
  });
});

test('G10: a rewrap to a generation names the event that started it, even if a creation used it first', async () => {
  const keys = openSetKeys(
    memoryStore({ clock: virtualClock() }),
    { getDiskEncryptionSet: async () => known() },
    { note: () => {} },
  );
  const key = { principal: 'principals/i', keyVersion: 'vaults/v/keys/k/versions/1', generation: 3 };
  await keys.begin(set, key, cause);
  assert.equal(await keys.causeOf(set, 3, cause), cause);
  await keys.begin(set, key, cause, `set-${set}@9`);
  await keys.begin(set, { ...key, generation: 4 }, cause, `set-${set}@12`);
  const causesOf = async (generation: number) => (await keys.causeOf(set, generation, cause)).causes;
  assert.deepEqual(await causesOf(3), [{ id: `set-${set}@9`, kind: 'call' }]);
  assert.deepEqual(await causesOf(4), [{ id: `set-${set}@12`, kind: 'call' }]);
});

test('the listener receives each key in force that is read, the first and the stored ones', async () => {
  const store = memoryStore({ clock: virtualClock() });
  const keys = openSetKeys(store, { getDiskEncryptionSet: async () => known() }, { note: () => {} });
  const read: [string, number][] = [];
  keys.listen((of, { generation }) => read.push([of, generation]));
  await keys.inForce(set, cause);
  await keys.begin(set, { principal: 'principals/n', keyVersion: 'vaults/v/keys/k/versions/1', generation: 4 }, cause);
  await keys.inForce(set, cause);
  assert.deepEqual(read, [
    [set, 3],
    [set, 4],
  ]);
});
