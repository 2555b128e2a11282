import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Commit } from '@interlock/event-store';
import { type DiskHost, diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { openDisk } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const virtualMachine = `${parent}/virtualMachines/vm`;
const snapshot = `${parent}/snapshots/s`;
const name = 'diskHosts/disk-0';
const folderId = 'volumes of disk-0';
const disk = {
  parent,
  diskId: 'd',
  location: 'l',
  sku: 'PREMIUM_SSD',
  sizeGib: 1,
  encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName },
} as const;
const newSnapshot = { parent, snapshotId: 's', sourceDisk: diskName };
const content = randomBytes(8_192);

const started = async (t: TestContext, options?: Parameters<typeof startDiskHost>[0]): Promise<DiskHost> => {
  const host = await startDiskHost(options);
  t.after(() => host.stop());
  return host;
};

/** Calls of a host without retries. */
const callsOf = (host: DiskHost) => host.clientWithoutRetries(DiskServiceDefinition);

/** Waits until a host shows that liveness at another host. */
const until = async (host: DiskHost, liveness: 'SERVING' | 'UNREACHABLE'): Promise<void> => {
  while ((await host.disks.getDiskHost({ name })).liveness !== liveness) await pause(20);
};

test('a disk host registers at its start, and shows its folder, its addresses and what it has', async (t) => {
  const host = await started(t);
  await host.disks.createDisk(disk);
  await host.disks.createSnapshot(newSnapshot);
  const { diskHosts, nextPageToken } = await host.disks.listDiskHosts({});
  assert.equal(nextPageToken, '');
  const [{ createTime, ...shown } = {}, ...others] = diskHosts;
  assert.deepEqual(others, []);
  assert.ok(createTime instanceof Date);
  assert.deepEqual(shown, {
    ...{ name, state: 'OPEN', liveness: 'SERVING', folderId, zone: '', etag: '1' },
    ...{ dataAddress: 'here:1', grpcAddress: 'here:1', nbdAddress: 'unix:/nbd' },
    ...{ capacityBytes: 0, freeBytes: 0, diskCount: 1, snapshotCount: 1, openDiskCount: 0, openDisks: [] },
  });
  const [shownDisk, shownSnapshot] = [
    await host.disks.getDisk({ name: diskName }),
    await host.disks.getSnapshot({ name: snapshot }),
  ];
  for (const { diskHost, diskHostState } of [shownDisk, shownSnapshot])
    assert.deepEqual([diskHost, diskHostState], [name, 'HOST_SERVING']);
  await host.restart();
  assert.equal((await host.disks.getDiskHost({ name })).etag, '1');
  await assert.rejects(callsOf(host).getDiskHost({ name: 'diskHosts/other' }), { reason: 'DISK_HOST_NOT_FOUND' });
});

test('a cordoned disk host refuses new disks and snapshots, and serves what it has; resumed it takes them', async (t) => {
  const host = await started(t);
  const calls = callsOf(host);
  await calls.createDisk(disk);
  assert.equal((await calls.drainDiskHost({ name, cordonOnly: true })).state, 'CORDONED');
  assert.equal((await calls.drainDiskHost({ name, cordonOnly: true })).etag, '2');
  const refused = { code: 'FAILED_PRECONDITION', reason: 'NO_DISK_HOST_OPEN', message: /disk-0 is cordoned/ };
  await assert.rejects(calls.createDisk({ ...disk, diskId: 'new' }), refused);
  await assert.rejects(calls.createSnapshot(newSnapshot), refused);
  // A repeat of what was made before.
  assert.equal((await calls.createDisk(disk)).name, diskName);
  await host.fill(content);
  assert.deepEqual(await host.content(content.length), content);
  await host.restart();
  await assert.rejects(callsOf(host).createDisk({ ...disk, diskId: 'new' }), refused);
  assert.equal((await callsOf(host).resumeDiskHost({ name })).state, 'OPEN');
  await callsOf(host).createDisk({ ...disk, diskId: 'new' });
  await callsOf(host).createSnapshot(newSnapshot);
});

