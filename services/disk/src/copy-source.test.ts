import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { storeClosed } from './block-store.ts';
import { copyingFrom } from './copy-source.ts';

const group = 'subscriptions/s/resourceGroups/snapshots';
const disk = `${group}/disks/d`;
const snapshot = `${group}/snapshots/s`;
const volume = { volumeId: 'v', dekId: 'k', dekDiskId: 'u', headerSequence: 1 };
const active = { status: 'active', volume };
const other = { status: 'active', volume: { ...volume, volumeId: 'w' } };

/** What a copy is told to have failed for. @param states of what there is when it fails, by name */
const toldFor = async (error: Error, name: string, states: Readonly<Record<string, unknown>>): Promise<unknown> => {
  const load = async (id: string) => ({ id, version: 1, state: states[id] ?? { status: 'absent' } });
  const kinds = { disks: { load }, snapshots: { load } } as unknown as Parameters<typeof copyingFrom>[0];
  return copyingFrom(kinds, { name, volume }, () => Promise.reject(error)).catch((told: unknown) => told);
};
const reasonOf = (error: unknown): string => (error instanceof Rejection ? error.reason : String(error));

test('CMK-110: a copy whose source is gone, or about to be, is told so, and one whose source has another volume to repeat it', async () => {
  const deleting = { ...active, status: 'deleting' };
  const missing = new Rejection('DATA_LOSS', 'VOLUME_MISSING', 'the data of this disk is not on this host');
  for (const error of [storeClosed(), missing]) {
    const told = async (name: string, state?: unknown) => reasonOf(await toldFor(error, name, { [name]: state }));
    assert.equal(await told(disk), 'DISK_NOT_FOUND');
    assert.equal(await told(disk, deleting), 'DISK_NOT_FOUND');
    assert.equal(await told(disk, other), 'DISK_CHANGED');
    assert.equal(await told(snapshot), 'SNAPSHOT_NOT_FOUND');
    assert.equal(await told(snapshot, deleting), 'SNAPSHOT_NOT_FOUND');
  }
});

test('a copy that fails for anything else while its source is there is told that', async () => {
  const closed = storeClosed();
  for (const name of [disk, snapshot]) assert.equal(await toldFor(closed, name, { [name]: active }), closed);
  const lost = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'the key is disabled');
  assert.equal(await toldFor(lost, disk, {}), lost);
});
