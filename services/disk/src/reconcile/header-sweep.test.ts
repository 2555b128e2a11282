import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { pieceSize } from '../host/storage/sector.ts';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { rewrapDek } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const snapshotName = `${parent}/snapshots/s`;
const under = (diskEncryptionSet: string) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet }) as const;
/** More calls than one of these operations makes. */
const callsMax = 40;
/** Polls before a test fails. */
const looksMax = 400;

/** Gives the set another key, so that resources under the earlier one can be rewrapped. */
const beginMove = async (host: DiskHost): Promise<void> => {
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
};
const moveTo = (name: string) => async (host: DiskHost) => {
  const { generation, keyVersion: targetKeyVersion } = host.keyOf(setName);
  const { resources } = await host.asSets.listEncryptedResources({
    diskEncryptionSet: setName,
    belowGeneration: generation,
  });
  // As the set does it: a resource that is no longer listed has moved.
  if (resources.some((one) => one.name === name)) await rewrapDek(host.asSets, { name, generation, targetKeyVersion });
};

/** Operations that take a closed resource from its key. The caller of `take` retries it. */
const ways = [
  {
    what: 'a snapshot is moved to another key',
    name: snapshotName,
    set: setName,
    async prepare(host: DiskHost) {
      await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
      await beginMove(host);
    },
    take: moveTo(snapshotName),
  },
  { what: 'a disk is moved to another key', name: diskName, set: setName, prepare: beginMove, take: moveTo(diskName) },
  {
    what: 'a disk is put under another set',
    name: diskName,
    set: otherSetName,
    prepare: async () => undefined,
    take: (host: DiskHost) =>
      host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) }).then(() => undefined),
  },
] as const;

/** What interrupts an operation, and what follows. */
const ends = [
  {
    end: 'the host crashes at any call',
    mode: 'crash',
    until: 'a restart and a retry',
    goOn: (host: DiskHost) => host.restart(),
  },
  { end: 'any call fails', mode: 'once', until: 'a retry', goOn: async () => undefined },
] as const;

for (const { what, name, set, prepare, take } of ways) {
  for (const { end, mode, until, goOn } of ends) {
    test(`CMK-10, CMK-89: if ${end} while ${what}, no old wrap is left after ${until}`, {
      timeout: 120_000,
    }, async (t) => {
      for (let failAt = 1; failAt < callsMax; failAt += 1) {
        const host = await startDiskHost({ partBytesMax: 2 * pieceSize });
        t.after(() => host.stop());
        await host.disks.createDisk({
          ...{ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 },
          encryption: under(setName),
        });
        await host.fill(randomBytes(8_192));
        await prepare(host);
        host.faults.arm(failAt, mode);
        await Promise.allSettled([take(host)]);
        host.faults.disarm();
        await goOn(host);
        await take(host);
        const taken = [host.keyOf(set).keyVersion];
        for (let look = 0; look < looksMax && !isDeepStrictEqual(await host.wrapsAtRest(name), taken); look += 1)
          await pause(5);
        assert.deepEqual(await host.wrapsAtRest(name), taken, `fault at call ${failAt}`);
      }
    });
  }
}
