/** Class of a disk, as events of the disk service have it. */
export type DiskSku = 'standard_hdd' | 'standard_ssd' | 'premium_ssd' | 'premium_ssd_v2' | 'ultra';

/** With whose keys data at rest is encrypted (CMK-31, CMK-70). `set` is the full name of the disk encryption set. */
export type Encryption = { readonly type: 'platform' } | { readonly type: 'customer' | 'double'; readonly set: string };

/** The set, or `''` under a key of the platform. */
export const setOf = (encryption: Encryption): string => (encryption.type === 'platform' ? '' : encryption.set);

/** What a disk or snapshot holds once it exists, or once its encryption changed. */
interface Stored {
  readonly encryption: Encryption;
  /** The version that wraps its data key; `''` under a key of the platform. */
  readonly keyVersion: string;
  readonly volume: { readonly volumeId: string };
}

/** What the judge reads of moves of a disk or snapshot to another disk host. */
export type ReadMoveEvent =
  | { readonly type: 'VolumeMoving' | 'VolumeMoved'; readonly host: string; readonly volumeId: string }
  | { readonly type: 'VolumeMoveFailed' | 'FormerVolumeRemoved'; readonly volumeId: string };

/** What the judge reads of the events of a disk. The stream names it: `disk-<name>`. */
export type ReadDiskEvent =
  | {
      readonly type: 'DiskCreating';
      /** Name of the disk or snapshot it is a copy of; `''` for an empty one. */
      readonly source: string;
      readonly volumeId: string;
      /** Unique name of its disk host; absent in events from before hosts had names. */
      readonly host?: string;
    }
  | ({ readonly type: 'DiskCreated'; readonly sku: DiskSku } & Stored)
  | { readonly type: 'DiskAttached'; readonly virtualMachine: string }
  | { readonly type: 'DiskOpened' | 'AccessBegun'; readonly attachEpoch: number }
  | { readonly type: 'EncryptionChanging'; readonly volumeId: string }
  | ({ readonly type: 'DiskEncryptionChanged' } & Stored)
  | { readonly type: 'DekRewrapped'; readonly keyVersion: string }
  | { readonly type: 'DiskClosed' | 'AccessEnded' | 'DiskDetached' }
  | ReadMoveEvent
  | { readonly type: 'DiskCreateFailed' | 'EncryptionChangeFailed' | 'DiskDeleting' | 'DiskDeleted' };

/** What the judge reads of the events of a snapshot. The stream names it: `snapshot-<name>`. */
export type ReadSnapshotEvent =
  | {
      readonly type: 'SnapshotCreating';
      readonly sourceDisk: string;
      readonly volumeId: string;
      readonly host?: string;
    }
  | ({ readonly type: 'SnapshotCreated' } & Stored)
  | { readonly type: 'SnapshotDekRewrapped'; readonly keyVersion: string }
  | ReadMoveEvent
  | { readonly type: 'SnapshotCreateFailed' | 'SnapshotDeleting' | 'SnapshotDeleted' };
