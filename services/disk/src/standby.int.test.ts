import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type DiskCloud, startDiskCloud, until } from './test-disk-cloud.ts';
import { contentOf, fill, newSnapshot } from './test-disk-content.ts';

const limit = { timeout: 180_000 };
let cloud: DiskCloud;
before(async () => {
  cloud = await startDiskCloud();
});
after(() => cloud?.close());

const keyOf = (keyVersion: string): string => keyVersion.slice(0, keyVersion.indexOf('/versions/'));

test(
  'CMK-108, G5: a purge of the key is survived, byte for byte, by the standby key and the word of its owner',
  limit,
  async () => {
    const set = await cloud.newSet();
    const elsewhere = await cloud.newSet();
    const { principal } = set;
    const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
    await cloud.vault.setAccessPolicy({
      name: elsewhere.vault,
      accessPolicy: { principal, keyPermissions: [...keyPermissions] },
    });
    const disk = await cloud.newDisk({ set });
    const content = randomBytes(100_000);
    await fill(cloud, disk, content);
    await newSnapshot(cloud, disk.name);
    await cloud.sets.updateDiskEncryptionSet({
      name: set.name,
      standbyKeyUrl: elsewhere.keyUrl,
      keyOwnerToken: await cloud.ownerToken(),
    });
    const listed = async () =>
      (await cloud.setsWorkload.listEncryptedResources({ diskEncryptionSet: set.name })).resources;
    await until(async () =>
      (await listed()).every(({ standbyKeyVersion }) => standbyKeyVersion === elsewhere.keyVersion),
    );

    const name = keyOf(set.keyVersion);
    await cloud.vault.deleteKey({ name, confirmName: name });
    await cloud.vault.purgeKey({ name, confirmName: name });
    await until(async () => (await cloud.disks.getDisk({ name: disk.name })).unavailableReason === 'KEY_PURGED');
    await assert.rejects(contentOf(cloud, disk, 1), { reason: 'KEY_PURGED' });

    await cloud.sets.assignKey({ name: set.name, keyUrl: elsewhere.keyUrl });
    const shown = async () => cloud.sets.getDiskEncryptionSet({ name: set.name });
    await until(async () => (await shown()).rotation?.state === 'WAITING');
    assert.ok(
      (await listed()).every(({ keyVersion }) => keyVersion === set.keyVersion),
      'without a word nothing moves',
    );

    await cloud.sets.resumeRotation({ name: set.name, keyOwnerToken: await cloud.ownerToken() });
    await until(async () => (await shown()).rotation?.state === 'SUCCEEDED');
    assert.deepEqual(await contentOf(cloud, disk, content.length), content);
    await until(async () => (await listed()).every(({ standbyKeyVersion }) => standbyKeyVersion === ''));
  },
);
