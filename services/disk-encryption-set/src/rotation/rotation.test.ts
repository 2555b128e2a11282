import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EncryptedResource, type RewrapDeksResponse } from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { Rejection } from '@interlock/event-store';
import { itemRefusal, RpcFailure } from '@interlock/rpc';
import { testMeter } from '@interlock/runtime/test-meter';
import { assignKey } from '../set/key-change.ts';
import type { SetBody } from '../set/state.ts';
import { setOnWire } from '../set/wire.ts';
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
import { finishCreation } from '../upkeep/creation.ts';
import { rotate } from './rotation.ts';
import { meterRotations } from './rotation-metrics.ts';

/** Two batches of two at once, and a page of both. */
const settings = { concurrency: 4, pageSize: 4 };
const run = (parts: TestSets, signal = new AbortController().signal) =>
  rotate({ ...parts, settings, signal }, setName, testCause);

const active = async (diskCount: number): Promise<TestSets> => {
  const parts = await creatingSet();
  await finishCreation(parts, setName, testCause);
  for (let n = 0; n < diskCount; n++) {
    parts.neighbours.stock.set(`disk${String(n).padStart(2, '0')}`, {
      set: setName,
      keyVersion: versionOf('1'),
      generation: 1,
    });
  }
  return parts;
};
const assigned = async (diskCount = 10): Promise<TestSets> => {
  const parts = await active(diskCount);
  await parts.decide(assignKey(2_000, keyReference('2'), grantAt(1)));
  return parts;
};
const body = async (parts: TestSets): Promise<SetBody> => {
  const state = await parts.state();
  if (state.status === 'absent') throw new Error('the set is there');
  return state;
};
const assertFinished = async (parts: TestSets, digit = '2'): Promise<void> => {
  const { rotation, previousKeys, generation } = await body(parts);
  assert.equal(rotation?.progress.status, 'finished');
  assert.deepEqual(previousKeys, [], 'CMK-34');
  for (const disk of parts.neighbours.stock.values()) {
    assert.deepEqual([disk.keyVersion, disk.generation], [versionOf(digit), generation]);
  }
  const finished = (await parts.history()).filter((type) => type === 'RotationFinished');
  assert.equal(finished.length, 1);
};

test('CMK-80, CMK-83: every disk moves, the barrier comes before the first list, and the progress is published', async () => {
  const parts = await assigned();
  assert.deepEqual((await body(parts)).previousKeys, [keyReference('1')]);
  await run(parts);
  await assertFinished(parts);
  const { calls } = parts.neighbours;
  assert.ok(calls.indexOf('beginGeneration') < calls.indexOf('listEncryptedResources'));
  const { rotation } = await body(parts);
  assert.deepEqual([rotation?.resourcesCount, rotation?.doneCount], [10, 10]);
  const progress = (await parts.history()).filter((type) => type === 'RotationProgressed');
  assert.deepEqual(progress.length, 3, 'at the begin of each page but not for each disk');
});

test('CMK-88: an outage at any step leaves each disk wholly on one key, and the next run finishes', async () => {
  const tried = await failAtEach(
    () => assigned(6),
    run,
    async (parts) => {
      if ((await body(parts)).rotation?.progress.status !== 'finished') await run(parts);
      await assertFinished(parts);
    },
  );
  assert.ok(tried >= 22, `${tried} steps were hit`);
});

test('CMK-88: an outage ends the run with its error, and what waits for no key is not shown as waiting for one', async () => {
  const parts = await assigned(4);
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3', {}));
  Object.assign(parts.neighbours.keys.get(versionOf('3')) ?? {}, { lost: 'KEY_DISABLED' });
  Object.assign(parts.neighbours.stock.get('disk03') ?? {}, { keyVersion: versionOf('3') });
  const disks: TestSets['disks'] = {
    ...parts.disks,
    async rewrapDeks(asked, options) {
      if (!asked.names?.includes('disk03')) throw new RpcFailure('UNAVAILABLE', 'rewrapDeks', 'disk', 'down');
      return parts.disks.rewrapDeks(asked, options);
    },
  };
  const oneByOne = { ...settings, concurrency: 1 };
  const running = rotate(
    { ...parts, disks, settings: oneByOne, signal: new AbortController().signal },
    setName,
    testCause,
  );
  await assert.rejects(running, RpcFailure);
  assert.equal((await body(parts)).rotation?.progress.status, 'running');
});

test('CMK-88: two replicas that run the same rotation at the same time finish it once', async () => {
  const parts = await assigned();
  await Promise.all([run(parts), run(parts)]);
  await assertFinished(parts);
});

