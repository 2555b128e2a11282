import type { MoveDiskRequest, MoveSnapshotRequest } from '@interlock/contracts/interlock/disk/v1/disk_host.ts';
import type { Disk as WireDisk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { Snapshot as WireSnapshot } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { type Call, expectedVersion, names } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { named as namedDisk, showDisk } from '../disk/reads.ts';
import { named as namedSnapshot, showSnapshot } from '../snapshot/reads.ts';
import type { VolumeMoves } from './volume-moves.ts';

/** Moves of disks and snapshots: request in, resource out as soon as the move has begun. */
export const moveApi = (control: Control, moves: VolumeMoves) => {
  const begin = ({ name, diskHost, etag }: MoveDiskRequest, { cause }: Call): Promise<void> => {
    const { diskHost: host } = names.diskHost.parse(diskHost, 'disk_host');
    return moves.begin(name, host, cause, expectedVersion(etag).expected);
  };
  return {
    async moveDisk(request: MoveDiskRequest, call: Call): Promise<WireDisk> {
      const name = namedDisk(request.name);
      await begin(request, call);
      return showDisk(control, await control.all.disks.load(name));
    },
    async moveSnapshot(request: MoveSnapshotRequest, call: Call): Promise<WireSnapshot> {
      const name = namedSnapshot(request.name);
      await begin(request, call);
      return showSnapshot(control, await control.all.snapshots.load(name));
    },
  };
};
