import { addressOfReplica, type Replica } from '@interlock/host';
import type { DiskHostDisturbed, Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { SeededRandom } from '@interlock/runtime';
import {
  type MemoryVolumeFiles,
  memoryVolumeFiles,
  type VolumesImage,
} from '../../../services/disk/src/host/storage/volume-files.ts';
import { noVolumeFaults, type VolumeFaults } from '../faults/fault-rates.ts';
import { partOf, replicaOfHost } from './parts.ts';

/** A process with volumes. */
export interface SimulatedHost {
  /** Unique name, as disks name it: `disk-0`. */
  readonly name: string;
  readonly replica: Replica;
  readonly part: ReturnType<typeof partOf>;
  /** Where it serves data, and the calls that are passed on to it. */
  readonly address: string;
  readonly volumes: MemoryVolumeFiles;
  /** Faults of its storage. */
  readonly rates: VolumeFaults;
  /** What is disturbed when this process is. */
  readonly disturbed: readonly Disturbed[];
}

/** The size of a disk, whatever its declared size: just what guests use (`sectorsInUse`), because a copy reads every sector. */
const DISK_BYTES = 64 * 1024;

/** The name of a host in disturbances. */
export const disturbedHost = (name: string): DiskHostDisturbed => `diskHosts/${name}`;

/**
 * The disk hosts of a world.
 * @param count of processes beside a control process; 0: one process of disk has all volumes
 * @param images their initial volumes, in this order
 */
export const openDiskHosts = (
  count: number,
  random: SeededRandom,
  images: readonly VolumesImage[] = [],
): readonly SimulatedHost[] =>
  Array.from({ length: Math.max(1, count) }, (_, host): SimulatedHost => {
    const replica: Replica = count === 0 ? { service: 'disk', replica: 0 } : replicaOfHost(host);
    const name = `disk-${host}`;
    return {
      name,
      replica,
      part: partOf(replica),
      address: addressOfReplica(replica),
      volumes: memoryVolumeFiles(count === 0 ? random : random.fork(name), DISK_BYTES, images[host]),
      rates: noVolumeFaults(),
      disturbed: count === 0 ? ['disk', disturbedHost(name)] : [disturbedHost(name)],
    };
  });
