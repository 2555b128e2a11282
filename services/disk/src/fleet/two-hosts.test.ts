import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { pieceSize } from '../host/storage/sector.ts';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { closeDisk, openDisk, rewrapDek } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const virtualMachine = `${parent}/virtualMachines/vm`;
const snapshot = `${parent}/snapshots/s`;
const under = (set: string): Encryption => ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set });
const disk = { parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 } as const;
const content = randomBytes(8_192);

/** A host whose writes of content wait between `pause` and `release`. */
const pausable = async (t: TestContext) => {
  let meet = async (): Promise<void> => undefined;
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const host = await startDiskHost({
    partBytesMax: 2 * pieceSize,
    beforeWrite: async (part) => (part === 'data' ? meet() : undefined),
  });
  t.after(() => host.stop());
  return {
    host,
    reached: reached.promise,
    pause: () => {
      meet = () => {
        reached.resolve();
        return released.promise;
      };
    },
    release: () => released.resolve(),
  };
};

/** Another host with its own folder on the same store: its start reconciles what it finds. */
const startBeside = async (t: TestContext, first: DiskHost, name = 'disk-1'): Promise<DiskHost> => {
  const host = await startDiskHost({ beside: first, name });
  t.after(() => host.stop());
  return host;
};

/** Lines of a log that report something. */
const complaints = ({ log }: DiskHost): readonly string[] => log.filter((line) => /"(warn|error)"/i.test(line));

const refusalOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'accepted',
    ({ reason, code }) => reason ?? code,
  );

test('CMK-110: a host that starts does not undo the creations of another host', async (t) => {
  const { host: first, pause, reached, release } = await pausable(t);
  await first.disks.createDisk({ ...disk, encryption: under(setName) });
  await first.fill(content);
  pause();
  const made = first.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  await reached;
  await startBeside(t, first);
  assert.equal((await first.snapshotStateOf(snapshot)).status, 'creating');
  release();
  assert.equal((await made).provisioningState, 'SUCCEEDED');
});

test('CMK-53: a host that starts does not end the encryption change of another host', async (t) => {
  const { host: first, pause, reached, release } = await pausable(t);
  await first.disks.createDisk({ ...disk, encryption: under(setName) });
  await first.fill(content);
  await first.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  pause();
  const changed = first.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
  await reached;
  const second = await startBeside(t, first);
  assert.deepEqual(complaints(second), []);
  release();
  assert.deepEqual((await changed).encryption, under(otherSetName));
  assert.deepEqual(await first.content(content.length), content);
});

test('a host that starts does not report the volumes of another host as missing', async (t) => {
  const first = await startDiskHost();
  t.after(() => first.stop());
  await first.disks.createDisk({ ...disk, encryption: under(setName) });
  await first.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  await first.rotate(setName);
  const { generation, keyVersion, principal } = first.keyOf(setName);
  await first.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
  for (const name of [diskName, snapshot])
    await rewrapDek(first.asSets, { name, generation, targetKeyVersion: keyVersion });
  await first.disks.attachDisk({ name: diskName, virtualMachine, requestId: 'r' });
  await openDisk(first.disks, { name: diskName, virtualMachine });
  assert.deepEqual(complaints(await startBeside(t, first)), []);
});

test('a host that starts does not finish the deletion of another host, whose files it cannot remove', async (t) => {
  const first = await startDiskHost();
  t.after(() => first.stop());
  await first.disks.createDisk({ ...disk, encryption: under(setName) });
  const [volumeId = ''] = first.volumeIds();
  const once = first.clientWithoutRetries(DiskServiceDefinition);
  // The deletion is recorded, and every call after that fails.
  for (let failAt = 1; (await first.stateOf(diskName)).status === 'active'; failAt += 1) {
    first.faults.arm(failAt, 'crash');
    await once.deleteDisk({ name: diskName }).catch(() => undefined);
    first.faults.arm(1, 'crash');
  }
  assert.deepEqual(first.volumeIds(), [volumeId]);
  await startBeside(t, first);
  assert.equal((await first.stateOf(diskName)).status, 'deleting');
  first.faults.disarm();
  await first.restart();
  assert.equal((await first.stateOf(diskName)).status, 'absent');
  assert.deepEqual(first.volumeIds(), []);
});

