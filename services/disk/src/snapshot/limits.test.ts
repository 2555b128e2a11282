import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { pieceSize } from '../host/storage/sector.ts';
import { diskName, setName, startDiskHost } from '../host/test-disk-host.ts';

const parent = 'subscriptions/s/resourceGroups/g';

for (const [what, snapshotLimits] of [
  ['in total', { perDiskMax: 3, recentMax: 10, recentMs: 60_000 }],
  ['per period', { perDiskMax: 10, recentMax: 3, recentMs: 60_000 }],
] as const) {
  test(`CMK-142: concurrent snapshots of a disk, with others being created, do not exceed its limit ${what}`, async (t) => {
    let meet = async (): Promise<void> => undefined;
    const beforeWrite = async (part: string): Promise<void> => (part === 'data' ? meet() : undefined);
    const host = await startDiskHost({ snapshotLimits, partBytesMax: 2 * pieceSize, beforeWrite });
    t.after(() => host.stop());
    await host.disks.createDisk({
      ...{ parent, diskId: 'd', location: 'l', sku: 'ULTRA', sizeGib: 1 },
      encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName },
    });
    await host.fill(randomBytes(8_192));
    const released = Promise.withResolvers<void>();
    meet = () => released.promise;
    const disks = host.clientWithoutRetries(DiskServiceDefinition);
    const take = (n: number): Promise<string> =>
      disks.createSnapshot({ parent, snapshotId: `s${n}`, sourceDisk: diskName, incremental: true }).then(
        () => 'taken',
        ({ reason }) => reason,
      );
    const inTheMaking = [take(0), take(1)];
    const states = () => Promise.all([0, 1, 2, 3, 4, 5].map((n) => host.snapshotStateOf(`${parent}/snapshots/s${n}`)));
    let refused = 0;
    const decided = async (count: number): Promise<void> => {
      while (refused + (await states()).filter(({ status }) => status === 'creating').length < count) await pause(5);
    };
    await decided(2);
    const atOnce = [2, 3, 4, 5].map(take);
    for (const one of atOnce) void one.then((outcome) => (refused += outcome === 'taken' ? 0 : 1));
    await decided(6);
    released.resolve();
    assert.deepEqual(await Promise.all(inTheMaking), ['taken', 'taken']);
    assert.deepEqual((await Promise.all(atOnce)).toSorted(), [...Array(3).fill('TOO_MANY_SNAPSHOTS'), 'taken']);
  });
}