test('a cordon at one process ends what begins at another that still takes the host for open', async (t) => {
  const first = await started(t);
  await first.disks.createDisk(disk);
  const second = await started(t, { beside: first, name: 'disk-1' });
  await callsOf(second).drainDiskHost({ name, cordonOnly: true });
  await assert.rejects(callsOf(first).createDisk({ ...disk, diskId: 'new' }), { reason: 'NO_DISK_HOST_OPEN' });
  await callsOf(second).createDisk({ ...disk, diskId: 'elsewhere' });
  await callsOf(second).resumeDiskHost({ name });
  await callsOf(first).createDisk({ ...disk, diskId: 'new' });
});

test('a draining disk host is drained when its last disk and snapshot are deleted, and can then be deleted', async (t) => {
  const host = await started(t);
  const calls = callsOf(host);
  await calls.createDisk(disk);
  await calls.createSnapshot(newSnapshot);
  await assert.rejects(calls.deleteDiskHost({ name }), { reason: 'DISK_HOST_IN_USE', message: /open/ });
  assert.equal((await calls.drainDiskHost({ name })).state, 'DRAINING');
  await calls.deleteDisk({ name: diskName });
  await assert.rejects(calls.deleteDiskHost({ name }), { reason: 'DISK_HOST_IN_USE', message: /draining/ });
  await calls.deleteSnapshot({ name: snapshot });
  assert.equal((await calls.drainDiskHost({ name })).state, 'DRAINED');
  await calls.deleteDiskHost({ name });
  await calls.deleteDiskHost({ name });
  assert.deepEqual((await calls.listDiskHosts({})).diskHosts, []);
  await assert.rejects(calls.createDisk(disk), { reason: 'NO_DISK_HOST_OPEN', message: /not registered/ });
  await assert.rejects(calls.deleteDiskHost({ name: 'diskHosts/never' }), { reason: 'DISK_HOST_NOT_FOUND' });
});

test('a disk host that stops is unreachable, not lost, and serves again when it starts', async (t) => {
  const first = await started(t);
  await first.disks.createDisk(disk);
  const second = await started(t, { beside: first, name: 'disk-1', hostLeaseTtlMs: 1_000 });
  await until(second, 'SERVING');
  await first.stop();
  await until(second, 'UNREACHABLE');
  const shown = await second.disks.getDisk({ name: diskName });
  assert.deepEqual([shown.diskHostState, shown.availability], ['HOST_UNREACHABLE', 'AVAILABLE']);
  await first.restart();
  await until(second, 'SERVING');
  assert.equal((await first.disks.getDisk({ name: diskName })).diskHostState, 'HOST_SERVING');
});

test('G5: a disk host that was declared lost serves nothing again; its disks say so, and can only be ended', async (t) => {
  const first = await started(t, { hostLeaseTtlMs: 3_000 });
  await first.disks.createDisk(disk);
  await first.disks.createSnapshot(newSnapshot);
  await first.disks.attachDisk({ name: diskName, virtualMachine, requestId: 'r' });
  await openDisk(first.disks, { name: diskName, virtualMachine });
  const second = await started(t, { beside: first, name: 'disk-1', hostLeaseTtlMs: 3_000 });
  const calls = callsOf(second);
  await assert.rejects(calls.declareDiskHostLost({ name, folderId }), { reason: 'DISK_HOST_SERVING' });
  await assert.rejects(calls.declareDiskHostLost({ name, folderId: 'x' }), { reason: 'FOLDER_ID_MISMATCH' });

  // The process is cut off from its store, and does not end.
  first.faults.arm(1, 'crash');
  await until(second, 'UNREACHABLE');
  assert.equal((await calls.declareDiskHostLost({ name, folderId })).state, 'LOST');
  assert.equal((await calls.declareDiskHostLost({ name, folderId })).state, 'LOST');
  first.faults.disarm();
  const replaced = /"another host has taken the volumes of this one"/;
  while (!first.log.some((line) => replaced.test(line))) await pause(20);

  assert.equal((await calls.getDisk({ name: diskName })).diskHostState, 'HOST_LOST');
  assert.equal((await calls.getSnapshot({ name: snapshot })).diskHostState, 'HOST_LOST');
  await assert.rejects(openDisk(calls, { name: diskName, virtualMachine }), { reason: 'DISK_HOST_LOST' });
  await assert.rejects(calls.createSnapshot({ ...newSnapshot, snapshotId: 'late' }), { reason: 'DISK_HOST_LOST' });
  await assert.rejects(calls.resumeDiskHost({ name }), { reason: 'DISK_HOST_LOST' });
  await assert.rejects(first.restart(), { reason: 'OTHER_HOST_FOLDER' });

  await assert.rejects(calls.deleteDiskHost({ name }), { reason: 'DISK_HOST_IN_USE', message: /1 disks and 1 snap/ });
  await calls.detachDisk({ name: diskName, virtualMachine });
  await calls.deleteDisk({ name: diskName });
  await calls.deleteSnapshot({ name: snapshot });
  await calls.deleteDiskHost({ name });
  assert.deepEqual(
    (await calls.listDiskHosts({})).diskHosts.map((one) => one.name),
    ['diskHosts/disk-1'],
  );
});

