import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type Commit, StoreUnavailable } from '@interlock/event-store';
import { pieceSize } from '../host/storage/sector.ts';
import { type DiskHost, diskName, startDiskHost } from '../host/test-disk-host.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const snapshotName = `${parent}/snapshots/s`;
type Client = Pick<DiskHost['disks'], 'createDisk' | 'createSnapshot'>;
const createDisk = (disks: Client) =>
  disks.createDisk({ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 });
const cause = { correlationId: 'c', causes: [], caller: 'test' } as const;

/** Creations, and the event that ends each. */
const creations = [
  { what: 'disk', prepare: async () => undefined, create: createDisk, created: 'DiskCreated' },
  {
    what: 'snapshot',
    prepare: createDisk,
    create: (disks: Client) => disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName }),
    created: 'SnapshotCreated',
  },
] as const;

for (const { what, prepare, create, created } of creations) {
  test(`CMK-110, G2: the last commit of a ${what} is uncertain, and the host crashes while it undoes the creation: no volume is left, and that commit is refused when it arrives`, {
    timeout: 120_000,
  }, async (t) => {
    let failAt = 1;
    for (let isThrough = false; !isThrough; failAt++) {
      let late: Commit | undefined;
      const host = await startDiskHost({
        // Short files, because a copy takes time for holes too.
        partBytesMax: 2 * pieceSize,
        onCommit(commit) {
          const isLast = commit.appends?.some(({ events }) => events.some(({ type }) => type === created));
          if (!isLast || late) return;
          late = commit;
          host.faults.arm(failAt, 'crash');
          throw new StoreUnavailable('it did not answer in time');
        },
      });
      t.after(() => host.stop());
      await prepare(host.disks);
      await assert.rejects(create(host.clientWithoutRetries(DiskServiceDefinition)));
      isThrough = host.faults.calls() < failAt;
      host.faults.disarm();
      await host.restart();
      const at = `after a crash at call ${failAt}`;
      assert.deepEqual(host.volumeIds(), await host.volumesInUse(), at);
      const state = what === 'disk' ? await host.stateOf(diskName) : await host.snapshotStateOf(snapshotName);
      assert.equal(state.status, 'absent', at);
      await assert.rejects(host.commit(late ?? assert.fail('nothing was made'), cause), at);
      await create(host.disks);
    }
    assert.ok(failAt > 3, 'faults were injected');
  });
}
