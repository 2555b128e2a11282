import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { CauseTracker } from '@interlock/event-store';
import { copyMs, resourceGroup, type TestSet } from '../testing/test-cloud-disks.ts';
import { until } from '../testing/test-disk-cloud.ts';
import { type DiskFleet, startDiskFleet } from '../testing/test-disk-fleet.ts';
import { openDisk } from '../testing/test-one-disk.ts';

let fleet: DiskFleet;
before(async () => {
  fleet = await startDiskFleet({ hosts: 2, leases: { ttlMs: 10_000, ioPauseTimeoutMs: 2_000 } });
});
after(() => fleet.close());

const limit = { timeout: 180_000 };
const numberOf = (diskHost: string): number => Number(diskHost.split('-').at(-1));

/** The key of a set, without its version. */
const keyOf = ({ keyVersion }: TestSet): string => keyVersion.split('/versions/')[0] ?? '';

/** A new disk on each host, under a set of its own: sets are spread over the hosts. */
const diskOnEach = async () => {
  const found = new Map<number, { readonly set: TestSet; readonly name: string }>();
  while (found.size < 2) {
    const set = await fleet.newSet();
    const { name, diskHost } = await fleet.newDisk({ set });
    found.set(numberOf(diskHost), { set, name });
  }
  const [first, second] = [found.get(0), found.get(1)];
  assert.ok(first && second);
  return [first, second] as const;
};

test('G8, CMK-12: a disk is placed on one host, opened there, and read and written at its address', limit, async () => {
  const before = [await fleet.volumeFiles(0), await fleet.volumeFiles(1)];
  const disks = await diskOnEach();
  for (const [host, { name, set }] of disks.entries()) {
    const content = randomBytes(100_000);
    const open = await fleet.openNew(name);
    assert.equal(open.dataAddress, `disk:${host + 1}`);
    assert.equal(open.diskEncryptionSet, set.name);
    const data = fleet.at(open.dataAddress);
    await data.write(name, open.accessToken, 4_096, content);
    await data.flush(name, open.accessToken);
    assert.deepEqual(await data.read(name, open.accessToken, 4_096, content.length), content);
    const other = fleet.at(`disk:${2 - host}`);
    await assert.rejects(other.read(name, open.accessToken, 0, 512), { reason: 'DISK_NOT_HERE' });
    const { availability, allocatedBytes, diskHostState } = await fleet.disks.getDisk({ name });
    assert.deepEqual([availability, diskHostState, allocatedBytes > 0], ['AVAILABLE', 'HOST_SERVING', true]);
    assert.ok((await fleet.volumeFiles(host)).length > (before[host]?.length ?? 0));
  }
  const { disks: listed } = await fleet.disks.listDisks({ parent: resourceGroup });
  for (const { name } of disks) assert.ok((listed.find((one) => one.name === name)?.allocatedBytes ?? 0) > 0);
  const { leases, unreachable } = await fleet.disks.listLeases({ diskEncryptionSet: '' });
  assert.deepEqual(unreachable, []);
  assert.deepEqual(new Set(leases.map(({ diskHost }) => diskHost)), new Set(['diskHosts/disk-0', 'diskHosts/disk-1']));
});

test('a set that spreads has disks on both hosts, and a disk is placed near another one', limit, async () => {
  const set = await fleet.newSet({ spread: true });
  const found = new Map<string, string>();
  while (found.size < 2) {
    const { name, diskHost } = await fleet.newDisk({ set });
    found.set(diskHost, name);
  }
  const other = await fleet.newSet();
  for (const [diskHost, near] of found) {
    assert.equal((await fleet.newDisk({ set, near })).diskHost, diskHost);
    assert.equal((await fleet.newDisk({ set: other, near })).diskHost, diskHost);
    assert.equal((await fleet.newDisk({ near })).diskHost, diskHost);
  }
  const [near = ''] = found.values();
  await assert.rejects(fleet.newDisk({ near: near.replace('subscriptions/s1/', 'subscriptions/s2/') }), {
    reason: 'SUBSCRIPTION_MISMATCH',
    message: /^near must be a disk of subscriptions\/s1,/,
  });
  await assert.rejects(fleet.newDisk({ near: 'd1' }), { reason: 'NAME_INVALID', message: /near/ });
});

