import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completeCreation } from '../set/decider.ts';
import { assignKey, noticeNewer } from '../set/key-change.ts';
import { changeOptions } from '../set/options.ts';
import type { DiskEncryptionSet } from '../set/state.ts';
import { fakeKey, versionOf } from '../testing/test-neighbour-keys.ts';
import {
  creatingSet,
  failAtEach,
  grantAt,
  keyReference,
  setName,
  type TestSets,
  testCause,
} from '../testing/test-sets.ts';
import { follow } from './following.ts';

/** A set that names version 1 of a key whose versions are 1 and 2, and follows it. */
const following = async (): Promise<TestSets> => {
  const parts = await creatingSet();
  const { principals } = parts.neighbours;
  await parts.decide(completeCreation(2));
  const { state } = await parts.sets.load(setName);
  principals.set(state.status === 'absent' ? '' : state.principal, { owner: setName, isDeleted: false });
  await parts.decide(changeOptions(3, { autoKeyRotation: true }));
  return parts;
};
const look = async (parts: TestSets): Promise<boolean> => follow(parts, setName, testCause);
const active = (set: DiskEncryptionSet) => {
  assert.ok(set.status === 'active');
  return set;
};

test('CMK-36, CMK-81, CMK-85: a set that follows its key moves to the newest version, as an assignment would', async () => {
  const parts = await following();
  assert.equal(await look(parts), true);
  const set = active(await parts.state());
  assert.deepEqual(
    [set.activeKey.keyVersion, set.generation, set.following],
    [versionOf('2'), 2, { due: null, error: null }],
  );
  assert.equal(set.rotation?.progress.status, 'running');
  const { length } = await parts.history();
  assert.equal(await look(parts), false);
  assert.equal((await parts.history()).length, length, 'a check at the newest version decides nothing');
});

test('CMK-84: a set that does not follow its key keeps its version when a newer one appears', async () => {
  const parts = await following();
  await parts.decide(changeOptions(4, { autoKeyRotation: false }));
  const { length } = await parts.history();
  await parts.decide(noticeNewer(9));
  assert.equal(await look(parts), false);
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3', { enabled: false }));
  assert.equal(await look(parts), false);
  const { activeKey, following: known } = active(await parts.state());
  assert.deepEqual([activeKey.keyVersion, known], [versionOf('1'), { due: null, error: null }]);
  assert.equal((await parts.history()).length, length, 'neither the newer version nor what blocks it is stored');
});

test('CMK-36: a set whose owner turns automatic rotation off during a check keeps its version', async () => {
  const parts = await following();
  const { keyVault } = parts;
  const looking = follow(
    {
      ...parts,
      keyVault: {
        ...keyVault,
        async findNewerKeyVersion(...request) {
          const answer = await keyVault.findNewerKeyVersion(...request);
          await parts.decide(changeOptions(4, { autoKeyRotation: false }));
          return answer;
        },
      },
    },
    setName,
    testCause,
  );
  assert.equal(await looking, false);
  assert.equal(active(await parts.state()).activeKey.keyVersion, versionOf('1'));
});

test('CMK-81: a set takes the newest usable version, never a disabled or an older one', async () => {
  const parts = await following();
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3', { enabled: false }));
  await look(parts);
  assert.equal(active(await parts.state()).activeKey.keyVersion, versionOf('2'));
  await look(parts);
  const { activeKey, following: known } = active(await parts.state());
  assert.deepEqual(
    [activeKey.keyVersion, known.error?.code, known.error?.keyVersion],
    [versionOf('2'), 'KEY_DISABLED', versionOf('3')],
  );
});

const obstacles: readonly (readonly [string, (parts: TestSets) => void, (parts: TestSets) => void])[] = [
  [
    'ACCESS_DENIED',
    ({ neighbours }) => Object.assign(neighbours.keys.get(versionOf('2')) ?? {}, { lost: 'ACCESS_DENIED' }),
    ({ neighbours }) => Object.assign(neighbours.keys.get(versionOf('2')) ?? {}, { lost: undefined }),
  ],
  [
    'LOCATION_MISMATCH',
    ({ neighbours }) => neighbours.keys.set(versionOf('2'), fakeKey('2', { location: 'northeurope' })),
    ({ neighbours }) => neighbours.keys.set(versionOf('2'), fakeKey('2')),
  ],
  [
    'ManagedServiceIdentityNotFound',
    ({ neighbours }) => {
      for (const one of neighbours.principals.values()) one.isDeleted = true;
    },
    ({ neighbours }) => {
      for (const one of neighbours.principals.values()) one.isDeleted = false;
    },
  ],
];
for (const [code, put, take] of obstacles) {
  test(`CMK-37, CMK-87: ${code} is stored as an error of the set, changes nothing else, and is removed once it is fixed`, async () => {
    const parts = await following();
    put(parts);
    assert.equal(await look(parts), false);
    const missed = active(await parts.state());
    assert.deepEqual(
      [missed.following.error?.code, missed.following.error?.keyVersion, missed.following.due],
      [code, versionOf('2'), null],
    );
    assert.deepEqual([missed.activeKey.keyVersion, missed.generation], [versionOf('1'), 1]);
    const { length } = await parts.history();
    await look(parts);
    assert.equal((await parts.history()).length, length, 'the same obstacle is noted once');
    take(parts);
    assert.equal(await look(parts), true);
    assert.equal(active(await parts.state()).following.error, null);
  });
}

test('a key assigned during a check stays, and the check stores nothing', async () => {
  const parts = await following();
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3'));
  const { keyVault } = parts;
  const looking = follow(
    {
      ...parts,
      keyVault: {
        ...keyVault,
        async findNewerKeyVersion(...request) {
          const answer = await keyVault.findNewerKeyVersion(...request);
          await parts.decide(assignKey(5, keyReference('2'), grantAt(1)));
          return answer;
        },
      },
    },
    setName,
    testCause,
  );
  assert.equal(await looking, false);
  const { activeKey, generation } = active(await parts.state());
  assert.deepEqual([activeKey.keyVersion, generation], [versionOf('2'), 2]);
});

test('after an outage at any step the check is repeated, and the key is assigned once', async () => {
  const tried = await failAtEach(
    following,
    async (parts) => {
      await look(parts);
    },
    async (parts) => {
      const { activeKey, generation } = active(await parts.state());
      assert.deepEqual([activeKey.keyVersion, generation], [versionOf('2'), 2]);
      assert.equal((await parts.history()).filter((type) => type === 'KeyAssigned').length, 1);
    },
  );
  assert.ok(tried >= 6, `${tried}`);
});

test('two replicas that check at the same time assign the key once', async () => {
  const parts = await following();
  await Promise.all([look(parts), look(parts)]);
  assert.equal((await parts.history()).filter((type) => type === 'KeyAssigned').length, 1);
});