test('CMK-88: a run that is stopped leaves the rest for the next', async () => {
  const parts = await assigned();
  const stopping = new AbortController();
  parts.neighbours.outage = (_call, method) => {
    if (method === 'rewrapDeks') stopping.abort();
    return undefined;
  };
  await run(parts, stopping.signal);
  const moved = [...parts.neighbours.stock.values()].filter(({ generation }) => generation === 2);
  assert.ok(moved.length > 0 && moved.length < 10);
  assert.equal((await body(parts)).rotation?.progress.status, 'running');
  parts.neighbours.outage = undefined;
  await run(parts);
  await assertFinished(parts);
});

test('CMK-121: disks under a disabled key wait with reason and version, and move once the key is usable', async () => {
  const parts = await assigned();
  const old = parts.neighbours.keys.get(versionOf('1'));
  assert.ok(old);
  old.lost = 'KEY_DISABLED';
  await run(parts);
  const waiting = await body(parts);
  assert.deepEqual(waiting.rotation?.progress, {
    status: 'waiting',
    reason: 'KEY_DISABLED',
    keyVersion: versionOf('1'),
  });
  assert.deepEqual(waiting.previousKeys, [keyReference('1')]);
  assert.equal(parts.neighbours.calls.filter((method) => method === 'rewrapDeks').length <= settings.concurrency, true);
  const { length } = await parts.history();
  await run(parts);
  assert.equal((await parts.history()).length, length, 'a try that changes nothing stores nothing');
  old.lost = undefined;
  await run(parts);
  await assertFinished(parts);
});

test('CMK-121: with the owner’s authorization disks move off a disabled key', async () => {
  const parts = await assigned();
  const old = parts.neighbours.keys.get(versionOf('1'));
  assert.ok(old);
  old.lost = 'KEY_DISABLED';
  parts.neighbours.authorizations.push(`${versionOf('1')} ${versionOf('2')}`);
  await run(parts);
  await assertFinished(parts);
});

test('an expired old key still unwraps, so its disks move without an authorization', async () => {
  const parts = await assigned();
  const old = parts.neighbours.keys.get(versionOf('1'));
  assert.ok(old);
  old.lost = 'KEY_EXPIRED';
  await run(parts);
  await assertFinished(parts);
});

test('CMK-112: disks under several old keys: those that can move do, the others wait', async () => {
  const parts = await assigned(2);
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3'));
  parts.neighbours.stock.set('disk99', { set: setName, keyVersion: versionOf('3'), generation: 1 });
  const third = parts.neighbours.keys.get(versionOf('3'));
  assert.ok(third);
  third.lost = 'KEY_PURGED';
  await run(parts);
  const { rotation } = await body(parts);
  assert.deepEqual(rotation?.progress, { status: 'waiting', reason: 'KEY_PURGED', keyVersion: versionOf('3') });
  assert.deepEqual([rotation?.resourcesCount, rotation?.doneCount], [3, 2]);
});

test('CMK-112: a disk that is refused for a later version than the listed one blocks only itself', async () => {
  const parts = await assigned(4);
  // A rotation to the third key was interrupted after it wrote the header, and that key was lost since.
  const metadata = { key_version: versionOf('3') };
  const refused = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', versionOf('3'), metadata);
  const disks: TestSets['disks'] = {
    ...parts.disks,
    async rewrapDeks({ names = [], ...target }) {
      const outcomes: RewrapDeksResponse['outcomes'] = [];
      for (const name of names) {
        if (name === 'disk00')
          outcomes.push({ outcome: { $case: 'refused', value: { ...itemRefusal(refused) } }, event: '' });
        else outcomes.push(...(await parts.disks.rewrapDeks({ names: [name], ...target })).outcomes);
      }
      return { outcomes };
    },
  };
  const oneByOne = { ...settings, concurrency: 1 };
  await rotate({ ...parts, disks, settings: oneByOne, signal: new AbortController().signal }, setName, testCause);
  const { rotation } = await body(parts);
  assert.deepEqual(rotation?.progress, { status: 'waiting', reason: 'KEY_DISABLED', keyVersion: versionOf('3') });
  assert.deepEqual([rotation?.resourcesCount, rotation?.doneCount], [4, 3]);
});

