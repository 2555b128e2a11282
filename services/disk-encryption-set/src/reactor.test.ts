import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FINAL_EPOCH } from '@interlock/access';
import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection } from '@interlock/event-store';
import { checkAccess } from './key/access-check.ts';
import { reactions } from './reactor.ts';
import { create } from './set/decider.ts';
import { assignKey } from './set/key-change.ts';
import { changeOptions } from './set/options.ts';
import { versionOf } from './testing/test-neighbour-keys.ts';
import {
  grantAt,
  keyReference,
  newSet,
  principal,
  setName,
  type TestSets,
  testCause,
  testSets,
} from './testing/test-sets.ts';
import { finishCreation } from './upkeep/creation.ts';
import { follow } from './upkeep/following.ts';

const traceId = 'a'.repeat(32);
const otherSet = `${setName}-other`;
const vault = 'vaults/kv1';
const key = `${vault}/keys/k1`;
const lostTime = new Date(500);
/** Time from the decision of a change to its commit, in milliseconds. */
const COMMIT_MS = 24;

/** Two sets: one under version 1, moving from it to 2; the other under 3, with another identity. */
const world = async (beaten: ReadonlySet<string> = new Set()) => {
  const parts = testSets();
  await parts.decide(create(1, newSet, keyReference('1')));
  const otherNewSet = { ...newSet, principal: 'principals/00000000-0000-4000-8000-000000000009' };
  await parts.sets.transact(otherSet, create(1, otherNewSet, keyReference('3')), testCause);
  for (const set of [setName, otherSet]) await finishCreation(parts, set, testCause);
  await parts.decide(assignKey(2, keyReference('2'), grantAt(1)));
  const scheduled: string[] = [];
  const sets: typeof parts.sets = {
    ...parts.sets,
    // As if others changed them before each commit.
    async transactMany(streams, decide, cause, options = {}) {
      const idOf = (stream: (typeof streams)[number]) => (typeof stream === 'string' ? stream : stream.id);
      const [lost = [], won = []] = [true, false].map((is) => streams.filter((one) => beaten.has(idOf(one)) === is));
      const { changed, rejected } = await parts.sets.transactMany(won, decide, cause, options);
      const refusals = lost.map((one) => ({ id: idOf(one), rejection: new Rejection('ABORTED', 'CONTENTION', '') }));
      const [first] = refusals;
      if (first && options.onContention !== 'reject') throw first.rejection;
      return { changed, rejected: [...rejected, ...refusals] };
    },
  };
  const handlers = reactions({ ...parts, sets, schedule: (set) => scheduled.push(set) });
  let position = 100;
  const tell = async (type: string, payload: Uint8Array, isAgain = false): Promise<void> => {
    if (!isAgain) position++;
    const fact = Fact.fromPartial({
      position,
      type,
      payload: Buffer.from(payload),
      eventTime: new Date(lostTime.getTime() + COMMIT_MS),
      traceparent: `00-${traceId}-${'b'.repeat(16)}-01`,
    });
    const handler = handlers.keyVault[type] ?? handlers.identity[type];
    assert.ok(handler, `${type} is consumed`);
    await handler(fact, { cause: testCause, signal: new AbortController().signal });
  };
  return {
    parts,
    scheduled,
    tellVault: (event: Exclude<KeyVaultEvent['event'], undefined>, isAgain = false) =>
      tell(
        `${event.$case.charAt(0).toUpperCase()}${event.$case.slice(1)}`,
        KeyVaultEvent.encode(KeyVaultEvent.fromPartial({ event, changeTime: lostTime })).finish(),
        isAgain,
      ),
    tellIdentity: (event: Exclude<IdentityEvent['event'], undefined>) =>
      tell('PrincipalDeleted', IdentityEvent.encode(IdentityEvent.fromPartial({ event })).finish()),
  };
};
const accessIn = async (parts: TestSets, set: string, digit: string) => {
  const { state } = await parts.sets.load(set);
  return state.status === 'absent' ? undefined : state.access[versionOf(digit)];
};
const questionsIn = async (parts: TestSets, set: string) => {
  const { state } = await parts.sets.load(set);
  return state.status === 'absent' ? [] : Object.keys(state.questions);
};
const expireTime = new Date(400);
const identityDeleted = {
  $case: 'principalDeleted',
  value: { principal, tenant: 'tenants/main', type: 'MANAGED_IDENTITY', owner: setName, deleteTime: lostTime },
} as const;

