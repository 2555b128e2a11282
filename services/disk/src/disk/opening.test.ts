import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { closeDisk, openDisk } from '../testing/test-one-disk.ts';

const virtualMachine = `${diskName.slice(0, diskName.lastIndexOf('/disks/'))}/virtualMachines/m`;

/** A disk attached to a machine, and an open whose unwrap the vault has done but not responded to yet. */
const openUnderWay = async (context: TestContext) => {
  const host = await startDiskHost();
  context.after(() => host.stop());
  await host.disks.createDisk({
    parent: 'subscriptions/s/resourceGroups/g',
    diskId: 'd',
    location: 'l',
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName },
  });
  await host.disks.attachDisk({ name: diskName, virtualMachine, requestId: 'one' });
  const hold = host.holdUnwrap();
  const opening = openDisk(host.disks, { name: diskName, virtualMachine });
  await hold.reached;
  return { host, opening, release: hold.release, before: host.unwraps() };
};

test('CMK-106: if a disk changes during the unwrap, the open unwraps again and uses the new state', async (context) => {
  const { host, opening, release, before } = await openUnderWay(context);
  await closeDisk(host.disks, { name: diskName, virtualMachine, deallocated: true });
  release();
  const { attachEpoch } = await opening;
  const state = await host.stateOf(diskName);
  assert.equal(state.status === 'active' && state.access?.attachEpoch, attachEpoch);
  assert.equal(host.unwraps(), before + 1);
});

test('CMK-132: direct access to a disk that is deleted meanwhile fails with DISK_NOT_FOUND, not with data loss', async (context) => {
  let meet = async (): Promise<void> => undefined;
  const host = await startDiskHost({ beforeOpen: async (part) => (part === 'header' ? meet() : undefined) });
  context.after(() => host.stop());
  await host.disks.createDisk({
    parent: 'subscriptions/s/resourceGroups/g',
    diskId: 'd',
    location: 'l',
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName },
  });
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  meet = () => {
    reached.resolve();
    return released.promise;
  };
  const asked = host.disks.beginAccess({ name: diskName, accessLevel: 'READ', durationSeconds: 60 });
  asked.catch(() => undefined);
  await reached.promise;
  await host.disks.deleteDisk({ name: diskName });
  meet = async () => undefined;
  released.resolve();
  await assert.rejects(asked, { code: 'NOT_FOUND', reason: 'DISK_NOT_FOUND' });
});

test('VM-07: a disk that is detached during the unwrap is not opened', async (context) => {
  const { host, opening, release } = await openUnderWay(context);
  await host.disks.detachDisk({ name: diskName, virtualMachine });
  release();
  await assert.rejects(opening, { code: 'FAILED_PRECONDITION' });
  const state = await host.stateOf(diskName);
  assert.equal(state.status === 'active' && state.access, null);
});
