import type { RecordedEvent } from '@interlock/event-store';
import { type Sku, setOf } from '../../../services/disk/src/disk/encryption.ts';
import type { DiskEvent } from '../../../services/disk/src/disk/events.ts';
import type { DiskHeader } from '../../../services/disk/src/host/header/disk-header-format.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/volume/volume-files.ts';
import type { SnapshotEvent } from '../../../services/disk/src/snapshot/events.ts';
import type { StorageRecord } from '../faults/storage-record.ts';
import { type HeaderSlots, openHeaderTruth } from './headers.ts';

/** Who may read and write a disk. */
export interface OpenAccess {
  readonly by: 'machine' | 'user';
  readonly attachEpoch: number;
  /** True time of the commit. */
  readonly atMs: number;
  /** When the unwrap was sent that it was decided by: a loss after that may be younger than the open, and one before it is not. */
  readonly askedMs: number;
}

/** A disk or snapshot that exists. */
export interface KnownDisk {
  readonly name: string;
  readonly isSnapshot: boolean;
  readonly sku: Sku | undefined;
  /** Empty under a key of the platform. */
  set: string;
  volumeId: string;
  attachedTo: string;
  open: OpenAccess | undefined;
  /** The last open that ended: what was asked for under it may be answered just after. */
  closed: (OpenAccess & { readonly closedMs: number }) | undefined;
  /** When its data key was last moved to another version or set. */
  movedAtMs: number;
  isDeleting: boolean;
  /** Between two sets: its header may be under a key of either. */
  isChanging: boolean;
}

/** Which disks and snapshots there are, and under which key version the header of each really is. */
export interface DiskTruth {
  readonly disks: ReadonlyMap<string, KnownDisk>;
  apply(event: RecordedEvent): void;
  /** Notes that the vault unwrapped a disk's data key, asked at that true time. */
  noteUnwrap(name: string, sentMs: number): void;
  /**
   * What lies on storage, not what anybody says; undefined where no slot is good. Where a fault has put an earlier one there, the one
   * that was there.
   */
  headerOf(disk: KnownDisk): DiskHeader | undefined;
  /** The version that wraps its data key; empty under a key of the platform. */
  keyVersionOf(disk: KnownDisk): string;
  /** Headers that this disk had before the one it has, both slots of each, oldest first. */
  earlierHeaders(disk: KnownDisk): readonly HeaderSlots[];
  /** Notes that a fault has put another header there. */
  noteReplaced(disk: KnownDisk): void;
  /** Whether a fault ever put another header into a volume. */
  wasReplaced(volumeId: string): boolean;
  /** Whether what a fault has put there is there still. */
  isReplaced(disk: KnownDisk): boolean;
  /**
   * The version of the wrap in the other slot of its header, where a write of that failed: which of the two counts shows only once it
   * is written again. Undefined where one version alone may be the one.
   */
  otherVersionOf(disk: KnownDisk): string | undefined;
}