test('a contended set delays no other set, and the fact is consumed again', async () => {
  const beaten = new Set<string>();
  const { parts, scheduled, tellVault } = await world(beaten);
  const value = { vault, accessEpoch: 101 } as const;
  beaten.add(otherSet);
  await assert.rejects(tellVault({ $case: 'vaultRecovered', value }), { code: 'ABORTED', reason: 'CONTENTION' });
  assert.deepEqual(scheduled, [setName]);
  assert.notDeepEqual(await questionsIn(parts, setName), []);
  beaten.clear();
  await tellVault({ $case: 'vaultRecovered', value });
  assert.ok(scheduled.includes(otherSet));
});

test('CMK-112: disabling a version ends access of the sets that have it, with its epoch, time and trace', async () => {
  const { parts, tellVault } = await world();
  const keyVersion = versionOf('1');
  const value = { vault, key, keyVersion, reason: 'KEY_DISABLED', accessEpoch: 101 } as const;
  await tellVault({ $case: 'keyVersionDisabled', value });
  const lost = { state: 'lost', reason: 'KEY_DISABLED', epoch: 101, since: 500, traceId, publishedEpoch: 101 };
  assert.deepEqual(await accessIn(parts, setName, '1'), lost);
  assert.equal((await accessIn(parts, setName, '2'))?.state, 'available');
  assert.equal(await accessIn(parts, otherSet, '3'), undefined);
  const { length } = await parts.history();
  await tellVault({ $case: 'keyVersionDisabled', value }, true);
  assert.equal((await parts.history()).length, length, 'consumed twice, lost once');
});

test('G3: the epoch of a loss is the position of its fact, which the vault confirms, whatever the fact claims', async () => {
  const { parts, tellVault } = await world();
  const value = { vault, key, keyVersion: versionOf('1'), reason: 'KEY_DISABLED', accessEpoch: 1e9 } as const;
  await tellVault({ $case: 'keyVersionDisabled', value });
  const access = await accessIn(parts, setName, '1');
  assert.equal(access?.state === 'lost' && access.epoch, 101);
});

test('CMK-105: the deletion of a key ends access to all its versions for every set, in one commit', async () => {
  const { parts, tellVault } = await world();
  const before = parts.commits;
  await tellVault({ $case: 'keyDeleted', value: { vault, key, scheduledPurgeTime: undefined, accessEpoch: 101 } });
  assert.equal(parts.commits, before + 1);
  for (const [set, digit] of [
    [setName, '1'],
    [setName, '2'],
    [otherSet, '3'],
  ] as const) {
    const access = await accessIn(parts, set, digit);
    assert.equal(access?.state === 'lost' && access.reason, 'KEY_DELETED');
  }
});

test('facts that need no check are losses at once: expiry, purge, deleted vault, dates, operations, identity', async () => {
  const keyVersion = versionOf('1');
  const ofKey = { vault, key, accessEpoch: 101 };
  const scheduledPurgeTime = undefined;
  const dates = { ...ofKey, keyVersion, notBefore: undefined, expireTime };
  const operations = { ...ofKey, keyVersion, keyOperations: ['WRAP_KEY' as const] };
  const cases = [
    [{ $case: 'keyExpired', value: { ...ofKey, keyVersion, expireTime } }, 'KEY_EXPIRED', 400],
    [{ $case: 'keyPurged', value: ofKey }, 'KEY_PURGED', 500],
    [{ $case: 'vaultDeleted', value: { vault, scheduledPurgeTime, accessEpoch: 101 } }, 'VAULT_DELETED', 500],
    [{ $case: 'vaultPurged', value: { vault, accessEpoch: 101 } }, 'KEY_PURGED', 500],
    [{ $case: 'keyVersionDatesSet', value: { ...dates, reason: 'KEY_EXPIRED' } }, 'KEY_EXPIRED', 500],
    [{ $case: 'keyOperationsSet', value: { ...operations, reason: 'ACCESS_DENIED' } }, 'ACCESS_DENIED', 500],
  ] as const;
  for (const [event, reason, since] of cases) {
    const { parts, tellVault } = await world();
    await tellVault(event);
    assert.deepEqual(await accessIn(parts, setName, '1'), {
      state: 'lost',
      reason,
      epoch: 101,
      since,
      traceId,
      publishedEpoch: 101,
      ...(reason === 'KEY_PURGED' ? { isPurged: true } : {}),
    });
  }
  const { parts, tellIdentity } = await world();
  await tellIdentity(identityDeleted);
  const access = await accessIn(parts, setName, '2');
  assert.equal(access?.state === 'lost' && access.reason, 'IDENTITY_DELETED');
  assert.equal(access?.epoch, FINAL_EPOCH);
  assert.equal(await accessIn(parts, otherSet, '3'), undefined, 'the identity of another set is another');
});

