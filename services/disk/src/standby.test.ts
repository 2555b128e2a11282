import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { StoreUnavailable } from '@interlock/event-store';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from './test-disk-host.ts';
import { refusal } from './test-vault.ts';

const limit = { timeout: 120_000 };
const content = randomBytes(8_192);
const parent = 'subscriptions/s/resourceGroups/g';
/** Its key belongs to the set like the active one, and is another. */
const standbyVersion = `vaults/sss/keys/k1/versions/${'f'.repeat(32)}`;
const under = (diskEncryptionSet: string) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet }) as const;

const name = (host: DiskHost, standbyKeyVersion: string, generation = 1) =>
  host.tell('SetOptionsChanged', {
    $case: 'setOptionsChanged',
    value: { set: setName, keyExpiry: 'STOP', autoRestart: false, standbyKeyVersion, generation },
  });
/** What each disk and snapshot of the set has as its standby wrap, as the set sees it. */
const standbys = async (host: DiskHost) => {
  const { resources } = await host.asSets.listEncryptedResources({ diskEncryptionSet: setName });
  return Object.fromEntries(resources.map((one) => [one.name.split('/').at(-1), one.standbyKeyVersion]));
};
const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await pause(5);
};
const createDisk = (host: DiskHost, diskId: string) =>
  host.disks.createDisk({ parent, diskId, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption: under(setName) });
const hostWithDisk = async (): Promise<DiskHost> => {
  const host = await startDiskHost();
  await createDisk(host, 'd');
  await host.fill(content);
  return host;
};
const allHave = (host: DiskHost, version: string) => async () =>
  Object.values(await standbys(host)).every((found) => found === version);
/** Names another key for the set. @returns the wish to move the disk to it */
const beginMove = async (host: DiskHost) => {
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
  return { name: diskName, generation, targetKeyVersion: keyVersion };
};

test(
  'CMK-108: disks and snapshots, old and new, are wrapped under the standby key as well, until it is taken away',
  limit,
  async () => {
    const host = await hostWithDisk();
    await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
    assert.deepEqual(await standbys(host), { d: '', s: '' });
    const read = await host.reader();
    const unwraps = host.unwraps();
    await name(host, standbyVersion);
    await until(allHave(host, standbyVersion));
    assert.deepEqual(await read(content.length), content);
    assert.equal(host.unwraps(), unwraps, 'nothing was unwrapped for it');
    await createDisk(host, 'later');
    await host.disks.createSnapshot({ parent, snapshotId: 'later-s', sourceDisk: diskName });
    await until(allHave(host, standbyVersion));
    assert.deepEqual(Object.keys(await standbys(host)).toSorted(), ['d', 'later', 'later-s', 's']);
    await name(host, '');
    await until(allHave(host, ''));
    assert.deepEqual(await read(content.length), content);
    await host.stop();
  },
);

test(
  'CMK-108: after a purge a disk moves by its standby wrap, and only where its owner has agreed',
  limit,
  async () => {
    const host = await hostWithDisk();
    await name(host, standbyVersion);
    await until(allHave(host, standbyVersion));
    const target = await beginMove(host);
    host.forgetKeysBefore(setName);
    await assert.rejects(host.asSets.rewrapDek(target), { reason: 'KEY_PURGED' });
    // The owner of another standby, which took the place of this one, has no say over this wrap.
    const otherStandby = `vaults/kv2/keys/other/versions/${'b'.repeat(32)}`;
    await assert.rejects(host.asSets.rewrapDek({ ...target, fromStandbyKeyVersion: otherStandby }), {
      reason: 'KEY_PURGED',
    });
    assert.deepEqual(await host.asSets.rewrapDek({ ...target, fromStandbyKeyVersion: standbyVersion }), {
      ...(await host.asSets.listEncryptedResources({ diskEncryptionSet: setName })).resources[0],
      keyVersion: target.targetKeyVersion,
      generation: target.generation,
    });
    assert.deepEqual(await host.content(content.length), content);
    assert.deepEqual(await standbys(host), { d: standbyVersion }, 'the standby stays one');
    await host.stop();
  },
);

