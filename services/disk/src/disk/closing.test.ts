import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore, VersionConflict } from '@interlock/event-store';
import { systemClock as clock, keyedMutex } from '@interlock/runtime';
import { type Closing, closeDisks } from './closing.ts';
import type { DiskEvent } from './events.ts';
import { disks as diskStreams } from './state.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const [vm, other] = ['subscriptions/s/resourceGroups/g/virtualMachines/vm', 'subscriptions/s/resourceGroups/g/vm2'];
const at = 1;

/** Events of a disk that a machine has opened. */
const opened = (uniqueId: string, virtualMachine = vm): readonly DiskEvent[] => {
  const spec = {
    uniqueId,
    location: 'l',
    sku: 'premium_ssd',
    sizeGib: 1,
    encryption: { type: 'platform' },
    source: '',
  } as const;
  const volume = {
    volumeId: uniqueId,
    dekId: 'dek',
    dekDiskId: uniqueId,
    dekAuthenticator: 'a',
    headerSequence: 1,
    headerDigest: 'one',
  };
  return [
    { type: 'DiskCreating', volumeId: uniqueId, request: '', at, ...spec },
    { type: 'DiskCreated', volume, accessEpoch: 0, keyVersion: '', generation: 0, at, ...spec },
    { type: 'DiskAttached', virtualMachine, isOsDisk: false, requestId: 'r', at },
    { type: 'DiskOpened', attachEpoch: 1, virtualMachine, tokenHash: 't', accessEpoch: 0, at },
  ];
};

/** Closes disks in a store in memory. @param beaten disks that another process changes just before each commit */
const openWorld = async (names: readonly string[], beaten: ReadonlySet<string> = new Set()) => {
  const store = memoryStore({ clock });
  const turns = keyedMutex();
  const ended: string[] = [];
  let commits = 0;
  const disks = category(
    {
      ...store,
      commit: async (...commit) => {
        commits += 1;
        const streams = (commit[0].appends ?? []).map(({ stream }) => stream);
        const lost = streams.filter((stream) => beaten.has(stream.replace('disk-', '')));
        if (lost.length > 0) throw new VersionConflict(lost);
        return store.commit(...commit);
      },
    },
    diskStreams,
  );
  await disks.transactMany(names, (_, name) => opened(name), cause);
  commits = 0;
  const host = { close: (name: string) => void ended.push(name), doubt: () => undefined };
  const closing = (closings: readonly Closing[], by: typeof cause) =>
    closeDisks({ disks, host, turns, clock }, closings, by);
  return {
    turns,
    disks,
    ended,
    commits: () => commits,
    closing,
    async isOpen(name: string) {
      const { state } = await disks.load(name);
      return state.status === 'active' && state.access !== null;
    },
  };
};

const requested = (
  name: string,
  more: { virtualMachine?: string; isDeallocated?: boolean; attachEpoch?: number } = {},
) => ({
  name,
  virtualMachine: vm,
  isDeallocated: false,
  attachEpoch: 1,
  ...more,
});

test('CMK-102: one call closes its disks in one commit, ends their sessions and reports an outcome for each', async () => {
  const { closing, ended, commits, isOpen } = await openWorld(['a', 'b', 'c', 'foreign']);
  const outcomes = await closing(
    [
      requested('a'),
      requested('missing'),
      requested('b'),
      requested('foreign', { virtualMachine: other }),
      requested('c', { attachEpoch: 0 }),
    ],
    cause,
  );
  assert.deepEqual(
    outcomes.map((outcome) => ('refused' in outcome ? outcome.refused.reason : outcome.disk.version)),
    [5, 'DISK_NOT_FOUND', 5, 4, 5],
  );
  assert.equal(commits(), 1);
  assert.deepEqual(ended.toSorted(), ['a', 'b', 'c']);
  assert.equal(await isOpen('foreign'), true);
  await closing([requested('a'), requested('b')], cause);
  assert.equal(commits(), 1, 'a repeat commits nothing');
});

test('CMK-102: a disk that others keep changing is refused with CONTENTION, and the other disks of the call are closed', async () => {
  const beaten = new Set<string>();
  const { closing, ended, isOpen } = await openWorld(['a', 'busy', 'c'], beaten);
  beaten.add('busy');
  const outcomes = await closing([requested('a'), requested('busy'), requested('c')], cause);
  assert.deepEqual(
    outcomes.map((outcome) => ('refused' in outcome ? outcome.refused.reason : outcome.disk.version)),
    [5, 'CONTENTION', 5],
  );
  assert.deepEqual(ended.toSorted(), ['a', 'c']);
  beaten.clear();
  await closing([requested('busy')], cause);
  assert.equal(await isOpen('busy'), false);
});

test('a busy disk is closed when its work ends, and the other disks do not wait for it', async () => {
  const { closing, turns, isOpen } = await openWorld(['a', 'busy', 'c']);
  const held = Promise.withResolvers<void>();
  const working = turns('busy', () => held.promise);
  const done = closing([requested('a'), requested('busy'), requested('c')], cause);
  while ((await isOpen('a')) || (await isOpen('c'))) await new Promise(setImmediate);
  assert.equal(await isOpen('busy'), true);
  assert.ok(turns.isFree('a'), 'the queue of each other disk is free again');
  held.resolve();
  await Promise.all([working, done]);
  assert.equal(await isOpen('busy'), false);
  assert.ok(turns.isFree('busy'));
});

test('CMK-102: two closings of one disk in one call are applied in order', async () => {
  const { closing, disks } = await openWorld(['a']);
  const outcomes = await closing([requested('a'), requested('a', { isDeallocated: true, attachEpoch: 0 })], cause);
  const { state } = await disks.load('a');
  assert.equal(state.status === 'active' && state.holder?.isDeallocated, true);
  assert.deepEqual(
    outcomes.map((outcome) => 'disk' in outcome && outcome.disk.version),
    [6, 6],
  );
});
