import { DiskEvent as WireDiskEvent } from '@interlock/contracts/interlock/disk/v1/disk_events.ts';
import { eventReader } from '@interlock/event-store';
import { type PublishedFact, type ToFact, unknownEvent } from '@interlock/messaging';
import { encryptionOnWire, skuOnWire } from './disk/encryption.ts';
import type { DiskEvent } from './disk/events.ts';
import { disks } from './disk/state.ts';
import { snapshots } from './snapshot/decider.ts';
import type { SnapshotEvent } from './snapshot/events.ts';

const diskEvent = eventReader(disks);
const snapshotEvent = eventReader(snapshots);

/** The facts that disk publishes: disks and snapshots, their keys and their machines. Not opens, tokens and headers. */
export const toFact: ToFact = (recorded) => {
  const ofDisk = diskEvent(recorded);
  if (ofDisk) return diskFact(ofDisk.id, ofDisk.event);
  const ofSnapshot = snapshotEvent(recorded);
  return ofSnapshot ? snapshotFact(ofSnapshot.id, ofSnapshot.event) : null;
};

const fact = (type: string, event: WireDiskEvent['event']): PublishedFact => ({
  type,
  payload: WireDiskEvent.encode({ event }).finish(),
});

const diskFact = (disk: string, event: DiskEvent): PublishedFact | null => {
  switch (event.type) {
    case 'DiskCreated': {
      const { uniqueId, sku, sizeGib, encryption, keyVersion, generation } = event;
      const value = {
        disk,
        uniqueId,
        sku: skuOnWire[sku],
        sizeGib,
        encryption: encryptionOnWire(encryption),
        keyVersion,
        generation,
      };
      return fact(event.type, { $case: 'diskCreated', value });
    }
    case 'DiskEncryptionChanged': {
      const { encryption, previousSet, keyVersion, generation } = event;
      const value = {
        disk,
        encryption: encryptionOnWire(encryption),
        previousDiskEncryptionSet: previousSet,
        keyVersion,
        generation,
      };
      return fact(event.type, { $case: 'diskEncryptionChanged', value });
    }
    case 'DekRewrapped':
      return rewrapped(disk, event);
    case 'DiskAttached':
      return fact(event.type, { $case: 'diskAttached', value: { disk, virtualMachine: event.virtualMachine } });
    case 'DiskDetached':
      return fact(event.type, { $case: 'diskDetached', value: { disk, virtualMachine: event.virtualMachine } });
    case 'DiskDeleted':
      return fact(event.type, { $case: 'diskDeleted', value: { disk, diskEncryptionSet: event.set } });
    case 'DiskCreating':
    case 'DiskCreateFailing':
    case 'DiskCreateFailed':
    case 'DiskOpened':
    case 'DiskClosed':
    case 'AttachGivenUp':
    case 'AccessBegun':
    case 'AccessEnded':
    case 'EncryptionChanging':
    case 'EncryptionChangeFailed':
    case 'VolumeMoving':
    case 'VolumeMoved':
    case 'VolumeMoveFailed':
    case 'FormerVolumeRemoved':
    case 'DiskGrown':
    case 'DiskSkuChanged':
    case 'DiskDeleting':
      return null;
    default:
      throw unknownEvent(event);
  }
};

const snapshotFact = (snapshot: string, event: SnapshotEvent): PublishedFact | null => {
  switch (event.type) {
    case 'SnapshotCreated': {
      const { sourceDisk, encryption, keyVersion, generation } = event;
      const value = { snapshot, sourceDisk, encryption: encryptionOnWire(encryption), keyVersion, generation };
      return fact(event.type, { $case: 'snapshotCreated', value });
    }
    case 'SnapshotDekRewrapped':
      return rewrapped(snapshot, event);
    case 'SnapshotDeleted':
      return fact(event.type, { $case: 'snapshotDeleted', value: { snapshot, diskEncryptionSet: event.set } });
    case 'SnapshotCreating':
    case 'SnapshotCreateFailing':
    case 'SnapshotCreateFailed':
    case 'VolumeMoving':
    case 'VolumeMoved':
    case 'VolumeMoveFailed':
    case 'FormerVolumeRemoved':
    case 'SnapshotDeleting':
      return null;
    default:
      throw unknownEvent(event);
  }
};

const rewrapped = (
  resource: string,
  {
    set,
    previousKeyVersion,
    keyVersion,
    generation,
  }: Extract<DiskEvent | SnapshotEvent, { previousKeyVersion: string }>,
): PublishedFact =>
  fact('DekRewrapped', {
    $case: 'dekRewrapped',
    value: { resource, diskEncryptionSet: set, previousKeyVersion, keyVersion, generation },
  });
