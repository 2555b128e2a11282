import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { contentOf, fill, newSnapshot, platformKey, underSet } from './host/storage/test-disk-content.ts';
import { location, resourceGroup } from './testing/test-cloud-disks.ts';
import { type DiskCloud, startDiskCloud, until } from './testing/test-disk-cloud.ts';
import { closeDisk, openDisk } from './testing/test-one-disk.ts';

let cloud: DiskCloud;
before(async () => {
  cloud = await startDiskCloud({ hasShortFiles: true });
});
after(() => cloud.close());

const limit = { timeout: 180_000 };

describe('copies and snapshots', () => {
  test(
    'CMK-58: a snapshot and its copy inherit the set, and hold the content at the time of the snapshot',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disk = await cloud.newDisk({ set });
      const before = randomBytes(9_000);
      await fill(cloud, disk, before);
      const snapshot = await newSnapshot(cloud, disk.name);
      assert.equal(snapshot.encryption?.diskEncryptionSet, set.name);
      assert.equal(snapshot.keyVersion, set.keyVersion);
      await fill(cloud, disk, randomBytes(9_000));
      const copy = await cloud.newDisk({ source: { $case: 'sourceSnapshot', value: snapshot.name }, sizeGib: 0 });
      assert.equal(copy.encryption?.diskEncryptionSet, set.name);
      assert.deepEqual(await contentOf(cloud, copy, 9_000), before);
      await cloud.disks.deleteDisk({ name: disk.name });
      assert.deepEqual(await contentOf(cloud, copy, 9_000), before);
      const [kept] = (await cloud.disks.listSnapshots({ sourceDisk: disk.name })).snapshots;
      assert.equal(kept?.name, snapshot.name);
    },
  );
  test(
    'a repeated copy request returns the existing copy, even after its source changed or was deleted',
    limit,
    async () => {
      const [set, other] = [await cloud.newSet(), await cloud.newSet()];
      const source = await cloud.newDisk({ set });
      const requested = { diskId: 'copied', source: { $case: 'sourceDisk', value: source.name }, sizeGib: 0 } as const;
      const copy = await cloud.newDisk(requested);
      const assertSame = async (what: string) => assert.deepEqual(await cloud.newDisk(requested), copy, what);
      await assertSame('at once');
      await cloud.disks.growDisk({ name: source.name, sizeGib: 2 });
      await assertSame('larger');
      await cloud.disks.changeDiskEncryption({ name: source.name, encryption: underSet(other) });
      await assertSame('under another set');
      for (const unlike of [{ sizeGib: 3 }, { sku: 'STANDARD_HDD' }, { encryption: underSet(other) }] as const) {
        await assert.rejects(cloud.newDisk({ ...requested, ...unlike }), { reason: 'DISK_ALREADY_EXISTS' });
      }
      await cloud.disks.deleteDisk({ name: source.name });
      await assertSame('gone');
      await assert.rejects(cloud.newDisk({ ...requested, diskId: 'copied-too' }), { reason: 'DISK_NOT_FOUND' });
    },
  );
  test(
    'a copy to another set, or from the platform to a set, holds the content and does not need the key of its source',
    limit,
    async () => {
      const [set, other] = [await cloud.newSet(), await cloud.newSet()];
      const content = randomBytes(5_000);
      const disk = await cloud.newDisk({ set });
      await fill(cloud, disk, content);
      const snapshot = await newSnapshot(cloud, disk.name, { encryption: underSet(other) });
      assert.equal(snapshot.keyVersion, other.keyVersion);
      await cloud.vault.disableKeyVersion({ name: set.keyVersion });
      const copy = await cloud.newDisk({ source: { $case: 'sourceSnapshot', value: snapshot.name } });
      assert.deepEqual(await contentOf(cloud, copy, 5_000), content);
      const plain = await cloud.newDisk();
      await fill(cloud, plain, content);
      const moved = await cloud.newDisk({ set: other, source: { $case: 'sourceDisk', value: plain.name }, sizeGib: 2 });
      assert.deepEqual(await contentOf(cloud, moved, 5_000), content);
    },
  );
  test('CMK-56, CMK-61, CMK-142: limits of incremental snapshots', limit, async () => {
    const [set, other] = [await cloud.newSet(), await cloud.newSet()];
    const ultra = await cloud.newDisk({ set, sku: 'ULTRA' });
    await assert.rejects(newSnapshot(cloud, ultra.name), { reason: 'SNAPSHOT_TYPE_NOT_SUPPORTED' });
    const taken = await newSnapshot(cloud, ultra.name, { incremental: true });
    await assert.rejects(newSnapshot(cloud, ultra.name, { incremental: true, encryption: underSet(other) }), {
      reason: 'INCREMENTAL_SNAPSHOT_SET_MISMATCH',
    });
    await assert.rejects(cloud.disks.changeDiskEncryption({ name: ultra.name, encryption: platformKey }), {
      reason: 'DISK_HAS_INCREMENTAL_SNAPSHOTS',
    });
    assert.equal((await cloud.disks.getDisk({ name: ultra.name })).provisioningState, 'SUCCEEDED');
    for (let n = 0; n < 3; n++) await newSnapshot(cloud, ultra.name, { incremental: true });
    await assert.rejects(newSnapshot(cloud, ultra.name, { incremental: true }), {
      code: 'RESOURCE_EXHAUSTED',
      reason: 'TOO_MANY_SNAPSHOTS',
    });
    await cloud.disks.deleteSnapshot({ name: taken.name });
    await cloud.disks.deleteSnapshot({ name: taken.name });
    await assert.rejects(cloud.disks.getSnapshot({ name: taken.name }), { reason: 'SNAPSHOT_NOT_FOUND' });
  });
});