test(
  'CMK-108, CMK-10: a standby that went with the key before is none of what is under the new key, and stays what the rest moves from',
  limit,
  async () => {
    const host = await hostWithDisk();
    await createDisk(host, 'later');
    await name(host, standbyVersion);
    await until(allHave(host, standbyVersion));
    const target = await beginMove(host);
    host.forgetKeysBefore(setName);
    await name(host, '', target.generation);
    await createDisk(host, 'fresh');
    await host.asSets.rewrapDek({ ...target, fromStandbyKeyVersion: standbyVersion });
    assert.deepEqual(await standbys(host), { d: '', fresh: '', later: standbyVersion });
    assert.deepEqual(await host.content(content.length), content);
    await host.asSets.rewrapDek({ ...target, name: `${parent}/disks/later`, fromStandbyKeyVersion: standbyVersion });
    assert.deepEqual(await standbys(host), { d: '', fresh: '', later: '' });
    await host.stop();
  },
);

test(
  'CMK-10: a disk that moved before the word about the standby was here loses the wrap when it is',
  limit,
  async () => {
    const host = await hostWithDisk();
    await name(host, standbyVersion);
    await until(allHave(host, standbyVersion));
    const target = await beginMove(host);
    await host.asSets.rewrapDek(target);
    assert.deepEqual(await standbys(host), { d: standbyVersion });
    await name(host, '', target.generation);
    await until(allHave(host, ''));
    await host.stop();
  },
);

test(
  'CMK-10: a snapshot taken from under a key that the standby went with has no wrap of that standby',
  limit,
  async () => {
    const host = await hostWithDisk();
    await name(host, standbyVersion);
    await until(allHave(host, standbyVersion));
    const target = await beginMove(host);
    await name(host, '', target.generation);
    const snapshot = await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
    await until(async () => (await standbys(host)).s === '' && (await settled(host)));
    const next = { ...(await beginMove(host)), name: snapshot.name, fromStandbyKeyVersion: standbyVersion };
    host.forgetKeysBefore(setName);
    await assert.rejects(host.asSets.rewrapDek(next), { reason: 'KEY_PURGED' });
    await host.stop();
  },
);

test(
  'CMK-108: a disk that moves has the wrap of a standby named meanwhile, though others of its set cannot move',
  limit,
  async () => {
    const replacing = `vaults/ttt/keys/k1/versions/${'b'.repeat(32)}`;
    for (const before of ['', standbyVersion]) {
      const host = await hostWithDisk();
      await createDisk(host, 'stuck');
      await name(host, before);
      await until(allHave(host, before));
      const target = await beginMove(host);
      await name(host, replacing, target.generation);
      await host.asSets.rewrapDek(target);
      await until(async () => (await standbys(host)).d === replacing);
      assert.deepEqual(await standbys(host), { d: replacing, stuck: before });
      await host.stop();
    }
  },
);

test('CMK-108: a disk that moves to its standby key has no wrap of that key beside the other', limit, async () => {
  const host = await hostWithDisk();
  await name(host, standbyVersion);
  await until(allHave(host, standbyVersion));
  const { generation, principal } = host.keyOf(setName);
  const next = { diskEncryptionSet: setName, generation: generation + 1, keyVersion: standbyVersion, principal };
  await host.asSets.beginGeneration(next);
  const target = {
    name: diskName,
    targetKeyVersion: standbyVersion,
    generation: generation + 1,
    fromStandbyKeyVersion: standbyVersion,
  };
  await host.asSets.rewrapDek(target);
  assert.deepEqual(await standbys(host), { d: '' });
  assert.deepEqual(await host.content(content.length), content);
  await host.stop();
});

test('CMK-108: a standby wrap opens nothing: neither a disk nor a lease', limit, async () => {
  const host = await hostWithDisk();
  await name(host, standbyVersion);
  await until(allHave(host, standbyVersion));
  host.setVault(refusal('KEY_DISABLED', 5));
  await assert.rejects(host.reader(), { reason: 'KEY_DISABLED' });
  const { leases } = await host.disks.listLeases({});
  assert.ok(leases.every(({ keyVersion }) => keyVersion !== standbyVersion));
  assert.ok(host.checks.every(({ keyVersion }) => keyVersion !== standbyVersion));
  await host.stop();
});