const anyCause = { correlationId: 'c', causes: [], caller: 'system:disk' };

/** What the release before this one stores of a commit: no host of a disk, and states in other tables. */
const withoutHosts = ({ appends = [], rows = [], cursors = [] }: Commit): Commit => ({
  appends: appends.map((append) => ({
    ...append,
    events: append.events.map((event) => {
      const { host: _host, ...data } = event.data;
      return { ...event, data };
    }),
  })),
  rows: rows
    .filter(({ table }) => !/^(disk|snapshot|diskhost)_v\d+$/.test(table))
    .map((change) => {
      if (change.table !== 'disk_host_v1' || change.row === null) return change;
      const { epoch = 1, holder = '', machine = '', ttlMs = 0, isReleased = false } = change.row;
      return { ...change, row: { epoch, holder, machine, ttlMs, isReleased } };
    }),
  cursors: cursors.filter(({ name: cursor }) => !/^(rows|placement)\//.test(cursor)),
});

test('a store from before disks named their host is adopted by disk-0, which serves every disk', async (t) => {
  let isBefore = true;
  const host = await started(t, { storedOf: (commit) => (isBefore ? withoutHosts(commit) : commit) });
  await host.disks.createDisk(disk);
  await host.fill(content);
  await host.disks.createSnapshot(newSnapshot);
  await host.disks.createDisk({ ...disk, diskId: 'other' });
  isBefore = false;
  // Nor was the host registered.
  const deleted = { type: 'DiskHostDeleted', schema: 1, data: { at: 1 } };
  await host.commit({ appends: [{ stream: 'diskhost-disk-0', expected: 1, events: [deleted] }] }, anyCause);

  await assert.rejects(startDiskHost({ beside: host, name: 'disk-1', hostLeaseTtlMs: 1_000 }), {
    reason: 'FIRST_HOST_MISSING',
    message: /DISK_HOST must be disk-0 .* 2 disks and 1 snapshots .*\(got disk-1\)/,
  });
  // One that starts together with the first host waits for it.
  const together = startDiskHost({ beside: host, name: 'disk-2' });
  await host.restart();
  await (await together).stop();
  const [shown, ...others] = (await host.disks.listDiskHosts({})).diskHosts;
  assert.deepEqual(
    others.map((one) => one.name),
    ['diskHosts/disk-2'],
  );
  assert.deepEqual([shown?.name, shown?.diskCount, shown?.snapshotCount], [name, 2, 1]);
  assert.equal((await host.disks.getDisk({ name: diskName })).diskHost, name);
  assert.deepEqual(await host.content(content.length), content);
  await host.disks.deleteSnapshot({ name: snapshot });
  assert.equal((await host.disks.getDiskHost({ name })).snapshotCount, 0);
});

test('a process with the name of another host, and another folder, does not start', async (t) => {
  const host = await started(t);
  await assert.rejects(startDiskHost({ beside: host, folderId: 'another' }), {
    reason: 'OTHER_HOST_FOLDER',
    message: /disk host disk-0 has folder volumes of disk-0, and this process has another/,
  });
});