test('CMK-110: what a host was making or deleting when it was declared lost is ended by another host', async (t) => {
  const name = 'diskHosts/disk-0';
  for (const left of ['creating', 'deleting'] as const) {
    const first = await startDiskHost({ hostLeaseTtlMs: 1_000 });
    t.after(() => first.stop());
    const second = await startDiskHost({ beside: first, name: 'disk-1', hostLeaseTtlMs: 1_000 });
    t.after(() => second.stop());
    const once = first.clientWithoutRetries(DiskServiceDefinition);
    if (left === 'deleting') await first.disks.createDisk({ ...disk, encryption: under(setName) });
    for (let failAt = 1; (await first.stateOf(diskName)).status !== left; failAt += 1) {
      first.faults.disarm();
      first.faults.arm(failAt, 'crash');
      const call =
        left === 'deleting'
          ? once.deleteDisk({ name: diskName })
          : once.createDisk({ ...disk, encryption: under(setName) });
      await call.catch(() => undefined);
    }
    // It stays cut off from its store.
    first.faults.arm(1, 'crash');
    while ((await second.disks.getDiskHost({ name })).liveness !== 'UNREACHABLE') await pause(20);
    await second.disks.declareDiskHostLost({ name, folderId: 'volumes of disk-0' });
    assert.equal((await second.stateOf(diskName)).status, left);
    await second.restart({ isClean: true });
    assert.equal((await second.stateOf(diskName)).status, 'absent', left);
    await second.disks.deleteDiskHost({ name });
  }
});

test('a host refuses work on a disk or snapshot of another host, and that one keeps it', async (t) => {
  const first = await startDiskHost();
  t.after(() => first.stop());
  await first.disks.createDisk({ ...disk, encryption: under(setName) });
  await first.fill(content);
  await first.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  await first.disks.attachDisk({ name: diskName, virtualMachine, requestId: 'r' });
  const { accessToken } = await openDisk(first.disks, { name: diskName, virtualMachine });
  const second = await startBeside(t, first);
  const disks = second.clientWithoutRetries(DiskServiceDefinition);
  const { generation, keyVersion: targetKeyVersion } = first.keyOf(setName);
  const source = { $case: 'sourceDisk', value: diskName } as const;
  const before = [await first.stateOf(diskName), await first.snapshotStateOf(snapshot), first.volumeIds()];
  const calls: Readonly<Record<string, () => Promise<unknown>>> = {
    createDisk: () => disks.createDisk({ ...disk, encryption: under(setName) }),
    copy: () => disks.createDisk({ ...disk, diskId: 'copy', source }),
    deleteDisk: () => disks.deleteDisk({ name: diskName }),
    changeDiskEncryption: () => disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) }),
    growDisk: () => disks.growDisk({ name: diskName, sizeGib: 2 }),
    changeDiskSku: () => disks.changeDiskSku({ name: diskName, sku: 'STANDARD_SSD' }),
    createSnapshot: () => disks.createSnapshot({ parent, snapshotId: 'more', sourceDisk: diskName }),
    deleteSnapshot: () => disks.deleteSnapshot({ name: snapshot }),
    attachDisk: () => disks.attachDisk({ name: diskName, virtualMachine, requestId: 'r2' }),
    openDisk: () => openDisk(disks, { name: diskName, virtualMachine }),
    closeDisk: () => closeDisk(disks, { name: diskName, virtualMachine }),
    detachDisk: () => disks.detachDisk({ name: diskName, virtualMachine }),
    beginAccess: () => disks.beginAccess({ name: diskName, accessLevel: 'READ', durationSeconds: 60 }),
    endAccess: () => disks.endAccess({ name: diskName }),
    rewrapDisk: () => rewrapDek(second.asSets, { name: diskName, generation, targetKeyVersion }),
    rewrapSnapshot: () => rewrapDek(second.asSets, { name: snapshot, generation, targetKeyVersion }),
  };
  const refusals: Record<string, string> = {};
  for (const [what, call] of Object.entries(calls)) refusals[what] = await refusalOf(call());
  assert.deepEqual(refusals, Object.fromEntries(Object.keys(calls).map((what) => [what, 'DISK_NOT_HERE'])));
  assert.deepEqual([await first.stateOf(diskName), await first.snapshotStateOf(snapshot), first.volumeIds()], before);
  assert.deepEqual(complaints(second), []);
  assert.notEqual(accessToken, '');

  // Every host reads all of them.
  assert.equal((await disks.getDisk({ name: diskName })).sizeGib, 1);
  assert.equal((await disks.listSnapshots({ parent })).snapshots.length, 1);
});

test('a host that is to serve alone does not start while another host has disks, and starts when they are deleted', async (t) => {
  const first = await startDiskHost();
  t.after(() => first.stop());
  const second = await startBeside(t, first);
  await second.disks.createDisk({ ...disk, encryption: under(setName) });
  await assert.rejects(first.restart(), {
    code: 'FAILED_PRECONDITION',
    reason: 'OTHER_DISK_HOSTS',
    message: /disk-0 cannot serve alone .*disk-1 \(1 disks, 0 snapshots\)/,
  });
  await second.disks.deleteDisk({ name: diskName });
  await first.restart();
  assert.equal((await first.disks.listDiskHosts({})).diskHosts.length, 2);
});
