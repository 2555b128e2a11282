import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RpcFailure } from '@interlock/rpc';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { questionKey, restoreKey } from '../set/access.ts';
import { completeCreation, create, startDeletion } from '../set/decider.ts';
import { removeIdentity } from '../set/identity.ts';
import { assignKey, followNewest } from '../set/key-change.ts';
import { changeOptions } from '../set/options.ts';
import type { DiskEncryptionSet } from '../set/state.ts';
import { fakeKey, versionOf } from '../testing/test-neighbour-keys.ts';
import {
  creatingSet,
  grantAt,
  keyReference,
  newSet,
  setName,
  type TestSets,
  testCause,
  testSets,
} from '../testing/test-sets.ts';
import { Upkeep } from './upkeep.ts';

/** Runs the watchdogs until the condition holds. */
const watchUntil = async (
  parts: TestSets,
  wanted: (set: DiskEncryptionSet) => boolean,
  isDone: () => Promise<boolean> = async () => wanted(await parts.state()),
  rotationCheckIntervalMs = 5,
): Promise<void> => {
  const stopping = new AbortController();
  const { signal } = stopping;
  const work = new Upkeep({
    ...parts,
    clock: systemClock,
    random: systemRandom,
    // No log: each round would log what it resumes, here at a thousand rounds.
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    tracer: trace.getTracer('test'),
    settings: {
      watchdogMs: 5,
      rotationRetryMs: 5,
      rotationCheckIntervalMs,
      rotation: { concurrency: 2, pageSize: 10 },
    },
    signal,
  });
  const watching = work.watchdogs().map((watchdog) => watchdog(signal));
  const limit = AbortSignal.timeout(120_000);
  try {
    for (let position = 0; !(await isDone()); position = await parts.store.head()) {
      if (!(await parts.store.waitForEvents(position, limit))) assert.fail('the set did not become as wanted');
    }
  } finally {
    stopping.abort();
    await Promise.all(watching);
    await work.idle();
  }
};

test('interrupted work is finished: a creation, then a rotation, then a deletion', async () => {
  const parts = await creatingSet();
  await watchUntil(parts, ({ status }) => status === 'active');
  parts.neighbours.stock.set('disk', { set: setName, keyVersion: versionOf('1'), generation: 1 });
  await parts.decide(assignKey(2, keyReference('2'), grantAt(1)));
  await watchUntil(parts, (set) => set.status === 'active' && set.rotation?.progress.status === 'finished');
  parts.neighbours.stock.clear();
  await parts.decide(startDeletion(3));
  await watchUntil(parts, ({ status }) => status === 'deleted');
});

test('CMK-88: a rotation that waits for a key is retried without a request', async () => {
  const parts = await creatingSet();
  await watchUntil(parts, ({ status }) => status === 'active');
  const old = parts.neighbours.keys.get(versionOf('1'));
  assert.ok(old);
  old.lost = 'KEY_DISABLED';
  parts.neighbours.stock.set('disk', { set: setName, keyVersion: versionOf('1'), generation: 1 });
  await parts.decide(assignKey(2, keyReference('2'), grantAt(1)));
  const has = (status: string) => (set: DiskEncryptionSet) =>
    set.status === 'active' && set.rotation?.progress.status === status;
  await watchUntil(parts, has('waiting'));
  old.lost = undefined;
  await watchUntil(parts, has('finished'));
});

test('a key that is not valid yet is checked until it is', async () => {
  const parts = await creatingSet();
  const key = parts.neighbours.keys.get(versionOf('1'));
  assert.ok(key);
  key.lost = 'KEY_NOT_YET_VALID';
  const accessOf = (set: DiskEncryptionSet) => (set.status === 'active' ? set.access[versionOf('1')] : undefined);
  await watchUntil(parts, (set) => accessOf(set)?.state === 'lost');
  const { length } = await parts.history();
  key.lost = undefined;
  await watchUntil(parts, (set) => accessOf(set)?.state === 'available');
  assert.deepEqual(
    (await parts.history()).slice(length),
    ['KeyAccessRestored'],
    'a check without a change stores nothing',
  );
});

test('a restart between a request and its work loses nothing, and an outage is retried', async () => {
  const parts = await creatingSet();
  parts.neighbours.outage = (call) => (call < 3 ? 'after' : undefined);
  await watchUntil(parts, ({ status }) => status === 'active');
  const made = [...parts.neighbours.principals.values()];
  assert.deepEqual(made, [{ owner: setName, isDeleted: false }]);
  await parts.sets.transact(setName, startDeletion(3), testCause);
  await watchUntil(parts, ({ status }) => status === 'deleted');
});

