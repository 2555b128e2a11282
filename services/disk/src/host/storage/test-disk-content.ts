import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { Snapshot } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { category } from '@interlock/event-store';
import { disks } from '../../disk/state.ts';
import { copyMs, resourceGroup, type TestSet } from '../../testing/test-cloud-disks.ts';
import type { DiskCloud } from '../../testing/test-disk-cloud.ts';

/** Encryption under a set and under the platform, in the form of a request. */
export const underSet = (set: TestSet) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name }) as const;
export const platformKey = { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' } as const;

/** The streams of the disk service, to inspect the store or to create the state after a crash. */
export const diskStreams = ({ store }: DiskCloud) => category(store, disks);

/** Id of the volume a disk has now. */
export const volumeOf = async (cloud: DiskCloud, name: string): Promise<string> => {
  const { state } = await diskStreams(cloud).load(name);
  assert.ok(state.status === 'active');
  return state.volume.volumeId;
};

/** Writes through direct access, which it ends again. */
export const fill = async (cloud: DiskCloud, { name }: Disk, content: Uint8Array, offset = 0): Promise<void> => {
  const { accessToken } = await cloud.disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 60 });
  await cloud.write(name, accessToken, offset, content);
  await cloud.flush(name, accessToken);
  await cloud.disks.endAccess({ name });
};

/** Reads through direct access, which it ends again. */
export const contentOf = async (cloud: DiskCloud, { name }: Disk, length: number, offset = 0): Promise<Buffer> => {
  const { accessToken } = await cloud.disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: 60 });
  const content = await cloud.read(name, accessToken, offset, length);
  await cloud.disks.endAccess({ name });
  return content;
};

/** Takes a snapshot with a unique name. */
export const newSnapshot = (
  cloud: DiskCloud,
  sourceDisk: string,
  request: { readonly incremental?: boolean; readonly encryption?: ReturnType<typeof underSet> } = {},
): Promise<Snapshot> =>
  cloud.disks.createSnapshot(
    {
      parent: resourceGroup,
      snapshotId: `s-${randomUUID().slice(0, 8)}`,
      sourceDisk,
      ...request,
    },
    { deadlineMs: copyMs },
  );
