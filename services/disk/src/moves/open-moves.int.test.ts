import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { until } from '../testing/test-disk-cloud.ts';
import { type DiskFleet, startDiskFleet } from '../testing/test-disk-fleet.ts';

let fleet: DiskFleet;
before(async () => {
  fleet = await startDiskFleet({ hosts: 2, leases: { ttlMs: 10_000, ioPauseTimeoutMs: 2_000 }, hostLeaseTtlMs: 6_000 });
});
after(() => fleet.close());

const limit = { timeout: 60_000 };
const hostOf = async (name: string): Promise<number> =>
  Number((await fleet.disks.getDisk({ name })).diskHost.split('-').at(-1));

/** A disk that a machine has open, and the other host. */
const openedDisk = async () => {
  const set = await fleet.newSet();
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name } as const;
  const { name } = await fleet.newDisk({ encryption });
  const opened = await fleet.openNew(name);
  const other = 1 - (await hostOf(name));
  return { ...opened, name, set, other, diskHost: `diskHosts/disk-${other}` };
};

/** Moves a disk once nothing is left of an earlier move. */
const moveAgain = (name: string, diskHost: string) =>
  until(() =>
    fleet.disks.moveDisk({ name, diskHost }).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Rejection && error.reason === 'DISK_MOVING') return false;
        throw error;
      },
    ),
  );

/** Waits until the move has ended. @returns where the disk is then */
const settled = async (name: string): Promise<number> => {
  await until(async () => (await fleet.disks.getDisk({ name })).movingTo === '');
  return hostOf(name);
};

/** Writes numbers to a disk without a pause, at the host that has it, until it is stopped. @returns the newest that was acknowledged */
const writeOn = (name: string, accessToken: string, first: string) => {
  let [address, acknowledged, isOver] = [first, 0, false];
  let longestMs = 0;
  const run = async (): Promise<void> => {
    for (let number = 1; !isOver; number += 1) {
      const began = performance.now();
      const bytes = Buffer.alloc(4_096, number % 251);
      for (;;) {
        try {
          await fleet.at(address).write(name, accessToken, (number % 64) * 4_096, bytes);
          break;
        } catch (error) {
          const moved =
            error instanceof Rejection && error.reason === 'DISK_NOT_HERE' ? error.metadata.data_address : '';
          if (!moved) throw error;
          address = moved;
        }
      }
      acknowledged = number;
      longestMs = Math.max(longestMs, performance.now() - began);
    }
  };
  const running = run();
  return {
    acknowledged: () => acknowledged,
    async stop() {
      isOver = true;
      await running;
      return { last: acknowledged, address, longestMs };
    },
  };
};

test(
  'G5, G6: an open disk moves while its machine writes: every acknowledged write is there, under the same open',
  limit,
  async () => {
    const { name, other, diskHost, accessToken, dataAddress, attachEpoch } = await openedDisk();
    const writing = writeOn(name, accessToken, dataAddress);
    await until(async () => writing.acknowledged() > 50);
    await fleet.disks.moveDisk({ name, diskHost });
    await until(async () => (await hostOf(name)) === other);
    const seen = writing.acknowledged();
    await until(async () => writing.acknowledged() > seen + 50);
    const { last, address } = await writing.stop();
    assert.notEqual(address, dataAddress, 'it follows the disk');
    await fleet.at(address).flush(name, accessToken);
    for (let number = Math.max(1, last - 63); number <= last; number += 1) {
      const found = await fleet.at(address).read(name, accessToken, (number % 64) * 4_096, 4_096);
      assert.ok(found.equals(Buffer.alloc(4_096, number % 251)), `write ${number}`);
    }
    const { attachEpoch: now, moveFailure } = await fleet.disks.getDisk({ name });
    assert.deepEqual([now, moveFailure], [attachEpoch, '']);
    await settled(name);
  },
);

test(
  'G3: the disk service says where an open disk is, to those to whom it is open, while its former host is away',
  limit,
  async () => {
    const { name, other, diskHost, accessToken, dataAddress } = await openedDisk();
    const { accessToken: ofAnother } = await openedDisk();
    await fleet.at(dataAddress).write(name, accessToken, 0, Buffer.alloc(4_096, 7));
    await fleet.disks.moveDisk({ name, diskHost });
    await until(async () => (await hostOf(name)) === other);
    await settled(name);
    await fleet.stopHost(1 - other);
    try {
      const service = fleet.at('disk:0');
      const isThere = {
        reason: 'DISK_NOT_HERE',
        metadata: { resource: name, disk_host: diskHost, data_address: `disk:${other + 1}` },
      };
      await assert.rejects(service.flush(name, accessToken), isThere);
      await assert.rejects(service.read(name, accessToken, 0, 4_096), isThere);
      await assert.rejects(service.write(name, accessToken, 0, Buffer.alloc(512)), isThere);
      for (const token of [ofAnother, 'none']) {
        await assert.rejects(service.flush(name, token), { reason: 'DISK_ACCESS_TOKEN_INVALID' });
      }
      await assert.rejects(service.flush(`${name}x`, accessToken), { reason: 'DISK_ACCESS_TOKEN_INVALID' });
      assert.ok((await fleet.at(`disk:${other + 1}`).read(name, accessToken, 0, 4_096)).equals(Buffer.alloc(4_096, 7)));
    } finally {
      await fleet.startHost(1 - other);
    }
  },
);

test(
  'G1: an open disk whose key is lost stays, and the key that is lost after a move ends its use at the receiver',
  limit,
  async () => {
    const { name, set, other, diskHost, accessToken, dataAddress } = await openedDisk();
    const key = set.keyVersion.split('/versions/')[0] ?? '';
    await fleet.vault.disableKey({ name: key });
    await until(async () => (await fleet.disks.getDisk({ name })).availability === 'UNAVAILABLE');
    await fleet.disks.moveDisk({ name, diskHost });
    await until(async () => (await fleet.disks.getDisk({ name })).moveFailure === 'KEY_DISABLED');
    assert.equal(await settled(name), 1 - other);
    await fleet.vault.enableKey({ name: key });
    await until(async () => (await fleet.disks.getDisk({ name })).availability !== 'UNAVAILABLE');
    await moveAgain(name, diskHost);
    await until(async () => (await hostOf(name)) === other);
    await fleet.vault.disableKey({ name: key });
    await until(async () => {
      const read = fleet.at(dataAddress.replace(/:\d+$/, `:${other + 1}`)).read(name, accessToken, 0, 4_096);
      return read.then(
        () => false,
        (error: unknown) => error instanceof Rejection && error.reason === 'KEY_DISABLED',
      );
    });
  },
);