test('G6, G10: a rotation waits for a disk host that does not respond, names it, and shows a lost key first', async () => {
  const parts = await assigned(6);
  const onHost = (name: string): string => (Number(name.slice(-1)) < 2 ? 'diskHosts/away' : 'diskHosts/here');
  const reachable = new Set(['diskHosts/here']);
  const unreachable = new Rejection('UNAVAILABLE', 'DISK_HOST_UNREACHABLE', 'away does not respond', {
    disk_host: 'diskHosts/away',
  });
  const disabled = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'an owner disabled it', {
    key_version: versionOf('3'),
  });
  let blocked: readonly string[] = ['disk05'];
  const asked: string[] = [];
  const { disks: all } = parts;
  const disks: typeof all = {
    ...all,
    async listEncryptedResources(...call) {
      const listed = await all.listEncryptedResources(...call);
      return { ...listed, resources: listed.resources.map((one) => ({ ...one, diskHost: onHost(one.name) })) };
    },
    async rewrapDeks({ names = [], ...target }) {
      const outcomes: RewrapDeksResponse['outcomes'] = [];
      for (const name of names) {
        asked.push(name);
        const refusal = !reachable.has(onHost(name)) ? unreachable : blocked.includes(name) ? disabled : undefined;
        if (refusal) outcomes.push({ outcome: { $case: 'refused', value: { ...itemRefusal(refusal) } }, event: '' });
        else outcomes.push(...(await all.rewrapDeks({ names: [name], ...target })).outcomes);
      }
      return { outcomes };
    },
  };
  const again = () => rotate({ ...parts, disks, settings, signal: new AbortController().signal }, setName, testCause);
  await again();
  const shown = async () => setOnWire(await parts.sets.load(setName)).rotation;
  const first = await shown();
  assert.deepEqual(
    [first?.state, first?.waitingReason, first?.waitingCode, first?.unreachableDiskHosts, first?.doneCount],
    ['WAITING', 'KEY_DISABLED', '', ['diskHosts/away'], 3],
  );
  blocked = [];
  asked.length = 0;
  await again();
  const second = await shown();
  assert.deepEqual(
    [second?.state, second?.waitingReason, second?.waitingCode, second?.unreachableDiskHosts, second?.doneCount],
    ['WAITING', 'KEY_ACCESS_REASON_UNSPECIFIED', 'DISK_HOST_UNREACHABLE', ['diskHosts/away'], 4],
  );
  reachable.add('diskHosts/away');
  await again();
  await assertFinished(parts);
});

test('a damaged disk blocks only itself', async () => {
  const parts = await assigned(5);
  const damaged = parts.neighbours.stock.get('disk02');
  assert.ok(damaged);
  damaged.damaged = true;
  await run(parts);
  const { rotation } = await body(parts);
  assert.deepEqual(rotation?.progress, {
    status: 'waiting',
    reason: 'UNKNOWN',
    keyVersion: versionOf('1'),
    code: 'HEADER_CORRUPT',
  });
  assert.equal(rotation?.doneCount, 4);
});

test('CMK-88: a rotation to a key without purge protection waits, and shows the target version', async () => {
  const parts = await assigned();
  const { keys, calls } = parts.neighbours;
  keys.set(versionOf('2'), fakeKey('2', { purgeProtectionEnabled: false }));
  await run(parts);
  const { rotation } = setOnWire(await parts.sets.load(setName));
  assert.deepEqual(
    [rotation?.state, rotation?.waitingReason, rotation?.waitingCode, rotation?.waitingForKeyVersion],
    ['WAITING', 'KEY_ACCESS_REASON_UNSPECIFIED', 'TARGET_WEAKER_PROTECTED', versionOf('2')],
  );
  assert.equal(calls.filter((method) => method === 'rewrapDeks').length <= settings.concurrency, true);
  keys.set(versionOf('2'), fakeKey('2'));
  await run(parts);
  await assertFinished(parts);
});

test('a disk that is deleted during a rotation does not block it', async () => {
  const parts = await assigned(5);
  parts.neighbours.outage = (_call, method) => {
    if (method === 'rewrapDeks') parts.neighbours.stock.delete('disk03');
    return undefined;
  };
  await run(parts);
  await assertFinished(parts);
});

test('CMK-86: a rotation that a newer one has replaced ends, and the newer one moves everything', async () => {
  const parts = await assigned();
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3'));
  let isOvertaken = false;
  const overtake = async (): Promise<void> => {
    if (isOvertaken) return;
    isOvertaken = true;
    await parts.decide(assignKey(3_000, keyReference('3'), grantAt(2)));
    await run(parts);
  };
  const disks = {
    ...parts.disks,
    rewrapDeks: async (...asked: Parameters<typeof parts.disks.rewrapDeks>) => {
      await overtake();
      return parts.disks.rewrapDeks(...asked);
    },
  };
  const oneByOne = { ...settings, concurrency: 1 };
  await rotate({ ...parts, disks, settings: oneByOne, signal: new AbortController().signal }, setName, testCause);
  await assertFinished(parts, '3');
  const calls = parts.neighbours.calls.filter((method) => method === 'rewrapDeks').length;
  assert.equal(calls, 6, 'five batches of the newer move, and the one refusal that ends the overtaken one');
});