test('G1: a removed identity is deleted while a disk host does not respond', {
  timeout: 180_000,
}, async () => {
  const parts = await creatingSet();
  await watchUntil(parts, ({ status }) => status === 'active');
  const asked = Promise.withResolvers<void>();
  const silence = Promise.withResolvers<never>();
  const disks: TestSets['disks'] = {
    ...parts.disks,
    checkKeyAccess: () => {
      asked.resolve();
      return silence.promise;
    },
  };
  await parts.decide(questionKey(versionOf('1'), { epoch: 9, since: 2, traceId: '' }));
  void asked.promise.then(() => parts.decide(removeIdentity(3, '')));
  const isRetired = (set: DiskEncryptionSet) =>
    set.status === 'active' && set.principal === '' && set.identity.retiring.length === 0;
  const isOver = async (): Promise<boolean> => {
    if (!isRetired(await parts.state())) return false;
    silence.reject(new RpcFailure('DEADLINE_EXCEEDED', 'checkKeyAccess', 'fake', 'no answer'));
    return true;
  };
  await watchUntil({ ...parts, disks }, isRetired, isOver);
  assert.ok([...parts.neighbours.principals.values()].every(({ isDeleted }) => isDeleted));
});

test('CMK-81: a set that follows its key finds a newer version by a regular check, without a fact', async () => {
  const parts = await creatingSet();
  await watchUntil(parts, ({ status }) => status === 'active');
  parts.neighbours.keys.delete(versionOf('2'));
  await parts.decide(changeOptions(3, { autoKeyRotation: true }));
  await watchUntil(parts, (set) => set.status === 'active' && set.following.due === null);
  parts.neighbours.keys.set(versionOf('2'), fakeKey('2'));
  await watchUntil(parts, (set) => set.status === 'active' && set.activeKey.keyVersion === versionOf('2'));
});

test('no set is skipped, however many others wait', async () => {
  const parts = testSets();
  const many = Array.from({ length: 1_100 }, (_, n) => `${setName}-${String(n).padStart(5, '0')}`);
  const begin = (n: number) =>
    create(
      1,
      { ...newSet, principal: `principals/00000000-0000-4000-8000-${String(n).padStart(12, '0')}` },
      keyReference('1'),
    );
  for (const [n, name] of many.entries()) await parts.sets.transact(name, begin(n), testCause);
  await parts.sets.transact(`${setName}-last`, begin(5_000), testCause);
  const { createManagedIdentity } = parts.identities;
  const identities: TestSets['identities'] = {
    ...parts.identities,
    // identity responds for the last set only, so all others stay as they are.
    createManagedIdentity: (request, options) => {
      if (request.owner !== `${setName}-last`)
        throw new RpcFailure('UNAVAILABLE', 'createManagedIdentity', 'fake', 'down');
      return createManagedIdentity(request, options);
    },
  };
  const isActive = async (): Promise<boolean> => (await parts.sets.load(`${setName}-last`)).state.status === 'active';
  await watchUntil({ ...parts, identities }, () => false, isActive);
});

test('CMK-81: all sets find a newer version within one interval, also if they do not fit into one page', async () => {
  const parts = testSets();
  const requestedOptions = { ...newSet.requestedOptions, autoKeyRotation: true };
  const last = `${setName}-last`;
  const names = [...Array.from({ length: 1_100 }, (_, n) => `${setName}-${String(n).padStart(5, '0')}`), last];
  for (const [n, name] of names.entries()) {
    const ofSet = {
      ...newSet,
      requestedOptions,
      principal: `principals/00000000-0000-4000-8000-${String(n).padStart(12, '0')}`,
    };
    for (const decision of [
      create(1, ofSet, keyReference('1')),
      completeCreation(2),
      restoreKey(2, { keyVersion: versionOf('1'), epoch: 1 }),
      // The active version was the newest at the last check.
      followNewest(2, { generation: 1, position: 0 }),
    ]) {
      await parts.sets.transact(name, decision, testCause);
    }
  }
  const hasFollowed = async (): Promise<boolean> => {
    const { state } = await parts.sets.load(last);
    return state.status === 'active' && state.activeKey.keyVersion === versionOf('2');
  };
  await watchUntil(parts, () => false, hasFollowed, 3_600_000);
});