test('a fact that may give or remove access is checked, for the sets that it reaches only', async () => {
  const keyVersion = versionOf('1');
  const ofKey = { vault, key, accessEpoch: 101 };
  const grants = { vault, key: '', principal, removed: true, accessEpoch: 101 };
  const policy = { vault, principal, accessEpoch: 101 };
  const dates = { ...ofKey, keyVersion, notBefore: undefined, expireTime: undefined };
  const cases: readonly (readonly [Exclude<KeyVaultEvent['event'], undefined>, readonly string[]])[] = [
    [{ $case: 'keyVersionEnabled', value: { ...ofKey, keyVersion } }, [setName]],
    [{ $case: 'keyVersionDatesSet', value: { ...dates, reason: 'KEY_ACCESS_REASON_UNSPECIFIED' } }, [setName]],
    [
      {
        $case: 'keyOperationsSet',
        value: { ...ofKey, keyVersion, keyOperations: [], reason: 'KEY_ACCESS_REASON_UNSPECIFIED' },
      },
      [setName],
    ],
    [{ $case: 'keyRecovered', value: ofKey }, [setName, otherSet]],
    [{ $case: 'vaultRecovered', value: { vault, accessEpoch: 101 } }, [setName, otherSet]],
    [
      { $case: 'permissionModelSet', value: { vault, permissionModel: 'ACCESS_POLICY', accessEpoch: 101 } },
      [setName, otherSet],
    ],
    [{ $case: 'accessPolicySet', value: { ...policy, keyPermissions: [] } }, [setName]],
    [{ $case: 'accessPolicyRemoved', value: policy }, [setName]],
    [{ $case: 'grantsChanged', value: grants }, [setName]],
    [{ $case: 'grantsChanged', value: { ...grants, key } }, [setName]],
    [{ $case: 'grantsChanged', value: { ...grants, key: `${vault}/keys/k2` } }, []],
  ];
  for (const [event, expected] of cases) {
    const { parts, scheduled, tellVault } = await world();
    await tellVault(event);
    assert.deepEqual([...scheduled].sort(), [...expected], event.$case);
    if (expected.length > 0) assert.ok((await questionsIn(parts, setName)).includes(keyVersion), event.$case);
  }
});

test('an outage during a check leaves the question open and delays no loss', async () => {
  const { parts, tellVault } = await world();
  parts.neighbours.outage = () => 'before';
  await tellVault({ $case: 'accessPolicySet', value: { vault, principal, keyPermissions: [], accessEpoch: 101 } });
  await assert.rejects(checkAccess(parts, setName, testCause), { name: 'RpcFailure' });
  const keyVersion = versionOf('1');
  await tellVault({
    $case: 'keyVersionDisabled',
    value: { vault, key, keyVersion, reason: 'KEY_DISABLED', accessEpoch: 102 },
  });
  assert.equal((await accessIn(parts, setName, '1'))?.state, 'lost');
  parts.neighbours.outage = undefined;
  parts.neighbours.epoch = 103;
  assert.equal(await checkAccess(parts, setName, testCause), true, 'the fake vault grants access');
  assert.deepEqual(await questionsIn(parts, setName), []);
  assert.deepEqual(await accessIn(parts, setName, '1'), { state: 'available', epoch: 103, since: 1_000 });
});

test('a response that is older than the question decides nothing', async () => {
  const { parts, tellVault } = await world();
  await tellVault({ $case: 'accessPolicyRemoved', value: { vault, principal, accessEpoch: 101 } });
  parts.neighbours.epoch = 50;
  await checkAccess(parts, setName, testCause);
  assert.deepEqual((await questionsIn(parts, setName)).sort(), [versionOf('1'), versionOf('2')]);
});

