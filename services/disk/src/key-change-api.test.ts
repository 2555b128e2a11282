import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setName } from './test-disk-host.ts';
import { startLeaseHost } from './test-lease-host.ts';

test('CMK-102: a disk counts as open by its machine while that has it open, and not because a user reads it', async () => {
  const { host, run, open, stop } = await startLeaseHost();
  const parent = setName.slice(0, setName.lastIndexOf('/diskEncryptionSets/'));
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  const wish = { parent, diskId: 'alone', location: 'l', sku: 'ULTRA', sizeGib: 4, encryption } as const;
  const { name: alone } = await run(host.disks.createDisk(wish));
  const machines = await open('held');
  const openOnes = async (): Promise<readonly string[]> => {
    const { resources } = await run(host.asSets.listEncryptedResources({ diskEncryptionSet: setName }));
    assert.equal(resources.length, 2);
    return resources.filter(({ openByMachine }) => openByMachine).map(({ name }) => name);
  };
  assert.deepEqual(await openOnes(), [machines.name]);
  await run(host.disks.beginAccess({ name: alone, accessLevel: 'READ', durationSeconds: 3_600 }));
  assert.deepEqual(await openOnes(), [machines.name]);
  await machines.close();
  assert.deepEqual(await openOnes(), []);
  await stop();
});