describe('access and attachment of disks', () => {
  test(
    'direct access is read-only, is replaced by a newer one, and ends on request or after its duration',
    limit,
    async () => {
      const disk = await cloud.newDisk();
      const access = { name: disk.name, accessLevel: 'READ', durationSeconds: 60 } as const;
      const first = await cloud.disks.beginAccess(access);
      assert.equal((await cloud.disks.getDisk({ name: disk.name })).state, 'ACTIVE_ACCESS');
      await assert.rejects(cloud.write(disk.name, first.accessToken, 0, Buffer.alloc(1)), {
        code: 'PERMISSION_DENIED',
        reason: 'ACCESS_IS_READ_ONLY',
      });
      await assert.rejects(cloud.openNew(disk.name), { reason: 'DISK_IN_ACTIVE_ACCESS' });
      const second = await cloud.disks.beginAccess(access);
      await assert.rejects(cloud.read(disk.name, first.accessToken, 0, 1), { reason: 'ATTACH_EPOCH_OUTDATED' });
      const { accessToken } = first;
      // The token of the replaced access ends that access only, not the newer one.
      assert.equal((await cloud.disks.endAccess({ name: disk.name, accessToken })).state, 'ACTIVE_ACCESS');
      await cloud.read(disk.name, second.accessToken, 0, 1);
      assert.equal((await cloud.disks.endAccess({ name: disk.name })).state, 'UNATTACHED');
      await assert.rejects(cloud.read(disk.name, second.accessToken, 0, 1), { reason: 'ATTACH_EPOCH_OUTDATED' });
      await cloud.disks.beginAccess({ ...access, durationSeconds: 1 });
      await until(async () => (await cloud.disks.getDisk({ name: disk.name })).state === 'UNATTACHED');
    },
  );
  test(
    'VM-07, VM-18, CMK-132: a disk is attached, reserved, then detached and deleted while its key is disabled',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disk = await cloud.newDisk({ set });
      const { virtualMachine } = await cloud.openNew(disk.name);
      const named = { name: disk.name, virtualMachine };
      assert.equal((await cloud.disks.getDisk({ name: disk.name })).managedBy, virtualMachine);
      await assert.rejects(
        cloud.compute.attachDisk({ ...named, virtualMachine: `${virtualMachine}2`, requestId: 'x' }),
        {
          reason: 'DISK_ATTACHED',
        },
      );
      assert.equal((await closeDisk(cloud.compute, { ...named, deallocated: true })).state, 'RESERVED');
      await assert.rejects(cloud.disks.deleteDisk({ name: disk.name }), { reason: 'DISK_ATTACHED' });
      await cloud.vault.disableKeyVersion({ name: set.keyVersion });
      assert.equal((await cloud.compute.detachDisk(named)).state, 'UNATTACHED');
      await cloud.disks.deleteDisk({ name: disk.name });
      await cloud.disks.deleteDisk({ name: disk.name });
      await assert.rejects(cloud.disks.getDisk({ name: disk.name }), { reason: 'DISK_NOT_FOUND' });
      await assert.rejects(cloud.disks.deleteDisk({ name: `${resourceGroup}/disks/never` }), {
        reason: 'DISK_NOT_FOUND',
      });
    },
  );
});

