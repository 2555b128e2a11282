import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { storeClosed } from '../host/storage/block-store.ts';
import { pieceSize } from '../host/storage/sector.ts';
import { diskName, otherSetName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { copyingFrom } from './copy-source.ts';

const group = 'subscriptions/s/resourceGroups/snapshots';
const disk = `${group}/disks/d`;
const snapshot = `${group}/snapshots/s`;
const volume = {
  volumeId: 'v',
  dekId: 'k',
  dekDiskId: 'u',
  dekAuthenticator: 'a',
  headerSequence: 1,
  headerDigest: 'one',
};
const encryption = { type: 'customer', set: setName } as const;
const active = { status: 'active', volume, encryption };
const other = { ...active, volume: { ...volume, volumeId: 'w' } };

/** The error that a failed copy reports. @param states of the disks and snapshots at that time, by name */
const messageFor = async (error: Error, name: string, states: Readonly<Record<string, unknown>>): Promise<unknown> => {
  const load = async (id: string) => ({ id, version: 1, state: states[id] ?? { status: 'absent' } });
  const kinds = { all: { disks: { load }, snapshots: { load } } } as unknown as Parameters<typeof copyingFrom>[0];
  return copyingFrom(kinds, { name, encryption, volume }, () => Promise.reject(error)).catch((told: unknown) => told);
};
const reasonOf = (error: unknown): string => (error instanceof Rejection ? error.reason : String(error));

test('CMK-110: a failed copy reports a deleted source as not found, and a source with another volume as DISK_CHANGED', async () => {
  const deleting = { ...active, status: 'deleting' };
  const missing = new Rejection('DATA_LOSS', 'VOLUME_MISSING', 'the data of this disk is not on this host');
  for (const error of [storeClosed(), missing]) {
    const told = async (name: string, state?: unknown) => reasonOf(await messageFor(error, name, { [name]: state }));
    assert.equal(await told(disk), 'DISK_NOT_FOUND');
    assert.equal(await told(disk, deleting), 'DISK_NOT_FOUND');
    assert.equal(await told(disk, other), 'DISK_CHANGED');
    assert.equal(await told(snapshot), 'SNAPSHOT_NOT_FOUND');
    assert.equal(await told(snapshot, deleting), 'SNAPSHOT_NOT_FOUND');
  }
});

test('a failed copy reports its own error if its source is unchanged, and a lost key in any case', async () => {
  const closed = storeClosed();
  for (const name of [disk, snapshot]) assert.equal(await messageFor(closed, name, { [name]: active }), closed);
  const lost = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'the key is disabled');
  assert.equal(await messageFor(lost, disk, {}), lost);
});

const limit = { timeout: 60_000 };
const parent = 'subscriptions/s/resourceGroups/g';
const under = (set: string): Encryption => ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set });
const platform: Encryption = { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' };
const request = { parent, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 } as const;

/** A disk with content, and a function that copies it under the first set. */
const diskToCopy = async (t: TestContext, encryption: Encryption, beforeWrite?: () => Promise<void>) => {
  const host = await startDiskHost({
    partBytesMax: 2 * pieceSize,
    beforeWrite: async (part) => {
      if (part === 'data') await beforeWrite?.();
    },
  });
  t.after(() => host.stop());
  await host.disks.createDisk({ ...request, diskId: 'd', encryption });
  const content = randomBytes(8_192);
  await host.fill(content);
  const source = { $case: 'sourceDisk', value: diskName } as const;
  const copy = () =>
    host
      .clientWithoutRetries(DiskServiceDefinition)
      .createDisk({ ...request, diskId: 'copy', encryption: under(setName), source });
  const assertUndone = async (): Promise<void> => {
    assert.equal((await host.stateOf(`${parent}/disks/copy`)).status, 'absent');
    assert.deepEqual(host.volumeIds(), await host.volumesInUse());
    assert.deepEqual(await host.content(content.length), content);
  };
  return { host, copy, assertUndone };
};
const isChanged = { code: 'ABORTED', reason: 'DISK_CHANGED' };

for (const [from, encryption] of [
  ['the platform', platform],
  ['its set', under(setName)],
] as const) {
  test(`G1, CMK-110: a copy of a disk that moves from ${from} to another set is not recorded`, limit, async (t) => {
    let meet = async (): Promise<void> => undefined;
    const { host, copy, assertUndone } = await diskToCopy(t, encryption, () => meet());
    const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    meet = () => {
      reached.resolve();
      return released.promise;
    };
    const made = copy();
    made.catch(() => undefined);
    await reached.promise;
    await host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
    meet = async () => undefined;
    released.resolve();
    await assert.rejects(made, isChanged);
    const { keyVersion } = host.keyOf(otherSetName);
    const asked = host.checks.filter((check) => check.keyVersion === keyVersion && check.wrappedProbe.length > 0);
    assert.deepEqual(asked, [], 'the copy does not use the key of the other set');
    await assertUndone();
  });

  test(
    `CMK-110: a copy fails with DISK_CHANGED if its disk moves from ${from} to another set before it is read`,
    limit,
    async (t) => {
      const { host, copy, assertUndone } = await diskToCopy(t, encryption);
      const hold = host.holdCheck(setName);
      const made = copy();
      made.catch(() => undefined);
      await hold.reached;
      await host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
      hold.release();
      await assert.rejects(made, isChanged);
      await assertUndone();
    },
  );
}

/** Requests a snapshot of a disk of 1 GiB, then grows it and writes beyond 1 GiB before the copy starts. */
const snapshotOfGrown = async (t: TestContext, encryption?: Encryption) => {
  const host = await startDiskHost();
  t.after(() => host.stop());
  await host.disks.createDisk({ ...request, diskId: 'd', encryption: under(setName) });
  const hold = host.holdCheck(encryption?.diskEncryptionSet ?? setName);
  const disks = host.clientWithoutRetries(DiskServiceDefinition);
  const taken = disks.createSnapshot({
    ...{ parent, snapshotId: 's', sourceDisk: diskName },
    ...(encryption === undefined ? {} : { encryption }),
  });
  taken.catch(() => undefined);
  await hold.reached;
  await host.disks.growDisk({ name: diskName, sizeGib: 2 });
  const content = randomBytes(8_192);
  const write = await host.writer(2 ** 30);
  await write(content);
  await host.disks.endAccess({ name: diskName });
  hold.release();
  return { host, disks, taken, content };
};

test(
  'G5: a snapshot of a disk that grows after the request has the size and content of the grown disk',
  limit,
  async (t) => {
    const { host, disks, taken, content } = await snapshotOfGrown(t);
    const { sizeGib, name } = await taken;
    assert.equal(sizeGib, 2);
    await disks.deleteDisk({ name: diskName });
    const source = { $case: 'sourceSnapshot', value: name } as const;
    await disks.createDisk({ ...request, diskId: 'd', sizeGib: 0, encryption: under(setName), source });
    assert.deepEqual(await host.content(content.length, 2 ** 30), content);
  },
);

test(
  'CMK-110: a snapshot under another key fails with DISK_CHANGED if its disk grows meanwhile; a retry succeeds',
  limit,
  async (t) => {
    const { host, disks, taken } = await snapshotOfGrown(t, under(otherSetName));
    await assert.rejects(taken, isChanged);
    assert.deepEqual(host.volumeIds(), await host.volumesInUse());
    const again = { parent, snapshotId: 's', sourceDisk: diskName, encryption: under(otherSetName) };
    assert.equal((await disks.createSnapshot(again)).sizeGib, 2);
  },
);