test('a disk host lists what it has, also while it is away', limit, async () => {
  const disks = await diskOnEach();
  const { virtualMachine } = await fleet.openNew(disks[0].name);
  const list = async () => {
    const all = [];
    for (let pageToken = ''; ; ) {
      const page = await fleet.disks.listDiskHostResources({ name: 'diskHosts/disk-0', pageSize: 2, pageToken });
      all.push(...page.resources);
      pageToken = page.nextPageToken;
      if (pageToken === '') return all;
    }
  };
  const again = fleet.hang(0);
  const found = await list();
  again();
  const [{ name, set }] = disks;
  assert.deepEqual(
    found.filter((one) => one.name === name),
    [{ name, virtualMachine, diskEncryptionSet: set.name }],
  );
  assert.ok(!found.some((one) => one.name === disks[1].name));
  assert.equal(new Set(found.map((one) => one.name)).size, found.length);
  const [{ diskCount, snapshotCount } = { diskCount: 0, snapshotCount: 0 }] = (await fleet.disks.listDiskHosts({}))
    .diskHosts;
  assert.equal(found.length, diskCount + snapshotCount);
  await assert.rejects(fleet.disks.listDiskHostResources({ name: 'diskHosts/disk-9' }), {
    reason: 'DISK_HOST_NOT_FOUND',
  });
});

test('a copy, a snapshot and a disk of it are on the host of their source', limit, async () => {
  for (const { name } of await diskOnEach()) {
    const { diskHost } = await fleet.disks.getDisk({ name });
    const snapshotId = `s-${randomUUID().slice(0, 8)}`;
    const taken = await fleet.disks.createSnapshot(
      { parent: resourceGroup, snapshotId, sourceDisk: name },
      { deadlineMs: copyMs },
    );
    const source = { $case: 'sourceSnapshot', value: taken.name } as const;
    const copy = await fleet.newDisk({ source });
    assert.deepEqual([taken.diskHost, copy.diskHost], [diskHost, diskHost]);
    await fleet.disks.deleteDisk({ name: copy.name });
    await fleet.disks.deleteSnapshot({ name: taken.name });
    await fleet.disks.deleteDisk({ name });
    await assert.rejects(fleet.disks.getDisk({ name }), { reason: 'DISK_NOT_FOUND' });
  }
});

test('G1: after a key is disabled every host refuses, and after it is enabled every byte is there', limit, async () => {
  const content = randomBytes(8_192);
  const opened = [];
  for (const { name, set } of await diskOnEach()) {
    const open = await fleet.openNew(name);
    const data = fleet.at(open.dataAddress);
    await data.write(name, open.accessToken, 0, content);
    await data.flush(name, open.accessToken);
    opened.push({ name, set, open, data });
  }
  for (const { set } of opened) await fleet.vault.disableKey({ name: keyOf(set) });
  for (const { name, open, data } of opened) {
    await until(() =>
      data.read(name, open.accessToken, 0, 512).then(
        () => false,
        () => true,
      ),
    );
    await assert.rejects(data.read(name, open.accessToken, 0, 512), { reason: 'KEY_DISABLED' });
    await assert.rejects(openDisk(fleet.compute, { name, virtualMachine: open.virtualMachine }), {
      reason: 'KEY_DISABLED',
    });
    const { availability, unavailableReason } = await fleet.disks.getDisk({ name });
    assert.deepEqual([availability, unavailableReason], ['UNAVAILABLE', 'KEY_DISABLED']);
    const { disks } = await fleet.disks.listDisks({ parent: resourceGroup, unavailableOnly: true });
    assert.ok(disks.some((one) => one.name === name));
  }
  for (const { set } of opened) await fleet.vault.enableKey({ name: keyOf(set) });
  for (const { name, open, data } of opened) {
    await until(async () =>
      openDisk(fleet.compute, { name, virtualMachine: open.virtualMachine }).then(
        () => true,
        () => false,
      ),
    );
    const again = await openDisk(fleet.compute, { name, virtualMachine: open.virtualMachine });
    assert.deepEqual(await data.read(name, again.accessToken, 0, content.length), content);
  }
});

