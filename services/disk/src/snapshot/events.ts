import type { Instant } from '@interlock/runtime';
import type { Encryption, VolumeRef, WrapRef } from '../disk/encryption.ts';
import type { MoveEvent } from '../fleet/moving.ts';

/** The requested properties of a snapshot. */
export interface SnapshotSpec {
  /** UUID; a later snapshot of the same name has another. */
  readonly uniqueId: string;
  readonly location: string;
  readonly sourceDisk: string;
  readonly sourceUniqueId: string;
  readonly incremental: boolean;
  readonly sizeGib: number;
  readonly encryption: Encryption;
}

/** The facts of one snapshot. These names and shapes are on disk: add; never rename, never reuse. */
export type SnapshotEvent =
  | ({
      /** The barrier, as `DiskCreating` is for a disk. */
      readonly type: 'SnapshotCreating';
      readonly volumeId: string;
      readonly request: string;
      /** Name of the disk host that has the volume, as in `DiskCreating`. */
      readonly host?: string;
      readonly at: Instant;
    } & SnapshotSpec)
  | ({ readonly type: 'SnapshotCreated'; readonly volume: VolumeRef; readonly at: Instant } & SnapshotSpec & WrapRef)
  /** As `DiskCreateFailing`. */
  | { readonly type: 'SnapshotCreateFailing'; readonly at: Instant }
  | { readonly type: 'SnapshotCreateFailed'; readonly reason: string; readonly at: Instant }
  | ({
      readonly type: 'SnapshotDekRewrapped';
      readonly set: string;
      readonly previousKeyVersion: string;
      readonly headerSequence: number;
      readonly headerDigest: string;
      readonly accessEpoch: number;
      readonly at: Instant;
    } & WrapRef)
  | MoveEvent
  | { readonly type: 'SnapshotDeleting'; readonly at: Instant }
  | {
      readonly type: 'SnapshotDeleted';
      /** `''` for a key of the platform. */
      readonly set: string;
      readonly at: Instant;
    };