test('CMK-105: a response that the identity is deleted is final, like the fact about it', async () => {
  const { parts, tellVault } = await world();
  await tellVault({ $case: 'accessPolicyRemoved', value: { vault, principal, accessEpoch: 101 } });
  const identity = parts.neighbours.principals.get(principal);
  assert.ok(identity);
  identity.isDeleted = true;
  await checkAccess(parts, setName, testCause);
  const access = await accessIn(parts, setName, '2');
  assert.deepEqual(access?.state === 'lost' && [access.reason, access.epoch], ['IDENTITY_DELETED', FINAL_EPOCH]);
});

test('G10, CMK-108: a purge is shown also after the identity was deleted, and once if consumed twice', async () => {
  const { parts, tellVault, tellIdentity } = await world();
  await tellVault({ $case: 'vaultDeleted', value: { vault, scheduledPurgeTime: undefined, accessEpoch: 101 } });
  await tellIdentity(identityDeleted);
  const before = await accessIn(parts, setName, '2');
  assert.equal(before?.state === 'lost' && before.reason, 'VAULT_DELETED', 'it takes precedence');
  await tellVault({ $case: 'keyPurged', value: { vault, key, accessEpoch: 102 } });
  for (const digit of ['1', '2']) {
    const access = await accessIn(parts, setName, digit);
    assert.deepEqual(access?.state === 'lost' && [access.reason, access.epoch], ['KEY_PURGED', FINAL_EPOCH]);
  }
  const { length } = await parts.history();
  await tellVault({ $case: 'vaultPurged', value: { vault, accessEpoch: 103 } });
  assert.equal((await parts.history()).length, length);
});

test('G10: another loss after the identity was deleted is checked: the shown reason may have ended', async () => {
  const { parts, tellVault, tellIdentity } = await world();
  const keyVersion = versionOf('2');
  parts.neighbours.epoch = 100;
  await checkAccess(parts, setName, testCause);
  await tellVault({ $case: 'keyExpired', value: { vault, key, keyVersion, expireTime, accessEpoch: 101 } });
  await tellIdentity(identityDeleted);
  const identity = parts.neighbours.principals.get(principal);
  assert.ok(identity);
  identity.isDeleted = true;
  const dates = { vault, key, keyVersion, notBefore: new Date(9_000), expireTime: undefined, accessEpoch: 102 };
  await tellVault({ $case: 'keyVersionDatesSet', value: { ...dates, reason: 'KEY_NOT_YET_VALID' } });
  assert.deepEqual(await questionsIn(parts, setName), [keyVersion]);
  await checkAccess(parts, setName, testCause);
  const access = await accessIn(parts, setName, '2');
  assert.deepEqual(access?.state === 'lost' && [access.reason, access.epoch], ['IDENTITY_DELETED', FINAL_EPOCH]);
  assert.deepEqual(await questionsIn(parts, setName), []);
});

test('CMK-81, CMK-84: when the versions of a key change, only sets that follow the key schedule a check', async () => {
  const { parts, scheduled, tellVault } = await world();
  await parts.decide(changeOptions(3, { autoKeyRotation: true }));
  await follow(parts, setName, testCause);
  const dueOf = async (set: string) => {
    const { state } = await parts.sets.load(set);
    return state.status === 'absent' ? undefined : state.following.due;
  };
  const keyVersion = versionOf('8');
  const of = { vault, key, keyVersion };
  const facts = [
    { $case: 'keyVersionCreated', value: { ...of, keyUrl: '', enabled: true, accessEpoch: 1 } },
    { $case: 'keyVersionEnabled', value: { ...of, accessEpoch: 1 } },
    {
      $case: 'keyVersionDatesSet',
      value: {
        ...of,
        notBefore: undefined,
        expireTime: undefined,
        reason: 'KEY_ACCESS_REASON_UNSPECIFIED',
        accessEpoch: 1,
      },
    },
  ] as const;
  assert.equal(await dueOf(setName), null);
  for (const [n, fact] of facts.entries()) {
    await tellVault(fact);
    assert.deepEqual([await dueOf(setName), await dueOf(otherSet)], [101 + n, null], fact.$case);
  }
  assert.deepEqual(scheduled, [setName, setName, setName]);
});