test('CMK-88: a rotation rewraps the disks of a set, wherever they are', limit, async () => {
  const [{ set, name }] = await diskOnEach();
  await fleet.openNew(name);
  const { keyUrl, keyVersion } = await fleet.newKey(set.vault);
  await fleet.sets.assignKey({ name: set.name, keyUrl });
  await until(async () => (await fleet.disks.getDisk({ name })).keyVersion === keyVersion);
});

test('G10: events of a call that was passed on name the user who made it, and compute learns them', limit, async () => {
  const [{ name }] = await diskOnEach();
  const virtualMachine = `${resourceGroup}/virtualMachines/vm-${randomUUID().slice(0, 8)}`;
  const tracker = new CauseTracker();
  const cause = { correlationId: randomUUID(), causes: [], caller: '', tracker };
  await fleet.compute.attachDisk({ name, virtualMachine, requestId: randomUUID() }, { cause });
  assert.deepEqual(
    tracker.causesOf(undefined, []).map(({ id }) => id),
    [`disk-${name}@3`],
  );
  await fleet.compute.detachDisk({ name, virtualMachine });
  await fleet.disks.growDisk({ name, sizeGib: 2 });
  const callers = await fleet.callersOf(`disk-${name}`);
  assert.deepEqual([callers.at(2), callers.at(-1)], [fleet.names.compute, fleet.names.administrator]);
  await assert.rejects(fleet.disks.growDisk({ name, sizeGib: 1 }), { reason: 'DISK_CANNOT_SHRINK' });
});

test(
  'G3: the disks of a host that does not respond are refused by its name, and those of others are served',
  limit,
  async () => {
    const disks = await diskOnEach();
    const opened = await Promise.all(disks.map(({ name }) => fleet.openNew(name)));
    const [first] = opened;
    assert.ok(first);
    await fleet.at(first.dataAddress).write(disks[0].name, first.accessToken, 0, randomBytes(4_096));
    const again = fleet.hang(0);
    const items = disks.map(({ name }, host) => ({
      open: { name, virtualMachine: opened[host]?.virtualMachine ?? '' },
    }));
    const { outcomes } = await fleet.compute.openDisks({ items });
    const [hung, served] = outcomes.map(({ outcome }) => outcome);
    assert.ok(hung?.$case === 'refused' && served?.$case === 'opened');
    assert.deepEqual([hung.value.reason, hung.value.metadata.disk_host], ['DISK_HOST_UNREACHABLE', 'diskHosts/disk-0']);
    assert.deepEqual((await fleet.disks.listLeases({ diskEncryptionSet: '' })).unreachable, ['diskHosts/disk-0']);
    const livenessOf = async (name: string) => (await fleet.disks.getDiskHost({ name })).liveness;
    assert.deepEqual(
      [await livenessOf('diskHosts/disk-0'), await livenessOf('diskHosts/disk-1')],
      ['UNREACHABLE', 'SERVING'],
    );
    // Reads need no host.
    const [{ name }] = disks;
    assert.equal((await fleet.disks.getDisk({ name })).allocatedBytes, 0);
    again();
    await until(async () => (await fleet.disks.getDisk({ name })).allocatedBytes > 0);

    await fleet.stopHost(0);
    await until(async () => (await fleet.disks.getDisk({ name })).diskHostState === 'HOST_UNREACHABLE');
    await assert.rejects(fleet.disks.deleteDisk({ name }), { code: 'UNAVAILABLE', reason: 'DISK_HOST_UNREACHABLE' });
    await fleet.startHost(0);
    await openDisk(fleet.compute, { name, virtualMachine: opened[0]?.virtualMachine ?? '' });
  },
);

test('a host that is cordoned gets no new disks, and the other one does', limit, async () => {
  await fleet.disks.drainDiskHost({ name: 'diskHosts/disk-0', cordonOnly: true });
  for (let n = 0; n < 4; n += 1)
    assert.equal((await fleet.newDisk({ set: await fleet.newSet() })).diskHost, 'diskHosts/disk-1');
  await fleet.disks.drainDiskHost({ name: 'diskHosts/disk-1', cordonOnly: true });
  await assert.rejects(fleet.newDisk(), { reason: 'NO_DISK_HOST_OPEN' });
  for (const name of ['diskHosts/disk-0', 'diskHosts/disk-1']) await fleet.disks.resumeDiskHost({ name });
  await fleet.newDisk();
});
