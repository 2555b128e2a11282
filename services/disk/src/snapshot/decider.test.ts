import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import fc from 'fast-check';
import * as decider from './decider.ts';
import type { SnapshotEvent, SnapshotSpec } from './events.ts';

const at = 1_000;
const spec: SnapshotSpec = {
  uniqueId: 'u',
  location: 'l',
  sourceDisk: 'subscriptions/s/resourceGroups/g/disks/d',
  sourceUniqueId: 'du',
  incremental: true,
  sizeGib: 4,
  encryption: { type: 'customer', set: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/d' },
};
const volume = {
  volumeId: 'v',
  dekId: 'k',
  dekDiskId: 'du',
  dekAuthenticator: 'a',
  headerSequence: 1,
  headerDigest: 'one',
};
const wrap = { keyVersion: 'one', generation: 1 };

type Command = (snapshot: decider.Snapshot) => readonly SnapshotEvent[];
const after = (...commands: readonly Command[]): decider.Snapshot =>
  commands.reduce((state: decider.Snapshot, command) => command(state).reduce(decider.evolve, state), decider.initial);
const request = JSON.stringify(spec);
const newVolume = { host: 'disk-0', volumeId: 'v' };
const begun = decider.begin(at, request, newVolume, spec);
const made = decider.finish(at, 'u', { volume, wrap, sizeGib: 4 });

test('a snapshot is created completely or not at all, and its name is free after a failure (CMK-110)', () => {
  assert.equal(after(begun, made).status, 'active');
  assert.equal(after(begun, decider.fail(at, 'u', 'KEY_DISABLED')).status, 'absent');
  assert.deepEqual(begun(after(begun, made)), []);
  const other = JSON.stringify({ ...spec, incremental: !spec.incremental });
  assert.throws(() => decider.begin(at, other, newVolume, spec)(after(begun, made)), {
    reason: 'SNAPSHOT_ALREADY_EXISTS',
    message: /with another incremental: choose another snapshot_id$/,
  });
});

test('CMK-14, CMK-15: a rewrap moves a snapshot to another key version once', () => {
  const rewrapped = decider.rewrap(
    at,
    { keyVersion: 'two', generation: 2 },
    { volumeId: 'v', headerSequence: 2, headerDigest: 'two' },
    5,
  );
  const snapshot = after(begun, made, rewrapped);
  assert.equal(snapshot.status === 'active' && snapshot.keyVersion, 'two');
  assert.deepEqual(rewrapped(snapshot), []);
});

test('G5: a late rewrap from a replaced host is refused if the snapshot has another volume by now', () => {
  const header = { volumeId: 'v', headerSequence: 2, headerDigest: 'two' };
  const rewrapped = decider.rewrap(at, { keyVersion: 'two', generation: 2 }, header, 5);
  const again = decider.begin(at, request, { ...newVolume, volumeId: 'v2' }, { ...spec, uniqueId: 'u2' });
  const remade = decider.finish(at, 'u2', { volume: { ...volume, volumeId: 'v2' }, wrap, sizeGib: 4 });
  const snapshot = after(begun, made, decider.remove(at), decider.gone(at), again, remade);
  assert.throws(() => rewrapped(snapshot), { code: 'ABORTED', reason: 'SNAPSHOT_CHANGED' });
  // For the same volume, a newer header wins.
  const since = decider.rewrap(at, { keyVersion: 'three', generation: 3 }, { ...header, headerSequence: 3 }, 5);
  assert.deepEqual(rewrapped(after(begun, made, since)), []);
});

test('a snapshot cannot be deleted while it is created, and can be deleted afterwards', () => {
  assert.throws(() => decider.remove(at)(after(begun)), { reason: 'SNAPSHOT_CREATING' });
  assert.equal(after(begun, made, decider.remove(at), decider.gone(at)).status, 'absent');
});

test('a repeated command has no effect', () => {
  const commands: fc.Arbitrary<Command> = fc
    .record({ kind: fc.nat(5), number: fc.nat(4), text: fc.constantFrom('a', 'b') })
    .map(
      ({ kind, number, text }) =>
        [
          decider.begin(at, JSON.stringify({ location: text }), newVolume, spec),
          decider.finish(at, 'u', { volume, wrap, sizeGib: 4 }),
          decider.fail(at, 'u', text),
          decider.rewrap(
            at,
            { keyVersion: text, generation: number },
            { volumeId: 'v', headerSequence: number, headerDigest: text },
            1,
          ),
          decider.remove(at),
          decider.gone(at),
        ][kind] ?? decider.gone(at),
    );
  const attempt = (command: Command, snapshot: decider.Snapshot): readonly SnapshotEvent[] => {
    try {
      return command(snapshot);
    } catch (error) {
      if (error instanceof Rejection) return [];
      throw error;
    }
  };
  fc.assert(
    fc.property(fc.array(commands), commands, (history, command) => {
      const snapshot = history.reduce(
        (state: decider.Snapshot, each) => attempt(each, state).reduce(decider.evolve, state),
        decider.initial,
      );
      const then = attempt(command, snapshot).reduce(decider.evolve, snapshot);
      assert.deepEqual(attempt(command, then), []);
    }),
  );
});

test('a snapshot is listed under the host that has it; one whose events name no host is on the first host', () => {
  const hostsOf = (snapshot: decider.Snapshot) =>
    decider.snapshots.indexes?.(snapshot, 's').filter(({ index }) => index === 'host');
  const elsewhere = decider.begin(at, request, { host: 'disk-7', volumeId: 'v' }, spec);
  assert.deepEqual(hostsOf(after(elsewhere)), [{ index: 'host', value: 'disk-7' }]);
  const old = [{ type: 'SnapshotCreating', ...spec, volumeId: 'v', request, at } as const];
  assert.deepEqual(hostsOf(old.reduce(decider.evolve, decider.initial)), [{ index: 'host', value: 'disk-0' }]);
});