export const openDiskTruth = (
  nowMs: () => number,
  volumes: Pick<MemoryVolumeFiles, 'peek'>,
  storage: Pick<StorageRecord, 'happenedSince'>,
): DiskTruth => {
  const disks = new Map<string, KnownDisk>();
  /** When the last unwrap of each disk's data key was sent. */
  const unwraps = new Map<string, number>();
  const headers = openHeaderTruth(volumes);
  const headerOf = ({ volumeId }: KnownDisk): DiskHeader | undefined => headers.genuine(volumeId);

  const keyVersionOf = (disk: KnownDisk): string => (disk.set === '' ? '' : (headerOf(disk)?.wrap.keyVersion ?? ''));

  const openedNow = (by: OpenAccess['by'], name: string, attachEpoch: number): OpenAccess => {
    const atMs = nowMs();
    return { by, attachEpoch, atMs, askedMs: unwraps.get(name) ?? atMs };
  };

  const applyDisk = (name: string, event: DiskEvent): void => {
    if (event.type === 'DiskCreated') {
      disks.set(name, {
        name,
        isSnapshot: false,
        sku: event.sku,
        set: setOf(event.encryption),
        volumeId: event.volume.volumeId,
        attachedTo: '',
        open: undefined,
        closed: undefined,
        movedAtMs: nowMs(),
        isDeleting: false,
        isChanging: false,
      });
      return;
    }
    const disk = disks.get(name);
    if (!disk) return;
    switch (event.type) {
      case 'DiskAttached':
        disk.attachedTo = event.virtualMachine;
        return;
      case 'DiskOpened':
        disk.open = openedNow('machine', name, event.attachEpoch);
        return;
      case 'AccessBegun':
        disk.open = openedNow('user', name, event.attachEpoch);
        return;
      case 'DiskClosed':
      case 'AccessEnded':
      case 'DiskDetached':
        if (disk.open) disk.closed = { ...disk.open, closedMs: nowMs() };
        disk.open = undefined;
        if (event.type === 'DiskDetached') disk.attachedTo = '';
        return;
      case 'EncryptionChanging':
        disk.isChanging = true;
        return;
      case 'EncryptionChangeFailed':
        disk.isChanging = false;
        return;
      case 'DiskEncryptionChanged':
        disk.isChanging = false;
        disk.set = setOf(event.encryption);
        disk.volumeId = event.volume.volumeId;
        disk.movedAtMs = nowMs();
        return;
      case 'DekRewrapped':
        disk.movedAtMs = nowMs();
        return;
      case 'DiskDeleting':
        disk.isDeleting = true;
        return;
      case 'DiskDeleted':
        disks.delete(name);
        return;
    }
  };

  const applySnapshot = (name: string, event: SnapshotEvent): void => {
    if (event.type === 'SnapshotCreated') {
      disks.set(name, {
        name,
        isSnapshot: true,
        sku: undefined,
        set: setOf(event.encryption),
        volumeId: event.volume.volumeId,
        attachedTo: '',
        open: undefined,
        closed: undefined,
        movedAtMs: nowMs(),
        isDeleting: false,
        isChanging: false,
      });
      return;
    }
    const snapshot = disks.get(name);
    if (!snapshot) return;
    if (event.type === 'SnapshotDekRewrapped') snapshot.movedAtMs = nowMs();
    else if (event.type === 'SnapshotDeleting') snapshot.isDeleting = true;
    else if (event.type === 'SnapshotDeleted') disks.delete(name);
  };

  return {
    disks,
    headerOf,
    keyVersionOf,
    otherVersionOf(disk) {
      if (disk.set === '' || !storage.happenedSince(0, 'header', disk.volumeId)) return undefined;
      const now = keyVersionOf(disk);
      const versions = [0, 1].map((sector) => headers.slot(disk.volumeId, sector)?.wrap.keyVersion ?? now);
      return versions.find((version) => version !== now);
    },
    earlierHeaders: ({ volumeId }) => headers.earlier(volumeId),
    noteReplaced: ({ volumeId }) => headers.noteReplaced(volumeId),
    wasReplaced: headers.wasReplaced,
    isReplaced: ({ volumeId }) => headers.isReplaced(volumeId),
    noteUnwrap: (name, sentMs) => {
      unwraps.set(name, sentMs);
    },
    apply({ stream, type, data }) {
      const event = { type, ...data } as unknown as DiskEvent | SnapshotEvent;
      const name = stream.slice(stream.indexOf('-') + 1);
      if (stream.startsWith('disk-')) applyDisk(name, event as DiskEvent);
      else if (stream.startsWith('snapshot-')) applySnapshot(name, event as SnapshotEvent);
      const disk = disks.get(name);
      if (disk) headers.note(disk.volumeId, sequenceIn(event));
    },
  };
};

/** The sequence of the header that an event records; undefined where it records none. */
const sequenceIn = (event: DiskEvent | SnapshotEvent): number | undefined => {
  if ('headerSequence' in event) return event.headerSequence;
  return 'volume' in event ? event.volume.headerSequence : undefined;
};
