import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { eventReader } from '@interlock/event-store';
import { type PublishedFact, type ToFact, unknownEvent } from '@interlock/messaging';
import type { SetEvent } from './set/events.ts';
import { keyExpiryOnWire } from './set/options.ts';
import { sets } from './set/streams.ts';
import { encryptionTypeOnWire, reasonOnWire } from './set/wire.ts';

const setEvent = eventReader(sets);

/** The facts of a set: that it exists or not, its options and key, its access to keys, and its rotation. */
export const toFact: ToFact = (recorded) => {
  const read = setEvent(recorded);
  return read ? factOf(read.id, read.event) : null;
};

type Payload = DiskEncryptionSetEvent['event'];

/** Payloads by type of event; null for events that are not published. */
const payloads: {
  readonly [Type in SetEvent['type']]: ((set: string, event: Extract<SetEvent, { type: Type }>) => Payload) | null;
} = {
  SetCreated: (set, { location, encryptionType, principal, keyVersion, generation }) => ({
    $case: 'setCreated',
    value: { set, location, encryptionType: encryptionTypeOnWire[encryptionType], principal, keyVersion, generation },
  }),
  SetOptionsChanged: (set, { keyExpiry, autoRestart }) => ({
    $case: 'setOptionsChanged',
    value: { set, keyExpiry: keyExpiryOnWire[keyExpiry], autoRestart },
  }),
  SetDeleted: (set) => ({ $case: 'setDeleted', value: { set } }),
  KeyAssigned: (set, { key: { keyVersion }, previousKeyVersion, generation }) => ({
    $case: 'keyAssigned',
    value: { set, keyVersion, previousKeyVersion, generation },
  }),
  KeyAccessLost: (set, { keyVersion, reason, epoch: accessEpoch, since, partial, principal, traceId }) => ({
    $case: 'keyAccessLost',
    value: {
      set,
      keyVersion,
      reason: reasonOnWire(reason),
      accessEpoch,
      since: new Date(since),
      partial,
      principal,
      traceId: traceId || undefined,
    },
  }),
  KeyAccessRestored: (set, { keyVersion, epoch: accessEpoch }) => ({
    $case: 'keyAccessRestored',
    value: { set, keyVersion, accessEpoch },
  }),
  RotationProgressed: (set, { generation, resourcesCount, doneCount }) => ({
    $case: 'rotationProgressed',
    value: { set, generation, resourcesCount, doneCount },
  }),
  RotationFinished: (set, { keyVersion, generation }) => ({
    $case: 'rotationFinished',
    value: { set, keyVersion, generation },
  }),
  SetCreating: null,
  SetCreationAbandoned: null,
  IdentityRemoved: null,
  IdentityRetired: null,
  IdentityReplaced: null,
  IdentityMade: null,
  SetDeleting: null,
  SetDeleteRefused: null,
  SetReleased: null,
  KeyAccessBarred: null,
  KeyAccessQuestioned: null,
  KeyAccessAnswered: null,
  NewerVersionNoticed: null,
  NewestFollowed: null,
  NewestNotFollowed: null,
  RotationWaiting: null,
  RotationResumed: null,
};

const factOf = <Type extends SetEvent['type']>(
  set: string,
  event: Extract<SetEvent, { type: Type }>,
): PublishedFact | null => {
  const payloadOf = payloads[event.type as Type];
  if (payloadOf === undefined) throw unknownEvent(event as never);
  if (payloadOf === null) return null;
  return { type: event.type, payload: DiskEncryptionSetEvent.encode({ event: payloadOf(set, event) }).finish() };
};
