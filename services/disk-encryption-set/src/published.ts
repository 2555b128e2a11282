import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { eventReader } from '@interlock/event-store';
import { type ToFact, type ToldFact, unknownEvent } from '@interlock/messaging';
import type { SetEvent } from './set/events.ts';
import { keyExpiryOnWire } from './set/options.ts';
import { sets } from './set/streams.ts';
import { encryptionTypeOnWire, reasonOnWire } from './set/wire.ts';

const setEvent = eventReader(sets);

/** What other services hear of a set: that it is there or gone, which key it names, and whether it can use its keys. */
export const toFact: ToFact = (recorded) => {
  const read = setEvent(recorded);
  return read ? factOf(read.id, read.event) : null;
};

const told = (type: string, event: DiskEncryptionSetEvent['event']): ToldFact => ({
  type,
  payload: DiskEncryptionSetEvent.encode({ event }).finish(),
});

const factOf = (set: string, event: SetEvent): ToldFact | null => {
  switch (event.type) {
    case 'SetCreated': {
      const { location, principal, keyVersion, generation } = event;
      const encryptionType = encryptionTypeOnWire[event.encryptionType];
      const value = { set, location, encryptionType, principal, keyVersion, generation };
      return told(event.type, { $case: 'setCreated', value });
    }
    case 'SetOptionsChanged': {
      const value = { set, keyExpiry: keyExpiryOnWire[event.keyExpiry], autoRestart: event.autoRestart };
      return told(event.type, { $case: 'setOptionsChanged', value });
    }
    case 'SetDeleted':
      return told(event.type, { $case: 'setDeleted', value: { set } });
    case 'KeyAssigned': {
      const { key, previousKeyVersion, generation } = event;
      const value = { set, keyVersion: key.keyVersion, previousKeyVersion, generation };
      return told(event.type, { $case: 'keyAssigned', value });
    }
    case 'KeyAccessLost': {
      const { keyVersion, epoch: accessEpoch, partial, principal } = event;
      const traceId = event.traceId || undefined;
      const since = new Date(event.since);
      const value = {
        set,
        keyVersion,
        reason: reasonOnWire(event.reason),
        accessEpoch,
        since,
        partial,
        principal,
        traceId,
      };
      return told(event.type, { $case: 'keyAccessLost', value });
    }
    case 'KeyAccessRestored': {
      const { keyVersion, epoch: accessEpoch } = event;
      return told(event.type, { $case: 'keyAccessRestored', value: { set, keyVersion, accessEpoch } });
    }
    case 'RotationProgressed': {
      const { generation, resourcesCount, doneCount } = event;
      return told(event.type, { $case: 'rotationProgressed', value: { set, generation, resourcesCount, doneCount } });
    }
    case 'RotationFinished': {
      const { keyVersion, generation } = event;
      return told(event.type, { $case: 'rotationFinished', value: { set, keyVersion, generation } });
    }
    case 'SetCreating':
    case 'SetCreationAbandoned':
    case 'IdentityRemoved':
    case 'IdentityRetired':
    case 'IdentityReplaced':
    case 'IdentityMade':
    case 'SetDeleting':
    case 'SetDeleteRefused':
    case 'SetReleased':
    case 'KeyAccessBarred':
    case 'KeyAccessQuestioned':
    case 'KeyAccessAnswered':
    case 'NewerVersionNoticed':
    case 'NewestFollowed':
    case 'NewestNotFollowed':
    case 'RotationWaiting':
    case 'RotationResumed':
      return null;
    default:
      throw unknownEvent(event);
  }
};