test('CMK-108: a disk that leaves the set leaves its standby key too', limit, async () => {
  const host = await hostWithDisk();
  await name(host, standbyVersion);
  await until(allHave(host, standbyVersion));
  await host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
  const { resources } = await host.asSets.listEncryptedResources({ diskEncryptionSet: otherSetName });
  assert.deepEqual(
    resources.map(({ standbyKeyVersion }) => standbyKeyVersion),
    [''],
  );
  assert.deepEqual(await host.content(content.length), content);
  await host.stop();
});

for (const [what, when] of [
  ['not stored', 'onCommit'],
  ['stored and not answered', 'afterCommit'],
] as const) {
  test(
    `CMK-108: a disk whose move to the set was ${what} is wrapped under the standby key once it is settled`,
    limit,
    async (t) => {
      let isSilent = false;
      let isEnd = false;
      const meet = (): void => {
        if (isEnd && isSilent) throw new StoreUnavailable(what);
      };
      const host = await startDiskHost({
        onCommit({ appends = [] }) {
          isEnd = appends.some(({ events }) => events.some(({ type }) => type === 'DiskEncryptionChanged'));
          if (when === 'onCommit') meet();
        },
        ...(when === 'afterCommit' ? { afterCommit: meet } : {}),
      });
      t.after(() => host.stop());
      await host.disks.createDisk({
        ...{ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 },
        encryption: under(otherSetName),
      });
      await name(host, standbyVersion);
      isSilent = true;
      const changing = host
        .clientWithoutRetries(DiskServiceDefinition)
        .changeDiskEncryption({ name: diskName, encryption: under(setName) });
      await assert.rejects(changing);
      isSilent = false;
      await until(async () => (await standbys(host)).d === standbyVersion);
    },
  );
}

test(
  'CMK-108: whatever fails while standby wraps are made, and after a crash, they are made; I/O goes on meanwhile',
  limit,
  async () => {
    for (const mode of ['once', 'crash'] as const) {
      let done = false;
      for (let failAt = 1; !done; failAt++) {
        const host = await hostWithDisk();
        const read = await host.reader();
        host.faults.arm(failAt, mode);
        const [told] = await Promise.allSettled([name(host, standbyVersion)]);
        await until(
          async () =>
            host.faults.calls() >= failAt ||
            (told?.status === 'fulfilled' && host.faults.calls() > 0 && (await settled(host))),
        );
        done = host.faults.calls() < failAt;
        host.faults.disarm();
        if (mode === 'crash') {
          await host.restart();
          // A fact that was not handled is told again.
          await name(host, standbyVersion);
        } else if (told?.status === 'rejected') await name(host, standbyVersion);
        assert.deepEqual(await read(content.length), content, `fault at call ${failAt}`);
        await until(allHave(host, standbyVersion));
        const target = await beginMove(host);
        host.forgetKeysBefore(setName);
        await host.asSets.rewrapDek({ ...target, fromStandbyKeyVersion: standbyVersion });
        await host.stop();
      }
    }
  },
);

test(
  'CMK-10: of a standby wrap that is told to be away nothing is left at rest, whatever failed meanwhile',
  limit,
  async () => {
    for (const mode of ['once', 'crash'] as const) {
      let done = false;
      for (let failAt = 1; !done; failAt++) {
        const host = await startDiskHost({ partBytesMax: 2 ** 16 });
        await createDisk(host, 'd');
        const { name: snapshot } = await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
        await name(host, standbyVersion);
        await until(async () => (await allHave(host, standbyVersion)()) && (await settled(host)));
        host.faults.arm(failAt, mode);
        const [told] = await Promise.allSettled([name(host, '')]);
        await until(async () => host.faults.calls() >= failAt || (host.faults.calls() > 0 && (await settled(host))));
        done = host.faults.calls() < failAt;
        host.faults.disarm();
        if (mode === 'crash') await host.restart();
        if (mode === 'crash' || told?.status === 'rejected') await name(host, '');
        await until(allHave(host, ''));
        const left = [...(await host.wrapsAtRest(diskName)), ...(await host.wrapsAtRest(snapshot))];
        assert.ok(!left.includes(standbyVersion), `fault at call ${failAt}, ${mode}`);
        await host.stop();
      }
    }
  },
);

/** Whether nothing is called any more for a while. */
const settled = async (host: DiskHost): Promise<boolean> => {
  const before = host.faults.calls();
  await pause(30);
  return host.faults.calls() === before;
};