describe('showing, listing and opening disks', () => {
  test(
    'CMK-109: a set and its disks and snapshots can be shown and deleted while their key is disabled',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disk = await cloud.newDisk({ set });
      const snapshot = await newSnapshot(cloud, disk.name);
      await cloud.vault.disableKeyVersion({ name: set.keyVersion });
      await assert.rejects(contentOf(cloud, disk, 1), { reason: 'KEY_DISABLED' });
      const { disks, sets } = cloud;
      assert.equal((await disks.getDisk({ name: disk.name })).name, disk.name);
      assert.equal((await disks.getSnapshot({ name: snapshot.name })).name, snapshot.name);
      assert.equal((await sets.getDiskEncryptionSet({ name: set.name })).name, set.name);
      const listed = { diskEncryptionSet: set.name };
      assert.deepEqual(
        (await disks.listDisks(listed)).disks.map(({ name }) => name),
        [disk.name],
      );
      assert.deepEqual(
        (await disks.listSnapshots(listed)).snapshots.map(({ name }) => name),
        [snapshot.name],
      );
      await disks.deleteDisk({ name: disk.name });
      await disks.deleteSnapshot({ name: snapshot.name });
      await sets.deleteDiskEncryptionSet({ name: set.name });
      await assert.rejects(disks.getSnapshot({ name: snapshot.name }), { reason: 'SNAPSHOT_NOT_FOUND' });
      await assert.rejects(sets.getDiskEncryptionSet({ name: set.name }), { reason: 'DISK_ENCRYPTION_SET_NOT_FOUND' });
    },
  );
  test('lists of disks are paged and ordered, and need a filter', limit, async () => {
    const set = await cloud.newSet();
    for (let n = 0; n < 3; n++) await cloud.newDisk({ set });
    const first = await cloud.disks.listDisks({ parent: resourceGroup, diskEncryptionSet: set.name, pageSize: 2 });
    const rest = await cloud.disks.listDisks({
      parent: resourceGroup,
      diskEncryptionSet: set.name,
      pageSize: 2,
      pageToken: first.nextPageToken,
    });
    const names = [...first.disks, ...rest.disks].map(({ name }) => name);
    assert.equal(new Set(names).size, 3);
    assert.deepEqual(names.toSorted(), names);
    assert.equal(rest.nextPageToken, '');
    assert.equal((await cloud.disks.listDisks({ keyVersion: set.keyVersion })).disks.length, 3);
    await assert.rejects(cloud.disks.listDisks({}), { reason: 'FIELD_MISSING' });
  });
  test('a user without a role is refused, and only a workload can open a disk', limit, async () => {
    const principalId = randomUUID();
    const request = { principalId, tenant: 'tenants/main', type: 'USER', displayName: 'visitor' } as const;
    const { name } = await cloud.identity.createPrincipal(request);
    const { secretText: secret } = await cloud.identity.addSecret({ principal: name, secretId: 'one' });
    const user = cloud.userAs({ id: principalId, secret });
    const disk = await cloud.newDisk();
    await assert.rejects(user.getDisk({ name: disk.name }), { reason: 'ACCESS_DENIED' });
    await assert.rejects(user.listDisks({ parent: resourceGroup }), { reason: 'ACCESS_DENIED' });
    await assert.rejects(user.createDisk({ parent: resourceGroup, diskId: 'x', location, sku: 'ULTRA', sizeGib: 1 }), {
      reason: 'ACCESS_DENIED',
    });
    await assert.rejects(user.beginAccess({ name: disk.name, accessLevel: 'READ', durationSeconds: 1 }), {
      reason: 'ACCESS_DENIED',
    });
    await assert.rejects(openDisk(cloud.disks, { name: disk.name, virtualMachine: '' }), {
      reason: 'WORKLOAD_REQUIRED',
    });
  });
});
