import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { contentOf, fill, newSnapshot, platformKey, underSet, volumeOf } from '../host/storage/test-disk-content.ts';
import { resourceGroup } from '../testing/test-cloud-disks.ts';
import { type DiskCloud, startDiskCloud } from '../testing/test-disk-cloud.ts';
import { closeDisk } from '../testing/test-one-disk.ts';

let cloud: DiskCloud;
before(async () => {
  cloud = await startDiskCloud({ hasShortFiles: true });
});
after(() => cloud.close());

const limit = { timeout: 180_000 };

describe('encryption of a new disk', () => {
  test(
    'CMK-17: a disk, snapshot or copy is under a platform key if neither the request nor the source has a set',
    limit,
    async () => {
      const disk = await cloud.newDisk();
      const snapshot = await newSnapshot(cloud, disk.name);
      const copy = await cloud.newDisk({ source: { $case: 'sourceSnapshot', value: snapshot.name } });
      for (const { name, encryption, keyVersion } of [disk, snapshot, copy]) {
        assert.deepEqual([encryption, keyVersion], [platformKey, ''], name);
      }
    },
  );
  test(
    'CMK-51: an encryption type that does not match the set is refused with the text that tools match on',
    limit,
    async () => {
      const set = await cloud.newSet();
      await assert.rejects(
        cloud.newDisk({ diskId: 'no-set', encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY' } as never }),
        {
          reason: 'ENCRYPTION_SET_MISSING',
          message: `Resource '${resourceGroup}/disks/no-set' encrypted with customer managed key has disk encryption set missing resource id.`,
        },
      );
      const both = { ...platformKey, diskEncryptionSet: set.name };
      await assert.rejects(cloud.newDisk({ diskId: 'both', encryption: both }), {
        reason: 'ENCRYPTION_SET_NOT_ALLOWED',
        message: `Resource ${resourceGroup}/disks/both encrypted with platform key has disk encryption set id specified`,
      });
    },
  );
  test(
    'CMK-31, CMK-50, CMK-52: the set must exist and have the type, region and subscription of the disk',
    limit,
    async () => {
      const [set, double] = [await cloud.newSet(), await cloud.newSet({ isDouble: true })];
      await assert.rejects(cloud.newDisk({ encryption: underSet(double) }), { reason: 'ENCRYPTION_TYPE_MISMATCH' });
      await assert.rejects(cloud.newDisk({ set, location: 'northeurope' }), { reason: 'LOCATION_MISMATCH' });
      await assert.rejects(cloud.newDisk({ set, parent: 'subscriptions/s2/resourceGroups/g' }), {
        reason: 'SUBSCRIPTION_MISMATCH',
      });
      const unknown = { ...set, name: `${resourceGroup}/diskEncryptionSets/unknown` };
      await assert.rejects(cloud.newDisk({ set: unknown }), {
        code: 'NOT_FOUND',
        reason: 'DISK_ENCRYPTION_SET_NOT_FOUND',
      });
    },
  );
  test('CMK-52: a copy or snapshot is in the subscription and region of its source', limit, async () => {
    const { name } = await cloud.newDisk();
    const [parent, elsewhere] = ['subscriptions/s2/resourceGroups/g', 'northeurope'];
    const source = { $case: 'sourceDisk', value: name } as const;
    const isMismatch =
      (reason: string, field: string) => (error: { reason?: string; metadata?: { field?: string } }) => {
        assert.deepEqual([error.reason, error.metadata?.field], [reason, field]);
        return true;
      };
    await assert.rejects(cloud.newDisk({ parent, source, sizeGib: 0 }), isMismatch('SUBSCRIPTION_MISMATCH', 'source'));
    await assert.rejects(
      cloud.newDisk({ location: elsewhere, source, sizeGib: 0 }),
      isMismatch('LOCATION_MISMATCH', 'location'),
    );
    await assert.rejects(
      cloud.disks.createSnapshot({ parent, snapshotId: 's1', sourceDisk: name }),
      isMismatch('SUBSCRIPTION_MISMATCH', 'source_disk'),
    );
  });
  test(
    'CMK-70, CMK-71, CMK-72: double encryption adds a layer, excludes ultra, and needs the customer key to read',
    limit,
    async () => {
      const set = await cloud.newSet({ isDouble: true });
      const encryption = {
        type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS',
        diskEncryptionSet: set.name,
      } as const;
      await assert.rejects(cloud.newDisk({ encryption, sku: 'ULTRA' }), { reason: 'DOUBLE_ENCRYPTION_NOT_SUPPORTED' });
      const disk = await cloud.newDisk({ encryption });
      const content = randomBytes(20_000);
      await fill(cloud, disk, content, 8_192);
      assert.deepEqual(await contentOf(cloud, disk, content.length, 8_192), content);
      assert.ok((await cloud.volumeFiles()).includes(`${await volumeOf(cloud, disk.name)}.layer`));
      const snapshot = await newSnapshot(cloud, disk.name);
      const copy = await cloud.newDisk({ source: { $case: 'sourceSnapshot', value: snapshot.name } });
      assert.deepEqual(await contentOf(cloud, copy, content.length, 8_192), content);
      await cloud.vault.disableKeyVersion({ name: set.keyVersion });
      await assert.rejects(contentOf(cloud, disk, 1), { reason: 'KEY_DISABLED' });
    },
  );
  test('a size out of range and a missing class are refused', limit, async () => {
    await assert.rejects(cloud.newDisk({ sizeGib: 32_768 }), { reason: 'DISK_SIZE_INVALID' });
    await assert.rejects(cloud.newDisk({ sizeGib: 0 }), { reason: 'DISK_SIZE_INVALID' });
    await assert.rejects(cloud.newDisk({ sku: 'DISK_SKU_UNSPECIFIED' }), { reason: 'DISK_SKU_MISSING' });
  });
});

describe('changing the encryption of a disk', () => {
  test(
    'CMK-53, CMK-54, CMK-55, CMK-57: platform → set → other set → platform keeps the content and copies no data',
    limit,
    async () => {
      const [set, other] = [await cloud.newSet(), await cloud.newSet()];
      const disk = await cloud.newDisk();
      const content = randomBytes(12_345);
      await fill(cloud, disk, content, 77);
      for (const [encryption, keyVersion] of [
        [underSet(set), set.keyVersion],
        [underSet(other), other.keyVersion],
        [platformKey, ''],
      ] as const) {
        const volume = await volumeOf(cloud, disk.name);
        const changed = await cloud.disks.changeDiskEncryption({ name: disk.name, encryption });
        assert.deepEqual([changed.encryption, changed.keyVersion], [encryption, keyVersion]);
        assert.equal(changed.provisioningState, 'SUCCEEDED');
        assert.equal(await volumeOf(cloud, disk.name), volume, 'no data was copied');
        assert.deepEqual(await contentOf(cloud, disk, content.length, 77), content);
        const again = await cloud.disks.changeDiskEncryption({ name: disk.name, encryption });
        assert.equal(again.provisioningState, 'SUCCEEDED');
      }
    },
  );
  test('a change copies the disk if a snapshot shares its DEK, so that a DEK stays under one key', limit, async () => {
    const set = await cloud.newSet();
    const disk = await cloud.newDisk();
    const content = randomBytes(4_096);
    await fill(cloud, disk, content);
    const snapshot = await newSnapshot(cloud, disk.name);
    const volume = await volumeOf(cloud, disk.name);
    await cloud.disks.changeDiskEncryption({ name: disk.name, encryption: underSet(set) });
    assert.notEqual(await volumeOf(cloud, disk.name), volume);
    assert.deepEqual(await contentOf(cloud, disk, 4_096), content);
    assert.ok(!(await cloud.volumeFiles()).includes(`${volume}.data`));
    assert.equal((await cloud.disks.getSnapshot({ name: snapshot.name })).encryption?.type, platformKey.type);
  });
  test(
    'VM-25: a change is refused while the disk is attached, also to a machine that is only stopped',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disk = await cloud.newDisk();
      const { virtualMachine } = await cloud.openNew(disk.name);
      const change = () => cloud.disks.changeDiskEncryption({ name: disk.name, encryption: underSet(set) });
      await assert.rejects(change(), { reason: 'DISK_ATTACHED', message: /^Cannot change Encryption Setting of disk/ });
      await closeDisk(cloud.compute, { name: disk.name, virtualMachine });
      await assert.rejects(change(), { reason: 'DISK_ATTACHED' });
      await closeDisk(cloud.compute, { name: disk.name, virtualMachine, deallocated: true });
      assert.equal((await change()).keyVersion, set.keyVersion);
    },
  );
  test('a change that fails leaves the disk as it was', limit, async () => {
    const set = await cloud.newSet({ withoutGrant: true });
    const disk = await cloud.newDisk();
    const files = await cloud.volumeFiles();
    await assert.rejects(cloud.disks.changeDiskEncryption({ name: disk.name, encryption: underSet(set) }), {
      reason: 'ACCESS_DENIED',
    });
    const { encryption, provisioningState } = await cloud.disks.getDisk({ name: disk.name });
    assert.deepEqual({ encryption, provisioningState }, { encryption: platformKey, provisioningState: 'SUCCEEDED' });
    assert.deepEqual(await cloud.volumeFiles(), files);
    assert.equal((await contentOf(cloud, disk, 10)).length, 10);
  });
});
