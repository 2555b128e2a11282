import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLeaseHost } from '../host/keys/test-lease-host.ts';
import { diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { rewrapDek } from '../testing/test-one-disk.ts';

test('CMK-102: a disk is listed as open by its machine while the machine has it open, not during direct access', async () => {
  const { host, run, open, stop } = await startLeaseHost();
  const parent = setName.slice(0, setName.lastIndexOf('/diskEncryptionSets/'));
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  const request = { parent, diskId: 'alone', location: 'l', sku: 'ULTRA', sizeGib: 4, encryption } as const;
  const { name: alone } = await run(host.disks.createDisk(request));
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

test('G6, CMK-89: if a restore takes a generation back, the next one of that number still rewraps every resource', async (t) => {
  const host = await startDiskHost();
  t.after(() => host.stop());
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  const parent = setName.slice(0, setName.lastIndexOf('/diskEncryptionSets/'));
  const spec = { location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption } as const;
  await host.disks.createDisk({ parent, diskId: 'd', ...spec });
  await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  const resources = [diskName, `${parent}/snapshots/s`];
  const first = host.keyOf(setName);
  const begin = async () => {
    const { generation, keyVersion, principal } = host.keyOf(setName);
    await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
    return { generation, targetKeyVersion: keyVersion };
  };
  await host.rotate(setName);
  const before = await begin();
  for (const name of resources) await rewrapDek(host.asSets, { name, ...before });
  // The store goes back to the earlier generation, as in a restore. Then the set gets another key than before.
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const cursor = { name: `generation:${setName}`, from: before.generation, to: first.generation };
  await host.commit({ cursors: [cursor] }, cause);
  await host.rotate(setName);
  const { keyVersion, principal } = host.keyOf(setName);
  const again = { generation: before.generation, keyVersion, principal };
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, ...again });
  const left = async () => {
    const below = { diskEncryptionSet: setName, belowGeneration: again.generation };
    return (await host.asSets.listEncryptedResources(below)).resources.map(({ name }) => name);
  };
  assert.deepEqual(await left(), resources);
  for (const name of resources) {
    await rewrapDek(host.asSets, { name, targetKeyVersion: keyVersion, generation: again.generation });
  }
  assert.deepEqual(await left(), []);
});
