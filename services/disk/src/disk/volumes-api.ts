import type {
  DescribeVolumesRequest,
  DescribeVolumesResponse,
} from '@interlock/contracts/interlock/disk/v1/volumes.ts';
import { Rejection } from '@interlock/event-store';
import { describedMax } from '../batch-limits.ts';
import { ofHostIn } from '../fleet/own.ts';
import { showSnapshot } from '../snapshot/reads.ts';
import { type Control, isSnapshotName } from './control.ts';
import { showDisk } from './reads.ts';

/** What a control process needs of the host of a disk: request in, what this host knows out. */
export const volumesApi = (control: Control) => ({
  async describeVolumes({ names }: DescribeVolumesRequest): Promise<DescribeVolumesResponse> {
    if (names.length === 0 || names.length > describedMax) throw sizeInvalid(names.length);
    const { all, hostName } = control;
    const ofSnapshots = Map.groupBy(names, isSnapshotName);
    const [disks, snapshots] = await Promise.all([
      all.disks.loadMany(ofSnapshots.get(false) ?? []),
      all.snapshots.loadMany(ofSnapshots.get(true) ?? []),
    ]);
    return {
      disks: await Promise.all(disks.filter(ofHostIn(hostName)).map((loaded) => showDisk(control, loaded))),
      snapshots: await Promise.all(snapshots.filter(ofHostIn(hostName)).map((loaded) => showSnapshot(control, loaded))),
    };
  },
});

const sizeInvalid = (size: number): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'BATCH_SIZE_INVALID', `names must have 1 to ${describedMax} items (got ${size})`, {
    field: 'names',
    size: String(size),
    limit: String(describedMax),
  });