/** A run in which a third key is assigned at the first call of that kind. @returns the calls from then on */
const overtakenAt = async (parts: TestSets, method: 'listEncryptedResources' | 'rewrapDeks'): Promise<string[]> => {
  parts.neighbours.keys.set(versionOf('3'), fakeKey('3'));
  const { calls } = parts.neighbours;
  let isOvertaken = false;
  const intercepted = async (...asked: readonly unknown[]): Promise<unknown> => {
    if (!isOvertaken) {
      isOvertaken = true;
      calls.length = 0;
      await parts.decide(assignKey(3_000, keyReference('3'), grantAt(2)));
    }
    return Reflect.apply(parts.disks[method], parts.disks, asked);
  };
  const disks = { ...parts.disks, [method]: intercepted };
  await rotate({ ...parts, disks, settings, signal: new AbortController().signal }, setName, testCause);
  return [...calls];
};

test('CMK-86: a replaced rotation finishes its current page only, also before the newer one has its barrier', async () => {
  const parts = await assigned(20);
  const calls = await overtakenAt(parts, 'rewrapDeks');
  assert.deepEqual(calls, ['rewrapDeks', 'rewrapDeks'], 'both batches of the page in hand, and no list after them');
  const moved = [...parts.neighbours.stock.values()].filter(({ keyVersion }) => keyVersion === versionOf('2'));
  assert.equal(moved.length, 4);
  assert.equal((await body(parts)).rotation?.progress.status, 'running', 'the newer rotation is not affected');
  await run(parts);
  await assertFinished(parts, '3');
});

test('CMK-86: a rotation that is replaced while it lists what is left moves nothing', async () => {
  const parts = await assigned();
  const calls = await overtakenAt(parts, 'listEncryptedResources');
  assert.equal(calls.includes('rewrapDeks'), false);
  await run(parts);
  await assertFinished(parts, '3');
});

test('CMK-86: a rotation that finds a later barrier makes no further calls', async () => {
  const parts = await assigned();
  await parts.disks.beginGeneration(
    { diskEncryptionSet: setName, generation: 3 },
    { cause: { correlationId: 'test' } },
  );
  parts.neighbours.calls.length = 0;
  await run(parts);
  assert.deepEqual(parts.neighbours.calls, ['beginGeneration']);
});

test('CMK-88: a stopped run makes no further calls after those in flight', async () => {
  const parts = await assigned(20);
  const stopping = new AbortController();
  const { calls } = parts.neighbours;
  parts.neighbours.outage = (_call, method) => {
    if (method === 'rewrapDeks' && !stopping.signal.aborted) {
      stopping.abort();
      calls.length = 0;
    }
    return undefined;
  };
  await run(parts, stopping.signal);
  assert.deepEqual(calls, []);
});

test('a disk service that reports every disk as moved, and moves none, ends the run with an error', async () => {
  const parts = await assigned();
  const disks: TestSets['disks'] = {
    ...parts.disks,
    rewrapDeks: async ({ names = [] }) => ({
      outcomes: names.map((name) => ({
        outcome: { $case: 'moved', value: EncryptedResource.fromPartial({ name }) } as const,
        event: '',
      })),
    }),
  };
  await assert.rejects(
    rotate({ ...parts, disks, settings, signal: new AbortController().signal }, setName, testCause),
    /10 moved, but the list is not shorter/,
  );
  assert.equal((await body(parts)).rotation?.progress.status, 'running');
});

test('a metric shows what is left of an unfinished rotation, and what it waits for', async () => {
  const parts = await assigned();
  const { meter, read } = testMeter();
  const end = meterRotations({ meter, sets: parts.sets });
  const old = parts.neighbours.keys.get(versionOf('1'));
  assert.ok(old);
  old.lost = 'KEY_DISABLED';
  await run(parts);
  const state = { 'interlock.des': setName, 'interlock.rotation.state': 'waiting', 'interlock.reason': 'KEY_DISABLED' };
  assert.deepEqual(await read('interlock.rotation.left'), [[state, 10]]);
  old.lost = undefined;
  parts.neighbours.keys.set(versionOf('2'), fakeKey('2', { purgeProtectionEnabled: false }));
  await run(parts);
  const weaker = { ...state, 'interlock.reason': 'TARGET_WEAKER_PROTECTED' };
  assert.deepEqual(await read('interlock.rotation.left'), [[weaker, 10]], 'also for a reason other than a lost key');
  parts.neighbours.keys.set(versionOf('2'), fakeKey('2'));
  await run(parts);
  assert.deepEqual(await read('interlock.rotation.left'), []);
  end();
});
